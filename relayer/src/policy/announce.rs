//! New epochs: durable, then told to every session.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::failpoint::failpoint;
use crate::gateway::Gateway;
use crate::journal::Record;

/// Follows the chain view until told to stop. Epochs of the window that the state does not know are taken in too, so that
/// statements made through another relayer, or before this journal began, can be verified.
pub async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut view = gateway.view.clone();
    loop {
        let (newest, known) = {
            let view = view.borrow_and_update();
            (view.epoch, view.recent_epochs.clone())
        };
        let durable = {
            let mut state = gateway.state();
            let records: Vec<Record> = known
                .iter()
                .chain(newest.iter())
                .filter(|epoch| state.epochs.get(&epoch.epoch) != Some(*epoch))
                .map(|epoch| Record::EpochOpened {
                    epoch: epoch.epoch,
                    challenge: epoch.challenge,
                    policy_hash: epoch.policy_hash,
                })
                .collect();
            if records.is_empty() {
                None
            } else {
                failpoint("announce::before_epoch");
                Some(gateway.commit(&mut state, records))
            }
        };
        if let Some(durable) = durable
            && durable.await.is_err()
        {
            return;
        }
        let told = gateway.announced().borrow().map(|announced| announced.epoch.epoch);
        if let Some(epoch) = newest
            && told.is_none_or(|told| told < epoch.epoch)
        {
            tracing::info!(epoch = epoch.epoch, challenge = %hex::encode(epoch.challenge), "epoch announced");
            gateway.announce(epoch);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = view.changed() => if changed.is_err() { return },
        }
    }
}
