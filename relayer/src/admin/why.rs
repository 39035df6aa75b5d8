//! `relayer why <sid>`: where a message is, whose turn it is, what is tried next and when, and all that happened to it.
//!
//! [`explain`] is a pure function of the journal's records of the ticket ([`Story`]), of the state, and of the moment.

pub mod story;

use std::sync::Arc;

use cip22_wire::Sid;
use serde::Serialize;
use serde_json::Value;

use self::story::{Carrier, End, Story};
use super::tx::Transactions;
use crate::error::{AdminError, Fault};
use crate::gateway::Gateway;
use crate::journal::Journal;
use crate::journal::record::BatchKind;
use crate::state::MessageState;
use crate::status::HEAD_FRESH_MS;
use crate::view::ChainTrouble;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// This relayer's journal has no such ticket.
    Unknown,
    /// The ticket was issued and can still be answered.
    Ticketed,
    /// The ticket was never answered, and cannot be any more.
    Unanswered,
    /// The answer was AUTH_DENY.
    Denied,
    /// Granted and durable; no batch carries it.
    Granted,
    /// In a batch without a transaction.
    Batched,
    /// In a batch with a signed transaction and no receipt.
    Submitted,
    /// In a batch with a receipt that `safe` does not cover.
    Mined,
    /// Recorded under `safe`.
    Safe,
    /// Recorded under `finalized`.
    Final,
    /// Given up: its epoch left the ring.
    Expired,
    /// Given up: the contract would not take it.
    RejectedByContract,
    /// Given up: its challenge was reorganised away.
    ReorgedOut,
    /// Given up for another reason.
    GivenUp,
    /// Its epoch was pruned from the journal; the charge is still open.
    Pruned,
}

/// The moment at which it is asked, and by what the relayer works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Newest executed block.
    pub latest: u64,
    /// Newest block under `safe`.
    pub safe: u64,
    /// Newest block under `finalized`.
    pub finalized: u64,
    /// Time since `latest` last moved, ms.
    pub head_age_ms: u64,
    /// What is wrong with the endpoint, if anything is.
    pub trouble: Option<String>,
    /// Time until the endpoint is looked at again, ms.
    pub next_look_ms: u64,
    /// The epoch that piles are told.
    pub epoch: Option<u32>,
    /// First epoch that can still be recorded.
    pub oldest_epoch: u32,
    /// Blocks in an epoch.
    #[serde(skip)]
    pub epoch_len_blocks: u64,
    /// Epochs in the ring.
    #[serde(skip)]
    pub ring_epochs: u32,
    /// What happens next to the batch that carries the statement, in the words of `relayer tx list`.
    #[serde(skip)]
    pub batch_next: Option<String>,
}

/// What the state says of the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub state: MessageState,
    /// Not before this block is it carried again.
    pub retry_block: u64,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The ticket, 0x hex.
    pub sid: String,
    /// Where it stands.
    pub stage: Stage,
    /// In words.
    pub summary: String,
    /// Who holds it up: `nobody` while all goes its way, else `device`, `chain`, `store`, `operator` or `us`.
    pub fault: &'static str,
    /// What happens next, and when, in words.
    pub next: String,
    /// The block of that, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_block: Option<u64>,
    /// The last block in which it can be recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_block: Option<u64>,
    /// The device, 0x hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Group, index and number of the statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<(u32, u8, u8)>,
    /// Credit, Wh and minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit: Option<(u32, u16)>,
    /// Whether the pile verified the answer.
    pub acknowledged: bool,
    /// Whether the charge ended.
    pub ended: bool,
    /// The chain at that moment.
    pub chain: Moment,
    /// Everything that became durable, oldest first.
    pub history: Vec<story::Line>,
}

/// Answers for one ticket. The journal is read from its beginning, off the runtime's threads.
pub async fn handle(
    gateway: &Gateway,
    journal: Arc<dyn Journal>,
    transactions: &Transactions,
    sid: &str,
) -> Result<Value, AdminError> {
    let sid = parse_sid(sid)?;
    // The state runs ahead of the disk: what it shows has to be in what is read.
    gateway.barrier().await?;
    let reading = tokio::task::spawn_blocking(move || {
        let mut story = Story::of(sid);
        journal.replay(1, &mut |lsn, record| story.take(lsn, &record))?;
        Ok::<_, AdminError>(story)
    });
    let mut story = reading.await.map_err(|error| AdminError::Failed { what: error.to_string() })??;
    story.unseal(&gateway.site_secret);
    let standing = story.statement.as_ref().and_then(|statement| {
        let state = gateway.state();
        let chain = state.chains.get(&(statement.group, statement.index, statement.epoch))?;
        let entry = chain.statements.get(&statement.n)?;
        Some(Standing { state: entry.state, retry_block: chain.retry_block })
    });
    let mut moment = moment(gateway);
    if let Some((batch, _)) = story.open_carrier() {
        moment.batch_next = transactions.next_of(batch).await?;
    }
    let explanation = explain(sid, story, standing, moment);
    serde_json::to_value(explanation).map_err(|error| AdminError::Failed { what: error.to_string() })
}

fn parse_sid(text: &str) -> Result<Sid, AdminError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut sid = Sid::default();
    hex::decode_to_slice(digits, &mut sid).map_err(|_| AdminError::Argument {
        argument: "sid",
        problem: "has to be 32 hex digits".to_owned(),
    })?;
    Ok(sid)
}

fn moment(gateway: &Gateway) -> Moment {
    let now_ms = gateway.clock.monotonic_ms();
    let epoch = gateway.announced().borrow().map(|announced| announced.epoch.epoch);
    let view = gateway.view.borrow();
    let trouble = view.trouble.as_ref();
    let next_look_ms =
        trouble.map_or(0, |trouble: &ChainTrouble| trouble.next_look_at_ms.saturating_sub(now_ms));
    Moment {
        latest: view.latest_block,
        safe: view.safe_block,
        finalized: view.finalized_block,
        head_age_ms: now_ms.saturating_sub(view.advanced_at_ms),
        trouble: trouble.map(|trouble| trouble.error.clone()),
        next_look_ms,
        epoch,
        oldest_epoch: gateway.oldest_epoch(),
        epoch_len_blocks: gateway.settings.epoch_len_blocks,
        ring_epochs: gateway.settings.ring_epochs,
        batch_next: None,
    }
}

/// What is told of a stage.
struct Said {
    stage: Stage,
    summary: String,
    fault: Option<Fault>,
    next: String,
    next_block: Option<u64>,
}

/// Explains. `standing` is what the state says of the granted statement, if it still holds it.
pub fn explain(sid: Sid, story: Story, standing: Option<Standing>, moment: Moment) -> Explanation {
    let mut said = say(&story, standing, &moment);
    let waits_for_chain =
        matches!(said.stage, Stage::Granted | Stage::Batched | Stage::Submitted | Stage::Mined);
    if waits_for_chain && let Some(why) = chain_stands_still(&moment) {
        said.fault = Some(Fault::Chain);
        said.summary = format!("{} The chain holds it up: {why}.", said.summary);
        let seconds = moment.next_look_ms.div_ceil(1_000);
        said.next = format!("The endpoint is asked again in {seconds} s. Once it answers: {}", said.next);
    }
    let statement = story.statement.as_ref();
    let epoch = story.challenge.as_ref().map(|challenge| challenge.epoch);
    Explanation {
        sid: hex0x(&sid),
        stage: said.stage,
        summary: said.summary,
        fault: said.fault.map_or("nobody", Fault::name),
        next: said.next,
        next_block: said.next_block,
        expires_block: statement.map(|statement| expires_block(&moment, statement.epoch)),
        device_id: story.challenge.as_ref().map(|challenge| hex0x(&challenge.device_id)),
        epoch: epoch.or(statement.map(|statement| statement.epoch)),
        place: statement.map(|statement| (statement.group, statement.index, statement.n)),
        credit: story.credit,
        acknowledged: story.acked,
        ended: story.ended,
        chain: moment,
        history: story.lines,
    }
}

fn say(story: &Story, standing: Option<Standing>, moment: &Moment) -> Said {
    if let Some(reason) = story.denied {
        return Said {
            stage: Stage::Denied,
            summary: format!("The pile's answer verified and was denied: {reason}."),
            fault: Some(if reason == "OVERLOADED" { Fault::Us } else { Fault::Device }),
            next: "Nothing: a denial is final for its ticket. The pile may ask for a new one.".to_owned(),
            next_block: None,
        };
    }
    let Some(statement) = &story.statement else {
        return if story.credit.is_some() { pruned() } else { unanswered(story, moment) };
    };
    if let Some((_, block)) = story.covered {
        return recorded(block, standing, moment);
    }
    match standing.map(|standing| standing.state) {
        Some(MessageState::Expired) => Said {
            stage: Stage::Expired,
            summary: format!(
                "Epoch {} left the ring before it was recorded: the chain takes it no more.",
                statement.epoch
            ),
            fault: Some(Fault::Chain),
            next: "Nothing. The history says what was tried; the charge itself went on under the grant.".to_owned(),
            next_block: None,
        },
        Some(MessageState::RejectedByContract) => Said {
            stage: Stage::RejectedByContract,
            summary: "The contract skipped it every time; it was given up.".to_owned(),
            fault: Some(Fault::Device),
            next: "Nothing. The RecordSkipped events of its transactions name the reason: revoked, inactive or signature."
                .to_owned(),
            next_block: None,
        },
        Some(MessageState::ReorgedOut) => Said {
            stage: Stage::ReorgedOut,
            summary: format!(
                "A reorganisation took the challenge of epoch {} away: what was signed under it cannot be recorded.",
                statement.epoch
            ),
            fault: Some(Fault::Chain),
            next: "Nothing. The grant is revoked for that; later epochs are not affected.".to_owned(),
            next_block: None,
        },
        Some(MessageState::Superseded | MessageState::RejectedLocal) => given_up(),
        _ => match story.open_carrier() {
            Some((number, carrier)) => carried(number, carrier, moment),
            None => waiting(story, statement.epoch, standing, moment),
        },
    }
}

fn unanswered(story: &Story, moment: &Moment) -> Said {
    let Some(challenge) = &story.challenge else {
        return Said {
            stage: Stage::Unknown,
            summary: "This relayer's journal has no ticket with this sid.".to_owned(),
            fault: None,
            next: "Nothing. Another gateway may have issued it, or its records were pruned after its epoch was done with."
                .to_owned(),
            next_block: None,
        };
    };
    let answer_by = challenge.answer_by;
    if moment.latest > answer_by {
        return Said {
            stage: Stage::Unanswered,
            summary: format!("The pile did not answer its ticket by block {answer_by}."),
            fault: Some(Fault::Device),
            next: "Nothing: a later answer is denied as EXPIRED. The pile may ask for a new ticket."
                .to_owned(),
            next_block: None,
        };
    }
    Said {
        stage: Stage::Ticketed,
        summary: "The ticket was issued; no answer that verifies has come.".to_owned(),
        fault: Some(Fault::Device),
        next: format!(
            "The pile may answer until block {answer_by}, {} from now.",
            blocks(answer_by, moment.latest)
        ),
        next_block: Some(answer_by),
    }
}

fn recorded(block: u64, standing: Option<Standing>, moment: &Moment) -> Said {
    let is_final = standing.is_some_and(|standing| standing.state == MessageState::Final);
    if is_final || (moment.finalized > 0 && block <= moment.finalized) {
        return Said {
            stage: Stage::Final,
            summary: format!("Recorded in block {block}, which is final."),
            fault: None,
            next: "Nothing: it is done.".to_owned(),
            next_block: None,
        };
    }
    Said {
        stage: Stage::Safe,
        summary: format!("Recorded in block {block}, which `safe` covers."),
        fault: None,
        next: format!("Final once `finalized`, now at block {}, covers it.", moment.finalized),
        next_block: Some(block),
    }
}

/// Only an epoch that is done with is pruned: recorded or given up.
fn pruned() -> Said {
    Said {
        stage: Stage::Pruned,
        summary: "Its epoch is done with and pruned from the journal; the charge is still open.".to_owned(),
        fault: Some(Fault::Device),
        next:
            "The pile sends CHARGE_END when the charge ends. The chain's events tell how the statement fared."
                .to_owned(),
        next_block: None,
    }
}

fn given_up() -> Said {
    Said {
        stage: Stage::GivenUp,
        summary: "It was given up; the history says after what.".to_owned(),
        fault: Some(Fault::Chain),
        next: "Nothing.".to_owned(),
        next_block: None,
    }
}

/// In a batch that has no end.
fn carried(number: u64, carrier: &Carrier, moment: &Moment) -> Said {
    if let Some((block, succeeded)) = carrier.mined {
        let outcome = if succeeded { "executed" } else { "reverted, so it will be carried again" };
        return Said {
            stage: Stage::Mined,
            summary: format!(
                "Batch {number} is mined in block {block} and {outcome}; a reorganisation could still undo it."
            ),
            fault: (!succeeded).then_some(Fault::Chain),
            next: format!(
                "Safe once `safe`, now at block {}, covers it: {} to go.",
                moment.safe,
                blocks(block, moment.safe)
            ),
            next_block: Some(block),
        };
    }
    let Some(attempt) = &carrier.attempt else {
        return Said {
            stage: Stage::Batched,
            summary: format!(
                "Batch {number} carries it and has no transaction yet: its gas is being estimated, or the paying accounts are at their limit of transactions under way."
            ),
            fault: None,
            next: batch_next(number, moment),
            next_block: None,
        };
    };
    if carrier.cancelled {
        return Said {
            stage: Stage::Submitted,
            summary: format!(
                "Batch {number} is being cancelled by an operator: its nonce goes to a transfer of nothing."
            ),
            fault: Some(Fault::Operator),
            next: batch_next(number, moment),
            next_block: None,
        };
    }
    let again = if attempt.attempt > 1 { "; it was replaced by a better paid one before" } else { "" };
    Said {
        stage: Stage::Submitted,
        summary: format!(
            "Batch {number} has transaction {} (attempt {}, nonce {} of {}, at most {} gwei) and no receipt{again}.",
            hex0x(&attempt.transaction),
            attempt.attempt,
            attempt.nonce,
            hex0x(&attempt.signer),
            attempt.max_fee_per_gas / 1_000_000_000
        ),
        fault: (attempt.attempt > 1).then_some(Fault::Chain),
        next: batch_next(number, moment),
        next_block: None,
    }
}

fn batch_next(number: u64, moment: &Moment) -> String {
    let next = moment.batch_next.as_deref().unwrap_or("it is looked at with the next block");
    format!("Batch {number}: {next}. `relayer tx bump {number}` pays more at once.")
}

/// Granted, and in no batch.
fn waiting(story: &Story, epoch: u32, standing: Option<Standing>, moment: &Moment) -> Said {
    let said = |summary: String, fault, next: String, next_block| Said {
        stage: Stage::Granted,
        summary,
        fault,
        next,
        next_block,
    };
    let open = moment.epoch.is_none_or(|announced| epoch >= announced);
    if open {
        let closes = (u64::from(epoch).saturating_add(1)).saturating_mul(moment.epoch_len_blocks);
        return said(
            format!(
                "Granted and durable. Its epoch {epoch} is still open, and an epoch goes to the chain whole."
            ),
            None,
            format!(
                "It joins a batch once epoch {} is announced, when `safe`, now at block {}, covers block {closes}: {} to go.",
                epoch.saturating_add(1),
                moment.safe,
                blocks(closes, moment.safe)
            ),
            Some(closes),
        );
    }
    if epoch < moment.oldest_epoch {
        return said(
            format!("Granted, and its epoch {epoch} has just left the ring unrecorded."),
            Some(Fault::Chain),
            "It is given up at the next look.".to_owned(),
            None,
        );
    }
    if story.in_round {
        return said(
            format!("Granted and durable; its epoch {epoch} is closed, and its pile is asked to co-sign a root with its head."),
            None,
            "It joins a batch when all have answered, or after `batch.root_deadline_ms`; without its pile's co-signature by its own record."
                .to_owned(),
            None,
        );
    }
    let retry_block = standing.map_or(0, |standing| standing.retry_block);
    let after = match story.ended_carrier() {
        Some((number, Carrier { end: Some(End::Dropped(_)), .. })) => Some(format!(
            "Batch {number} ended without a transaction: the node said that its call would revert (recording paused, ring not open), or it did not fit."
        )),
        Some((number, Carrier { end: Some(End::Safe(block, false)), .. })) => {
            Some(format!("Batch {number} reverted in block {block}."))
        }
        Some((number, Carrier { end: Some(End::Safe(block, true)), kind, .. })) => {
            let call = match kind {
                BatchKind::Record => "recordMany",
                BatchKind::RecordRoot => "recordRoot",
                _ => "extend",
            };
            Some(format!("Batch {number} was executed in block {block}, but {call} left this statement out."))
        }
        _ => None,
    };
    match after {
        Some(after) if moment.latest < retry_block => said(
            format!("Granted and durable, not on chain. {after}"),
            Some(Fault::Chain),
            format!(
                "It is carried again from block {retry_block} on, {} from now.",
                blocks(retry_block, moment.latest)
            ),
            Some(retry_block),
        ),
        Some(after) => said(
            format!("Granted and durable, not on chain. {after}"),
            None,
            "It joins the next batch, which is cut within a second.".to_owned(),
            None,
        ),
        None => said(
            format!("Granted and durable; its epoch {epoch} is closed."),
            None,
            "It joins a batch within a second, after `batch.close_grace_ms` for late statements.".to_owned(),
            None,
        ),
    }
}

/// Why nothing moves on the chain's side, if so.
fn chain_stands_still(moment: &Moment) -> Option<String> {
    if let Some(trouble) = &moment.trouble {
        return Some(format!("the endpoint fails ({trouble})"));
    }
    (moment.head_age_ms > HEAD_FRESH_MS).then(|| {
        format!("its head, block {}, has not moved for {} s", moment.latest, moment.head_age_ms / 1_000)
    })
}

fn expires_block(moment: &Moment, epoch: u32) -> u64 {
    (u64::from(epoch).saturating_add(u64::from(moment.ring_epochs)))
        .saturating_mul(moment.epoch_len_blocks)
        .saturating_sub(1)
}

fn blocks(target: u64, now: u64) -> String {
    match target.saturating_sub(now) {
        1 => "1 block".to_owned(),
        count => format!("{count} blocks"),
    }
}

/// 0x hex.
pub(crate) fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

#[cfg(test)]
#[path = "why/tests.rs"]
mod tests;
