//! Carries out what operators ask for.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::request::Request;
use super::tx::Transactions;
use super::{backup, devices, policy, why};
use crate::error::AdminError;
use crate::gateway::Gateway;
use crate::journal::Journal;
use crate::journal::record::TxEdit;
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
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Its journal, for reading.
    pub journal: Arc<dyn Journal>,
    /// Everything at a glance.
    pub status: Arc<Status>,
    /// Transactions.
    pub transactions: Transactions,
}

#[async_trait]
impl Commands for Operator {
    async fn execute(&self, request: Request) -> Result<Value, AdminError> {
        match request {
            Request::Status => Ok(self.status.report()),
            Request::Devices { offset, limit } => devices::page(&self.gateway, offset, limit),
            Request::Device { device } => devices::one(&self.gateway, &device),
            Request::Policy => Ok(policy::all(&self.gateway)),
            Request::Why { sid } => {
                why::handle(&self.gateway, Arc::clone(&self.journal), &self.transactions, &sid).await
            }
            Request::TxList => self.transactions.list().await,
            Request::TxBump { batch } => self.transactions.edit(batch, TxEdit::Bump).await,
            Request::TxCancel { batch } => self.transactions.edit(batch, TxEdit::Cancel).await,
            Request::JournalBackup { destination } => {
                backup::handle(&self.gateway, Arc::clone(&self.journal), destination.into()).await
            }
        }
    }
}
