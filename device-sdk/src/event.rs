use cip22_wire::{Address, BatteryId, Hash, Sid};

use crate::hal::Slot;

/// What the session tells the application. Raw codes are those of protocol §4, §7 and §8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Open a connection, closing any that is still open; then call `connected`, or `disconnected` if it failed.
    Reconnect,
    /// The session stands.
    Connected {
        /// The gateway of this connection.
        gateway: Address,
        /// The pile's group.
        group: u32,
        /// The pile's index in its group.
        index: u8,
        /// Whether the gateway still held the session.
        resumed: bool,
    },
    /// Two intervals without a byte, or no HELLO_ACK: close the connection. A reconnect is scheduled.
    LinkLost,
    /// The tries are used up; the pile stays offline until `reconnect` is called.
    Offline,
    /// The stream cannot be read further: send what `poll_output` still gives, then close and call `disconnected`.
    Close,
    /// The gateway will close; a [`Event::Reconnect`] follows after `reconnect_ms`.
    Drain {
        /// Chosen at random in the gateway's window, from now.
        reconnect_ms: u64,
    },
    /// An epoch was accepted and is durable.
    EpochOpened {
        /// Its number.
        epoch: u32,
    },
    /// The pile co-signed the root of a batch that holds its leaf of a closed epoch. Keep these fields with the path that
    /// `leaf_path` gives until the next event is polled: together they open the pile's statements of that epoch on chain.
    RootSigned {
        /// The epoch.
        epoch: u32,
        /// The pile's group in that epoch.
        group: u32,
        /// The pile's index in that group.
        index: u8,
        /// `(place of the group) << 8 | index`.
        leaf: u16,
        /// The pile's last statement of the epoch.
        n: u8,
        /// Its head.
        head: Hash,
        /// Root of the whole tree.
        root: Hash,
    },
    /// A verified policy is durable.
    PolicyStored {
        /// Its version.
        version: u32,
        /// First epoch it is in force.
        first_epoch: u32,
    },
    /// The gateway holds the pile's POLICY_ACK.
    PolicyAcked {
        /// The policy's version.
        version: u32,
    },
    /// A ticket passed every check and waits for `authorize`.
    TicketHeld {
        /// Its sid.
        sid: Sid,
    },
    /// A ticket was refused, and asked anew.
    TicketRefused {
        /// Tag of the CHALLENGE field at fault.
        field: u8,
    },
    /// The epoch advanced (or the gateway changed) before the ticket was answered; it is asked anew.
    TicketExpired {
        /// Its sid.
        sid: Sid,
    },
    /// The authorization under way ended without an answer; `authorize` may be called again.
    AuthorizeFailed {
        /// The NACK code, 0 if too many tickets were refused.
        code: u16,
    },
    /// Power may flow, within the credit; durable.
    Granted {
        /// The charge.
        sid: Sid,
        /// Energy, Wh.
        wh: u32,
        /// Time, minutes.
        minutes: u16,
    },
    /// No power.
    Denied {
        /// The ticket's sid.
        sid: Sid,
        /// A `DenyReason`.
        reason: u8,
    },
    /// The credit has new totals.
    CreditUpdated {
        /// The charge.
        sid: Sid,
        /// Energy since the grant, Wh.
        wh: u32,
        /// Time since the grant, minutes.
        minutes: u16,
    },
    /// The credit is used up: stop, then `end_charge`, with the cause `DeAuthorized` if the charge was revoked.
    CreditExhausted {
        /// The charge.
        sid: Sid,
    },
    /// The authorization is on chain.
    Final {
        /// The charge.
        sid: Sid,
        /// A `Level`.
        level: u8,
        /// The transaction.
        transaction: Hash,
        /// Its block number.
        block: u64,
    },
    /// The grant ends after `grace_wh` more; [`Event::CreditExhausted`] tells when. Also for a grant whose charge has ended.
    Revoked {
        /// The charge.
        sid: Sid,
        /// A `RevokeCause`.
        cause: u8,
        /// Energy that may still flow, Wh.
        grace_wh: u32,
    },
    /// ACK arrived.
    Acked {
        /// Type of the frame acknowledged.
        frame_type: u8,
        /// A `Level`.
        level: u8,
        /// The charge, if the ACK names one.
        sid: Option<Sid>,
    },
    /// The gateway refused a frame.
    Nacked {
        /// Type of the frame refused; 0 if unreadable.
        frame_type: u8,
        /// A `NackCode`.
        code: u16,
        /// Tag at fault.
        field: Option<u8>,
        /// See §8.
        limit: Option<u32>,
        /// The session sends the same bytes again after this.
        retry_ms: Option<u32>,
    },
    /// The pile refused a frame.
    Refused {
        /// Type of the frame refused; 0 if unreadable.
        frame_type: u8,
        /// A `NackCode`.
        code: u16,
        /// Tag at fault.
        field: Option<u8>,
    },
    /// TELEM_ACK arrived.
    TelemAcked {
        /// The battery.
        battery: BatteryId,
        /// The record.
        seq: u32,
        /// A `Level`.
        level: u8,
        /// Whether it answers a checkpoint.
        checkpoint: bool,
    },
    /// The battery's head is known: `telemetry` continues after `seq`.
    TelemHead {
        /// The battery.
        battery: BatteryId,
        /// Newest record the gateway holds durably.
        seq: u32,
        /// Newest checkpoint.
        ledger_seq: u32,
    },
    /// The gateway's head and the pile's differ: unanswered records were dropped and the head is asked for again.
    TelemetryReset {
        /// The battery.
        battery: BatteryId,
        /// Records dropped; the gateway refused them.
        dropped: u32,
    },
    /// A checkpoint would contradict one signed before and was not signed: the gateway or the battery's data changed.
    CheckpointRefused {
        /// The battery.
        battery: BatteryId,
        /// The record.
        seq: u32,
    },
    /// Storage refused; the session tries again after a second.
    StorageFailed {
        /// What it could not store.
        slot: Slot,
    },
    /// The entropy source failed; the session tries again after a second.
    EntropyFailed,
}

/// Events not polled yet, oldest first.
#[derive(Debug)]
pub(crate) struct EventQueue {
    ring: [Option<Event>; EVENTS_MAX],
    first: usize,
    count: usize,
}

impl EventQueue {
    pub(crate) const fn new() -> Self {
        Self { ring: [None; EVENTS_MAX], first: 0, count: 0 }
    }

    /// Callers make sure of [`Self::has_room`] before the operation that leads here; without room the event is lost.
    pub(crate) fn push(&mut self, event: Event) {
        let at = self.first.saturating_add(self.count).checked_rem(EVENTS_MAX).unwrap_or(0);
        if self.count < EVENTS_MAX
            && let Some(place) = self.ring.get_mut(at)
        {
            *place = Some(event);
            self.count = self.count.saturating_add(1);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.ring.get_mut(self.first)?.take()?;
        self.first = self.first.saturating_add(1).checked_rem(EVENTS_MAX).unwrap_or(0);
        self.count = self.count.saturating_sub(1);
        Some(event)
    }

    /// Whether one operation's events have room.
    pub(crate) const fn has_room(&self) -> bool {
        EVENTS_MAX.saturating_sub(self.count) >= EVENTS_PER_OPERATION_MAX
    }
}

const EVENTS_MAX: usize = 24;
/// One input frame gives at most 4 events, one round of pending work at most 5.
const EVENTS_PER_OPERATION_MAX: usize = 10;
