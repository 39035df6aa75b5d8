//! New epochs: durable, then told to every session.

use std::sync::Arc;

use metrics::counter;
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
                .filter(|epoch| state.epochs.get(&epoch.epoch) != Some(*epoch))
                .inspect(|epoch| {
                    if state.epochs.contains_key(&epoch.epoch) {
                        counter!("epochs_replaced_total").increment(1);
                        tracing::error!(
                            epoch = epoch.epoch,
                            "reorganised below its challenge: its statements cannot be recorded any more"
                        );
                    }
                })
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
        judge_announced(&gateway);
        let told = gateway.announced().borrow().map(|announced| announced.epoch.epoch);
        if let Some(epoch) = newest
            && told.is_none_or(|told| told < epoch.epoch)
            // A pile that accepted an epoch accepts nothing else under its number: the next one is announced.
            && !gateway.state().replaced_epochs.contains_key(&epoch.epoch)
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

/// Withdraws the announced epoch when the chain has another challenge or policy for it, or no safe challenge block any more; puts it
/// back when the chain has the same again.
fn judge_announced(gateway: &Gateway) {
    let Some(announced) = *gateway.announced().borrow() else { return };
    let told = announced.epoch;
    let (now, newest) = {
        let view = gateway.view.borrow();
        (view.epoch(told.epoch).copied(), view.epoch)
    };
    let gone = match now {
        Some(now) => now != told,
        None => newest.is_none_or(|newest| newest.epoch < told.epoch),
    };
    if gone != announced.withdrawn {
        tracing::warn!(epoch = told.epoch, withdrawn = gone, "the announced epoch was reorganised");
        gateway.set_withdrawn(gone);
    }
}
