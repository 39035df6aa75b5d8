//! `relayer tx list | bump | cancel`: what operators ask of transactions goes to the dispatcher, which knows who has which.

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::error::{AdminError, TxRefusal};
use crate::journal::record::TxEdit;
use crate::pipeline::dispatch::TxRequest;

/// The way to the dispatcher.
#[derive(Debug, Clone)]
pub struct Transactions(mpsc::Sender<TxRequest>);

impl Transactions {
    /// Over this queue.
    pub fn new(requests: mpsc::Sender<TxRequest>) -> Self {
        Self(requests)
    }

    /// `{"transactions":[…]}`, oldest batch first; see [`crate::pipeline::submit::TxLine`].
    pub async fn list(&self) -> Result<Value, AdminError> {
        let (reply, answer) = oneshot::channel();
        let lines = self.ask(TxRequest::List(reply), answer).await?;
        Ok(json!({ "transactions": lines }))
    }

    /// What happens next to a batch without an end, in words; `None` if there is no such batch.
    pub async fn next_of(&self, batch: u64) -> Result<Option<String>, AdminError> {
        let (reply, answer) = oneshot::channel();
        let lines = self.ask(TxRequest::List(reply), answer).await?;
        Ok(lines.into_iter().find(|line| line.batch == batch).map(|line| line.next))
    }

    /// What was done, see [`crate::pipeline::submit::TxDone`]. It is durable, and sent, once this returns.
    pub async fn edit(&self, batch: u64, edit: TxEdit) -> Result<Value, AdminError> {
        let (reply, answer) = oneshot::channel();
        let done = self.ask(TxRequest::Edit { batch, edit, reply }, answer).await??;
        Ok(json!(done))
    }

    async fn ask<T>(&self, request: TxRequest, answer: oneshot::Receiver<T>) -> Result<T, TxRefusal> {
        self.0.try_send(request).map_err(|_| TxRefusal::Busy)?;
        answer.await.map_err(|_| TxRefusal::Busy)
    }
}
