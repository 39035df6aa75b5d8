//! Which signer carries which batch, and what operators ask of transactions.
//!
//! [`Dispatch`] decides: a new batch goes to the signer with the most room that can pay for it, and waits here while there is none. A
//! batch with a stored attempt stays with that attempt's signer, also after a restart. [`Dispatcher`] does it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use cip22_wire::Address;
use metrics::gauge;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::submit::capacity::InFlight;
use super::submit::{
    BatchOutcome, Desk, Notice, Order, PendingBatch, RecordSink, SignerReport, TxDone, TxLine, TxRefusal,
    label, log_outcome,
};
use crate::chain::fees;
use crate::clock::SharedClock;
use crate::journal::Record;
use crate::journal::record::{BatchRecord, TxEdit};

/// Orders, and notices, that may wait. A signer gets no more batches than it has room for.
const QUEUE_ITEMS_MAX: usize = 1_024;

/// What an operator asks.
#[derive(Debug)]
pub enum TxRequest {
    /// Every batch without an end, oldest first.
    List(oneshot::Sender<Vec<TxLine>>),
    /// An edit.
    Edit {
        /// Batch.
        batch: u64,
        /// What.
        edit: TxEdit,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<TxDone, TxRefusal>>,
    },
}

/// A decision of [`Dispatch`].
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Give a batch to a signer.
    Give {
        /// The signer's number.
        signer: usize,
        /// The batch.
        pending: PendingBatch,
    },
    /// A batch ends without a transaction: it expired, or was cancelled.
    End(BatchRecord, bool),
}

/// A signer that cannot pay for what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Account.
    pub signer: Address,
    /// The oldest batch that waits for money.
    pub batch: u64,
    /// What it takes, drip.
    pub needed_drip: u128,
    /// What the signer can spend, drip.
    pub spendable_drip: u128,
}

/// Who has what, and what waits.
#[derive(Debug, Default)]
pub struct Dispatch {
    signers: Vec<Signer>,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Signer {
    address: Address,
    can_sign: bool,
    report: Option<SignerReport>,
    orders_given: u64,
    /// Batches given that no report knows yet: number of the order, batch, what it takes at the least.
    in_transit: VecDeque<(u64, TxLine, InFlight)>,
}

#[derive(Debug)]
struct Waiting {
    pending: PendingBatch,
    /// What carrying it took at the most when a signer looked, drip.
    needed_drip: u128,
}

impl Dispatch {
    /// Adds a signer; returns its number.
    pub fn add(&mut self, address: Address, can_sign: bool) -> usize {
        let (report, in_transit) = (None, VecDeque::new());
        self.signers.push(Signer { address, can_sign, report, orders_given: 0, in_transit });
        self.signers.len() - 1
    }

    /// A batch needs a signer. `needed_drip` is what one of them found it to cost, 0 if unknown.
    pub fn wait(&mut self, pending: PendingBatch, needed_drip: u128) {
        self.waiting.insert(pending.batch.batch, Waiting { pending, needed_drip });
    }

    /// A batch was done, and a reorganisation undid it: the signer whose nonce it has goes on with it, whatever room there is.
    pub fn undone(&mut self, pending: PendingBatch) -> Option<Decision> {
        let owner = self.signers.iter().position(|signer| Some(signer.address) == pending.signer());
        let batch = pending.batch.batch;
        self.wait(pending, 0);
        self.give(batch, owner?)
    }

    /// Whether batches wait.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes a signer's report in.
    pub fn reported(&mut self, signer: usize, report: SignerReport) {
        let Some(signer) = self.signers.get_mut(signer) else { return };
        while signer.in_transit.front().is_some_and(|(order, ..)| *order <= report.orders_taken) {
            signer.in_transit.pop_front();
        }
        signer.report = Some(report);
    }

    /// What can be done now, the batches that expire first before the others. What is decided is noted as done.
    pub fn decide(&mut self) -> Vec<Decision> {
        let latest =
            self.signers.iter().filter_map(|signer| signer.report.as_ref()?.latest).max().unwrap_or(0);
        let mut order: Vec<(u64, u64)> = self
            .waiting
            .iter()
            .map(|(batch, waiting)| (waiting.pending.batch.expires_block, *batch))
            .collect();
        order.sort_unstable();
        let mut decisions = Vec::new();
        for (expires_block, batch) in order {
            let Some(waiting) = self.waiting.get(&batch) else { continue };
            if waiting.pending.cancelled || latest >= expires_block {
                let cancelled = waiting.pending.cancelled;
                let ended = self.waiting.remove(&batch).map(|waiting| waiting.pending.batch);
                decisions.extend(ended.map(|record| Decision::End(record, cancelled)));
            } else if let Some(signer) = self.choose(waiting) {
                decisions.extend(self.give(batch, signer));
            }
        }
        decisions
    }

    /// The signer with the most room that can pay; the first of equals.
    fn choose(&self, waiting: &Waiting) -> Option<usize> {
        let calldata = &waiting.pending.batch.calldata;
        let able = self.signers.iter().enumerate().filter_map(|(number, signer)| {
            let room = signer.room()?;
            let can_pay = signer.spendable_drip() >= signer.least_drip(calldata).max(waiting.needed_drip);
            can_pay.then_some((room.gas, room.transactions, std::cmp::Reverse(number)))
        });
        able.max().map(|(.., number)| number.0)
    }

    fn give(&mut self, batch: u64, number: usize) -> Option<Decision> {
        let signer = self.signers.get_mut(number)?;
        let pending = self.waiting.remove(&batch)?.pending;
        signer.orders_given = signer.orders_given.saturating_add(1);
        let least = InFlight::default().with_call(&pending.batch.calldata);
        let line = TxLine::waiting(&pending.batch, "taken up by its signer".to_owned());
        let line = TxLine { signer: Some(label(signer.address)), ..line };
        signer.in_transit.push_back((signer.orders_given, line, least));
        Some(Decision::Give { signer: number, pending })
    }

    /// Notes that an order other than a batch goes to a signer.
    fn ordered(&mut self, number: usize) {
        if let Some(signer) = self.signers.get_mut(number) {
            signer.orders_given = signer.orders_given.saturating_add(1);
        }
    }

    /// What each signer lacks for the oldest batch that waits for money; `None` for those that lack nothing.
    pub fn shortages(&self) -> Vec<(Address, Option<Shortage>)> {
        let short = |signer: &Signer| {
            self.waiting.iter().find_map(|(batch, waiting)| {
                let needed_drip = signer.least_drip(&waiting.pending.batch.calldata).max(waiting.needed_drip);
                let spendable_drip = signer.spendable_drip();
                let shortage =
                    Shortage { signer: signer.address, batch: *batch, needed_drip, spendable_drip };
                (signer.report.as_ref()?.latest.is_some() && spendable_drip < needed_drip).then_some(shortage)
            })
        };
        self.signers.iter().filter(|s| s.can_sign).map(|signer| (signer.address, short(signer))).collect()
    }

    /// The signer that has a batch.
    fn holder(&self, batch: u64) -> Option<usize> {
        self.signers.iter().position(|signer| {
            let known = signer.report.iter().flat_map(|report| &report.lines).any(|line| line.batch == batch);
            known || signer.in_transit.iter().any(|(_, line, _)| line.batch == batch)
        })
    }

    /// Every batch without an end, oldest first. `epoch_ended` is the block in which an expiring block's epoch ended.
    pub fn lines(&self, epoch_ended: impl Fn(u64) -> u64) -> Vec<TxLine> {
        let latest =
            self.signers.iter().filter_map(|signer| signer.report.as_ref()?.latest).max().unwrap_or(0);
        let mut lines: BTreeMap<u64, TxLine> = BTreeMap::new();
        for signer in &self.signers {
            let transit = signer.in_transit.iter().map(|(_, line, _)| line);
            for line in transit.chain(signer.report.iter().flat_map(|report| &report.lines)) {
                lines.insert(line.batch, line.clone());
            }
        }
        for (batch, waiting) in &self.waiting {
            let next = if self.signers.iter().any(|signer| signer.can_sign && signer.room().is_some()) {
                "a signer that can pay, see signer_short_drip"
            } else {
                "a signer with room"
            };
            lines.insert(*batch, TxLine::waiting(&waiting.pending.batch, next.to_owned()));
        }
        let mut lines: Vec<TxLine> = lines.into_values().collect();
        for line in &mut lines {
            line.age_blocks = latest.saturating_sub(epoch_ended(line.expires_block));
        }
        lines
    }
}

impl Signer {
    /// Room for more, with what is on its way; `None` if there is none, or nothing is known.
    fn room(&self) -> Option<InFlight> {
        let report = self.report.as_ref().filter(|report| self.can_sign && report.latest.is_some())?;
        let gas =
            self.in_transit.iter().fold(report.room.gas, |gas, (_, _, least)| gas.saturating_sub(least.gas));
        let transactions = report.room.transactions.saturating_sub(self.in_transit.len());
        (gas > 0 && transactions > 0).then_some(InFlight { transactions, gas, ..InFlight::default() })
    }

    fn spendable_drip(&self) -> u128 {
        let Some(report) = &self.report else { return 0 };
        let in_transit: u64 =
            self.in_transit.iter().fold(0, |sum, (_, _, least)| sum.saturating_add(least.gas));
        report.spendable_drip.saturating_sub(u128::from(in_transit).saturating_mul(report.max_fee_per_gas))
    }

    /// The least that a call costs now.
    fn least_drip(&self, calldata: &[u8]) -> u128 {
        let max_fee = self.report.as_ref().map_or(0, |report| report.max_fee_per_gas);
        u128::from(fees::least_gas(calldata.len())).saturating_mul(max_fee)
    }
}

/// Where the dispatcher's work comes from.
#[derive(Debug)]
pub struct Work {
    /// Batches that were cut.
    pub batches: mpsc::Receiver<BatchRecord>,
    /// Batches that were done, and that a reorganisation undid.
    pub undone: mpsc::Receiver<PendingBatch>,
    /// What operators want.
    pub requests: mpsc::Receiver<TxRequest>,
}

/// Carries out what [`Dispatch`] decides.
#[derive(Debug)]
pub struct Dispatcher {
    dispatch: Dispatch,
    orders: Vec<mpsc::Sender<Order>>,
    notices_out: mpsc::Sender<(usize, Notice)>,
    notices: mpsc::Receiver<(usize, Notice)>,
    waiting: watch::Sender<bool>,
    short: BTreeMap<Address, bool>,
    sink: Arc<dyn RecordSink>,
    clock: SharedClock,
    /// Blocks from the end of an epoch to the last in which it can be recorded.
    window_blocks: u64,
}

impl Dispatcher {
    /// A dispatcher without signers.
    pub fn new(sink: Arc<dyn RecordSink>, clock: SharedClock, window_blocks: u64) -> Self {
        let (notices_out, notices) = mpsc::channel(QUEUE_ITEMS_MAX);
        Self {
            dispatch: Dispatch::default(),
            orders: Vec::new(),
            notices_out,
            notices,
            waiting: watch::Sender::new(false),
            short: BTreeMap::new(),
            sink,
            clock,
            window_blocks,
        }
    }

    /// Adds a signer; returns the place of its submitter.
    pub fn add(&mut self, address: Address, can_sign: bool) -> Desk {
        let (sender, orders) = mpsc::channel(QUEUE_ITEMS_MAX);
        self.orders.push(sender);
        let number = self.dispatch.add(address, can_sign);
        Desk { number, orders, notices: self.notices_out.clone(), waiting: self.waiting.subscribe() }
    }

    /// Gives batches to signers until told to stop. `pending` are those of the journal that no signer has.
    pub async fn run(
        mut self,
        work: Work,
        pending: Vec<PendingBatch>,
        outcomes: mpsc::Sender<BatchOutcome>,
        stop: CancellationToken,
    ) {
        let Work { mut batches, mut undone, mut requests } = work;
        for pending in pending {
            self.dispatch.wait(pending, 0);
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(batch) = batches.recv() => self.dispatch.wait(PendingBatch::new(batch), 0),
                Some(pending) = undone.recv() => {
                    if let Some(decision) = self.dispatch.undone(pending) {
                        self.carry_out(decision, &outcomes).await;
                    }
                }
                Some((signer, notice)) = self.notices.recv() => self.noticed(signer, notice),
                Some(request) = requests.recv() => self.requested(request, &outcomes).await,
            }
            for decision in self.dispatch.decide() {
                self.carry_out(decision, &outcomes).await;
            }
            self.tell();
        }
    }

    fn noticed(&mut self, signer: usize, notice: Notice) {
        match notice {
            Notice::Report(report) => self.dispatch.reported(signer, report),
            Notice::Returned { pending, needed_drip } => self.dispatch.wait(pending, needed_drip),
        }
    }

    async fn carry_out(&mut self, decision: Decision, outcomes: &mpsc::Sender<BatchOutcome>) {
        match decision {
            Decision::Give { signer, pending } => {
                let Some(orders) = self.orders.get(signer) else { return };
                // A signer has room for far less than its queue holds: it is full only if its submitter has ended, and then so does all.
                if let Err(error) = orders.try_send(Order::Carry(Box::new(pending))) {
                    tracing::warn!(signer, %error, "a submitter takes no batches");
                }
            }
            Decision::End(batch, cancelled) => {
                let outcome = BatchOutcome::unsent(&batch, cancelled);
                log_outcome(&outcome);
                if outcomes.send(outcome).await.is_err() {
                    tracing::debug!(batch = batch.batch, "nobody takes outcomes any more");
                }
            }
        }
    }

    async fn requested(&mut self, request: TxRequest, outcomes: &mpsc::Sender<BatchOutcome>) {
        match request {
            TxRequest::List(reply) => {
                let window_blocks = self.window_blocks;
                // Whoever asked may have gone meanwhile; the same below.
                let _ = reply.send(self.dispatch.lines(|expires| expires.saturating_sub(window_blocks)));
            }
            TxRequest::Edit { batch, edit, reply } => {
                if self.dispatch.waiting.contains_key(&batch) {
                    let _ = reply.send(self.edit_waiting(batch, edit, outcomes).await);
                } else if let Some(signer) = self.dispatch.holder(batch)
                    && let Some(orders) = self.orders.get(signer)
                {
                    match orders.try_send(Order::Edit { batch, edit, reply }) {
                        Ok(()) => self.dispatch.ordered(signer),
                        Err(
                            mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order),
                        ) => {
                            if let Order::Edit { reply, .. } = order {
                                let _ = reply.send(Err(TxRefusal::Busy));
                            }
                        }
                    }
                } else {
                    let _ = reply.send(Err(TxRefusal::UnknownBatch { batch }));
                }
            }
        }
    }

    /// What no signer has, has no transaction: it can only be cancelled, which ends it.
    async fn edit_waiting(
        &mut self,
        batch: u64,
        edit: TxEdit,
        outcomes: &mpsc::Sender<BatchOutcome>,
    ) -> Result<TxDone, TxRefusal> {
        if edit == TxEdit::Bump {
            return Err(TxRefusal::NothingSent { batch });
        }
        let unix_ms = self.clock.unix_ms();
        let noted = self.sink.append(vec![Record::TxEdited { batch, edit, unix_ms }]).await;
        noted.map_err(|_| TxRefusal::Journal)?;
        tracing::warn!(batch, ?edit, "an operator edits a transaction");
        if let Some(waiting) = self.dispatch.waiting.remove(&batch) {
            self.carry_out(Decision::End(waiting.pending.batch, true), outcomes).await;
        }
        Ok(TxDone { batch, nonce: None, attempt: None, max_fee_drip: None })
    }

    /// Metrics, and what an operator has to do.
    fn tell(&mut self) {
        let dispatch = &self.dispatch;
        self.waiting.send_if_modified(|waiting| {
            let before = std::mem::replace(waiting, dispatch.is_waiting());
            before != *waiting
        });
        let held: usize = dispatch.signers.iter().map(Signer::held).sum();
        gauge!("batches_unfinished").set(held.saturating_add(dispatch.waiting.len()) as f64);
        gauge!("batches_without_signer").set(dispatch.waiting.len() as f64);
        let stranded: usize = dispatch.signers.iter().filter(|s| !s.can_sign).map(Signer::held).sum();
        gauge!("batches_of_missing_signers").set(stranded as f64);
        for (signer, shortage) in dispatch.shortages() {
            let lacks = shortage.map_or(0, |short| short.needed_drip.saturating_sub(short.spendable_drip));
            gauge!("signer_short_drip", "signer" => label(signer)).set(lacks as f64);
            let told = self.short.insert(signer, shortage.is_some()).unwrap_or(false);
            match shortage {
                Some(Shortage { batch, needed_drip, spendable_drip, .. }) if !told => tracing::error!(
                    signer = label(signer),
                    batch,
                    needed_drip,
                    spendable_drip,
                    "this signer cannot pay: send CFX to it"
                ),
                None if told => tracing::info!(signer = label(signer), "this signer can pay again"),
                _ => {}
            }
        }
    }
}

impl Signer {
    /// Batches that it has, or is being given.
    fn held(&self) -> usize {
        self.report.as_ref().map_or(0, |report| report.lines.len()).saturating_add(self.in_transit.len())
    }
}

#[cfg(test)]
mod tests;
