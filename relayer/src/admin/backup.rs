//! `relayer journal backup` of a running relayer.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::error::AdminError;
use crate::gateway::Gateway;
use crate::journal::Journal;

/// Copies the journal to a new file, while sessions go on. The copy holds everything that was acknowledged before it was asked for.
pub async fn handle(
    gateway: &Gateway,
    journal: Arc<dyn Journal>,
    destination: PathBuf,
) -> Result<Value, AdminError> {
    if !destination.is_absolute() {
        let problem = "has to be an absolute path".to_owned();
        return Err(AdminError::Argument { argument: "destination", problem });
    }
    gateway.barrier().await?;
    let copying = tokio::task::spawn_blocking(move || journal.backup(&destination));
    let newest = copying.await.map_err(|error| AdminError::Failed { what: error.to_string() })??;
    tracing::info!(newest, "journal copied");
    Ok(json!({ "newest": newest }))
}
