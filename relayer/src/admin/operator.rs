//! Carries out what operators ask for.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::request::Request;
use crate::error::AdminError;
use crate::status::Status;

/// Carries out requests.
#[async_trait]
pub trait Commands: Debug + Send + Sync {
    /// Returns a JSON object, or why not.
    async fn execute(&self, request: Request) -> Result<Value, AdminError>;
}

/// The running relayer, as far as operators reach it.
#[derive(Debug)]
pub struct Operator {
    /// Everything at a glance.
    pub status: Arc<Status>,
}

#[async_trait]
impl Commands for Operator {
    async fn execute(&self, request: Request) -> Result<Value, AdminError> {
        match request {
            Request::Status => Ok(self.status.report()),
        }
    }
}
