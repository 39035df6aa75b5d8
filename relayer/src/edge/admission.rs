//! Who may connect, when: bounds by address and by device, and turns for handshakes, so that a storm of reconnects does not
//! starve the sessions that stand.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cip22_wire::DeviceId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;

/// Limits of admission.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
    /// Open connections, handshakes included.
    pub connections_max: usize,
    /// Of these, from one address.
    pub connections_per_address_max: usize,
    /// Of these, with one device's certificate.
    pub connections_per_device_max: usize,
    /// Handshakes under way.
    pub handshakes_max: usize,
    /// Of these, from one address.
    pub handshakes_per_address_max: usize,
    /// Handshakes begun a second; a second's worth may begin at once.
    pub accepts_per_second_max: u32,
    /// Longest wait for a turn.
    pub turn_timeout: Duration,
}

/// Why a connection is closed before its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// As many connections as there may be.
    #[error("too many connections")]
    OverLimit,
    /// As many connections from its address as there may be.
    #[error("too many connections from one address")]
    AddressOverLimit,
    /// No turn for its handshake in time.
    #[error("too many handshakes are waiting")]
    NoTurn,
}

impl Refused {
    /// Label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::OverLimit => "over_limit",
            Self::AddressOverLimit => "address_over_limit",
            Self::NoTurn => "no_turn",
        }
    }
}

/// Admits connections.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    clock: SharedClock,
    handshakes: Arc<Semaphore>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    open: usize,
    last_number: u64,
    addresses: HashMap<IpAddr, Address>,
    devices: HashMap<DeviceId, VecDeque<(u64, CancellationToken)>>,
    turns: Turns,
}

#[derive(Debug)]
struct Address {
    open: usize,
    handshakes: Arc<Semaphore>,
}

/// The place of one connection; given back when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
    handshakes: Arc<Semaphore>,
}

/// The right to make a handshake; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    _of_address: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// One connection among those of its device; leaves them when dropped.
#[derive(Debug)]
pub struct DevicePlace {
    admission: Arc<Admission>,
    device_id: DeviceId,
    number: u64,
    /// Cancelled once newer connections of the device took all the places.
    pub evicted: CancellationToken,
}

impl Admission {
    /// Nobody is connected.
    pub fn new(limits: AdmissionLimits, clock: SharedClock) -> Arc<Self> {
        let inner = Inner {
            open: 0,
            last_number: 0,
            addresses: HashMap::new(),
            devices: HashMap::new(),
            turns: Turns::new(limits.accepts_per_second_max, clock.monotonic_ms()),
        };
        let handshakes = Arc::new(Semaphore::new(limits.handshakes_max));
        Arc::new(Self { limits, clock, handshakes, inner: Mutex::new(inner) })
    }

    /// Takes in a connection from `address`.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Refused> {
        let address = network_of(address);
        let mut inner = self.inner();
        if inner.open >= self.limits.connections_max {
            return Err(Refused::OverLimit);
        }
        let entry = inner.addresses.entry(address).or_insert_with(|| Address {
            open: 0,
            handshakes: Arc::new(Semaphore::new(self.limits.handshakes_per_address_max)),
        });
        if entry.open >= self.limits.connections_per_address_max {
            return Err(Refused::AddressOverLimit);
        }
        entry.open += 1;
        let handshakes = Arc::clone(&entry.handshakes);
        inner.open += 1;
        Ok(Place { admission: Arc::clone(self), address, handshakes })
    }

    /// Counts a connection to its device. If that makes too many, the oldest is evicted: after a network loss the old ones are
    /// dead more often than the new.
    pub fn enter_device(self: &Arc<Self>, device_id: DeviceId) -> DevicePlace {
        let evicted = CancellationToken::new();
        let mut inner = self.inner();
        inner.last_number = inner.last_number.saturating_add(1);
        let number = inner.last_number;
        let open = inner.devices.entry(device_id).or_default();
        open.push_back((number, evicted.clone()));
        if open.len() > self.limits.connections_per_device_max
            && let Some((_, oldest)) = open.pop_front()
        {
            oldest.cancel();
        }
        drop(inner);
        DevicePlace { admission: Arc::clone(self), device_id, number, evicted }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere does not make the counts wrong; the process is about to end anyway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits for the turn of this connection's handshake. Addresses take turns: one with many connections waits for itself.
    pub async fn turn(&self) -> Result<Turn, Refused> {
        let admission = &self.admission;
        let turn = async {
            let _of_address =
                Arc::clone(&self.handshakes).acquire_owned().await.map_err(|_| Refused::NoTurn)?;
            let timeout_ms = u64::try_from(admission.limits.turn_timeout.as_millis()).unwrap_or(u64::MAX);
            let now_ms = admission.clock.monotonic_ms();
            let wait_ms = admission.inner().turns.take(now_ms, timeout_ms).ok_or(Refused::NoTurn)?;
            if wait_ms > 0 {
                admission.clock.sleep(Duration::from_millis(wait_ms)).await;
            }
            let _of_all =
                Arc::clone(&admission.handshakes).acquire_owned().await.map_err(|_| Refused::NoTurn)?;
            Ok(Turn { _of_address, _of_all })
        };
        tokio::select! {
            turn = turn => turn,
            () = admission.clock.sleep(admission.limits.turn_timeout) => Err(Refused::NoTurn),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.admission.inner();
        inner.open = inner.open.saturating_sub(1);
        if let Some(entry) = inner.addresses.get_mut(&self.address) {
            entry.open = entry.open.saturating_sub(1);
            if entry.open == 0 {
                inner.addresses.remove(&self.address);
            }
        }
    }
}

impl Drop for DevicePlace {
    fn drop(&mut self) {
        let mut inner = self.admission.inner();
        if let Some(open) = inner.devices.get_mut(&self.device_id) {
            open.retain(|(number, _)| *number != self.number);
            if open.is_empty() {
                inner.devices.remove(&self.device_id);
            }
        }
    }
}

/// When handshakes may begin: evenly spread, but for a second's worth that may begin at once.
#[derive(Debug)]
struct Turns {
    per_second: u64,
    /// Time of the next turn, in 1/`per_second` ms.
    next: u64,
}

impl Turns {
    fn new(per_second: u32, now_ms: u64) -> Self {
        let per_second = u64::from(per_second.max(1));
        Self { per_second, next: now_ms.saturating_mul(per_second) }
    }

    /// Takes the next turn; returns the time until then, ms, or `None` if it is further away than `timeout_ms`.
    fn take(&mut self, now_ms: u64, timeout_ms: u64) -> Option<u64> {
        let now = now_ms.saturating_mul(self.per_second);
        let burst = BURST_MS.saturating_mul(self.per_second);
        let at = self.next.max(now.saturating_sub(burst));
        let wait_ms = at.saturating_sub(now).div_ceil(self.per_second);
        if wait_ms > timeout_ms {
            return None;
        }
        self.next = at.saturating_add(1_000);
        Some(wait_ms)
    }
}

/// What counts as one address: whoever has an IPv6 address has the 64-bit network around it.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

const BURST_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock::SystemClock;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let admission = admission();
        let first = admission.enter(HERE).unwrap();
        let _second = admission.enter(HERE).unwrap();
        assert_eq!(admission.enter(HERE).unwrap_err(), Refused::AddressOverLimit);
        let _third = admission.enter(THERE).unwrap();
        assert_eq!(admission.enter(THERE).unwrap_err(), Refused::OverLimit);
        drop(first);
        admission.enter(HERE).unwrap();
    }

    #[test]
    fn nothing_is_kept_of_who_has_left() {
        let admission = admission();
        drop(admission.enter(HERE).unwrap());
        drop(admission.enter_device([1; 32]));
        let inner = admission.inner();
        assert!(inner.addresses.is_empty() && inner.devices.is_empty() && inner.open == 0);
    }

    #[test]
    fn the_oldest_connection_of_a_device_gives_way() {
        let admission = admission();
        let first = admission.enter_device([1; 32]);
        let second = admission.enter_device([1; 32]);
        assert!(!first.evicted.is_cancelled());
        let third = admission.enter_device([1; 32]);
        assert!(first.evicted.is_cancelled() && !second.evicted.is_cancelled());
        drop(third);
        let _fourth = admission.enter_device([1; 32]);
        assert!(!second.evicted.is_cancelled());
    }

    #[tokio::test]
    async fn slow_handshakes_of_one_address_leave_turns_to_others() {
        let admission = Admission::new(
            AdmissionLimits { connections_max: 10, connections_per_address_max: 9, ..limits() },
            Arc::new(SystemClock::new()),
        );
        let slow = admission.enter(HERE).unwrap();
        let _slow = slow.turn().await.unwrap();
        let waits = admission.enter(HERE).unwrap();
        let mut waiting = std::pin::pin!(waits.turn());
        let other = admission.enter(THERE).unwrap();
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("one handshake of an address at a time"),
            turn = other.turn() => drop(turn.unwrap()),
        }
        drop(_slow);
        waiting.await.unwrap();
    }

    #[test]
    fn a_second_s_worth_of_handshakes_begins_at_once_and_the_rest_evenly() {
        let mut turns = Turns::new(200, 5_000);
        let waits: Vec<_> = (0..1_000).map(|_| turns.take(6_000, 10_000).unwrap()).collect();
        assert!(waits[..200].iter().all(|wait| *wait == 0));
        assert_eq!((waits[201], waits[400], waits[999]), (5, 1_000, 3_995));
        assert_eq!(turns.take(6_000, 3_999), None);
        assert_eq!(turns.take(60_000, 0), Some(0));
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), THERE);
    }

    fn admission() -> Arc<Admission> {
        Admission::new(limits(), Arc::new(SystemClock::new()))
    }

    fn limits() -> AdmissionLimits {
        AdmissionLimits {
            connections_max: 3,
            connections_per_address_max: 2,
            connections_per_device_max: 2,
            handshakes_max: 2,
            handshakes_per_address_max: 1,
            accepts_per_second_max: 1_000,
            turn_timeout: Duration::from_secs(60),
        }
    }
}
