//! The one writer of the journal: an OS thread that commits, in one transaction, everything that has arrived since its last fsync.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use metrics::{counter, gauge, histogram};
use tokio::sync::oneshot;

use super::{Journal, Lease, Lsn, Record};
use crate::clock::SharedClock;
use crate::error::JournalError;
use crate::failpoint::failpoint;
use crate::limits::JOURNAL_GROUP_RECORDS_MAX;

/// A handle to the appender; cheap to clone. The thread ends when the last handle is gone, after committing what it was given.
#[derive(Debug, Clone)]
pub struct Appender {
    requests: Sender<Request>,
}

#[derive(Debug)]
enum Request {
    Append { records: Vec<Record>, done: oneshot::Sender<Result<Lsn, JournalError>> },
    SetCursor { name: &'static str, value: u64, done: oneshot::Sender<Result<Lsn, JournalError>> },
    Truncate { before: Lsn, records_max: usize, done: oneshot::Sender<Result<Lsn, JournalError>> },
    Lease { group: u32, now: u64, until: u64, done: oneshot::Sender<Result<Lease, JournalError>> },
}

impl Appender {
    /// Starts the thread as owner of `journal`. It returns the write that failed, if one did.
    pub fn start(
        journal: Arc<dyn Journal>,
        token: u64,
        clock: SharedClock,
    ) -> Result<(Self, JoinHandle<Result<(), JournalError>>), JournalError> {
        let (requests, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_groups(&*journal, token, &*clock, &inbox))
            .map_err(JournalError::Start)?;
        Ok((Self { requests }, thread))
    }

    /// Queues records at once, atomically and in order; the future resolves once they are durable.
    ///
    /// With no records it is a barrier: it resolves once everything queued before is durable.
    pub fn append(
        &self,
        records: Vec<Record>,
    ) -> impl Future<Output = Result<Lsn, JournalError>> + Send + use<> {
        let (done, wait) = oneshot::channel();
        let sent = self.requests.send(Request::Append { records, done });
        async move {
            sent.map_err(|_| JournalError::Closed)?;
            wait.await.map_err(|_| JournalError::Closed)?
        }
    }

    /// Sets a named cursor, durably, after everything queued before.
    pub async fn set_cursor(&self, name: &'static str, value: u64) -> Result<(), JournalError> {
        let (done, wait) = oneshot::channel();
        self.requests.send(Request::SetCursor { name, value, done }).map_err(|_| JournalError::Closed)?;
        wait.await.map_err(|_| JournalError::Closed)?.map(|_| ())
    }

    /// Takes or renews a group's lease; see [`Journal::lease`].
    pub async fn lease(&self, group: u32, now: u64, until: u64) -> Result<Lease, JournalError> {
        let (done, wait) = oneshot::channel();
        self.requests.send(Request::Lease { group, now, until, done }).map_err(|_| JournalError::Closed)?;
        wait.await.map_err(|_| JournalError::Closed)?
    }

    /// Removes records from the front, durably, after everything queued before; see [`Journal::truncate`].
    pub async fn truncate(&self, before: Lsn, records_max: usize) -> Result<u64, JournalError> {
        let (done, wait) = oneshot::channel();
        let request = Request::Truncate { before, records_max, done };
        self.requests.send(request).map_err(|_| JournalError::Closed)?;
        wait.await.map_err(|_| JournalError::Closed)?
    }
}

fn write_groups(
    journal: &dyn Journal,
    token: u64,
    clock: &dyn crate::clock::Clock,
    inbox: &Receiver<Request>,
) -> Result<(), JournalError> {
    while let Ok(first) = inbox.recv() {
        let mut group = Vec::new();
        let mut waiting = Vec::new();
        let mut others = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Append { records, done } => {
                    group.extend(records);
                    waiting.push(done);
                }
                other => others.push(other),
            }
            next = if group.len() < JOURNAL_GROUP_RECORDS_MAX { inbox.try_recv().ok() } else { None };
        }
        let mut outcome = commit_group(journal, token, clock, &group, waiting);
        for request in others {
            if outcome.is_err() {
                break;
            }
            let (done, written) = match request {
                Request::SetCursor { name, value, done } => {
                    (done, journal.set_cursor(token, name, value).map(|()| value))
                }
                Request::Truncate { before, records_max, done } => {
                    (done, journal.truncate(token, before, records_max))
                }
                Request::Lease { group, now, until, done } => {
                    outcome = answer(vec![done], journal.lease(token, group, now, until));
                    continue;
                }
                Request::Append { .. } => continue,
            };
            outcome = answer(vec![done], written);
        }
        if let Err(error) = outcome {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the journal stops: nothing more is acknowledged"
            );
            return Err(error);
        }
    }
    Ok(())
}

/// Commits and answers. After a failed write pages may be gone, so the caller stops: recovery decides what stands.
fn commit_group(
    journal: &dyn Journal,
    token: u64,
    clock: &dyn crate::clock::Clock,
    group: &[Record],
    waiting: Vec<oneshot::Sender<Result<Lsn, JournalError>>>,
) -> Result<(), JournalError> {
    let started_ms = clock.monotonic_ms();
    failpoint("journal::before_commit");
    let result = if group.is_empty() { journal.last() } else { journal.append(token, group) };
    failpoint("journal::after_commit");
    let seconds =
        std::time::Duration::from_millis(clock.monotonic_ms().saturating_sub(started_ms)).as_secs_f64();
    if let Ok(lsn) = &result
        && !group.is_empty()
    {
        histogram!("journal_commit_seconds").record(seconds);
        counter!("journal_records_total").increment(group.len() as u64);
        gauge!("journal_lsn").set(*lsn as f64);
    }
    answer(waiting, result)
}

fn answer<T: Clone>(
    waiting: Vec<oneshot::Sender<Result<T, JournalError>>>,
    result: Result<T, JournalError>,
) -> Result<(), JournalError> {
    for done in waiting {
        let _ = done.send(match &result {
            Ok(value) => Ok(value.clone()),
            Err(error) => Err(JournalError::Failed { cause: error.to_string() }),
        });
    }
    result.map(|_| ())
}
