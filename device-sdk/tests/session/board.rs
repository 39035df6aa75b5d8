//! A pile on the bench: storage that survives the session and fails on demand, a clock set by hand, counted randomness.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use cip22_device_sdk::{
    Clock, Entropy, EntropyError, Event, FRAME_BYTES_MAX, Provisioning, Session, Settings, Slot, Storage,
    StorageError, Workspace,
    sign::SigningKey,
    wire::{Body, FrameType, frame},
};

use crate::gateway::Gateway;

pub(crate) const DEVICE_ID: [u8; 32] = [0xD1; 32];

/// What stays of a pile without power, and the failures it is to meet.
#[derive(Clone, Default)]
pub(crate) struct Flash {
    records: Rc<RefCell<HashMap<Slot, Vec<u8>>>>,
    stores: Rc<Cell<usize>>,
    fault: Rc<Cell<Option<Fault>>>,
}

/// Every store from number `at` on fails; the one at `at` leaves the new record if `written`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) written: bool,
}

impl Flash {
    pub(crate) fn stores(&self) -> usize {
        self.stores.get()
    }

    pub(crate) fn fail(&self, fault: Option<Fault>) {
        self.fault.set(fault);
    }

    pub(crate) fn record(&self, slot: Slot) -> Vec<u8> {
        self.records.borrow().get(&slot).cloned().unwrap_or_default()
    }

    pub(crate) fn put(&self, slot: Slot, record: Vec<u8>) {
        self.records.borrow_mut().insert(slot, record);
    }
}

impl Storage for Flash {
    fn store(&mut self, slot: Slot, record: &[u8]) -> Result<(), StorageError> {
        let number = self.stores.get();
        self.stores.set(number + 1);
        let fault = self.fault.get().filter(|fault| number >= fault.at);
        if fault.is_none_or(|fault| fault.written && number == fault.at) {
            self.put(slot, record.to_vec());
        }
        fault.map_or(Ok(()), |_| Err(StorageError))
    }

    fn load(&mut self, slot: Slot, record: &mut [u8]) -> Result<usize, StorageError> {
        let bytes = self.record(slot);
        record[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

#[derive(Clone, Default)]
pub(crate) struct HandClock(Rc<Cell<u64>>);

impl HandClock {
    pub(crate) fn set(&self, now_ms: u64) {
        self.0.set(now_ms);
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.0.set(self.0.get() + ms);
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.get()
    }
}

#[derive(Clone, Default)]
pub(crate) struct Counter(Rc<Cell<u64>>);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in bytes.chunks_mut(8) {
            self.0.set(self.0.get() + 1);
            let word = self.0.get().wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

/// A frame the pile sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent(pub(crate) Vec<u8>);

impl Sent {
    pub(crate) fn frame_type(&self) -> FrameType {
        FrameType::from_u8(frame::parse(&self.0, u16::MAX).unwrap().unwrap().frame_type).unwrap()
    }

    pub(crate) fn read<'a, M: Body<'a>>(&'a self) -> M {
        assert_eq!(self.frame_type(), M::TYPE);
        M::decode(frame::parse(&self.0, u16::MAX).unwrap().unwrap().payload).unwrap()
    }
}

pub(crate) struct Pile {
    pub(crate) session: Session<'static, Flash, HandClock, Counter>,
    pub(crate) flash: Flash,
    pub(crate) clock: HandClock,
    pub(crate) entropy: Counter,
    provisioning: Provisioning,
    settings: Settings,
    /// Of the key with which it co-signs roots.
    bls_secret: Option<[u8; 32]>,
}

pub(crate) fn device_key() -> SigningKey {
    SigningKey::from_bytes(&[0x11; 32]).unwrap()
}

impl Pile {
    pub(crate) fn new(gateway: &Gateway) -> Self {
        Self::with_settings(gateway, Settings { checkpoint_every_records: 4, ..Settings::default() })
    }

    pub(crate) fn with_settings(gateway: &Gateway, settings: Settings) -> Self {
        let provisioning = Provisioning {
            device_id: DEVICE_ID,
            chain_id: gateway.domain.chain_id,
            verifier: gateway.domain.verifying_contract,
            policy_registry: gateway.policy_domain.verifying_contract,
            policy_signer: gateway.governance.address(),
            circuit_version_min: 0,
        };
        let (flash, clock) = (Flash::default(), HandClock::default());
        Self::start(provisioning, settings, flash, clock, Counter::default(), None)
    }

    /// One that co-signs roots.
    #[cfg(feature = "bls")]
    pub(crate) fn co_signing(gateway: &Gateway, bls_secret: [u8; 32]) -> Self {
        let Self { flash, clock, entropy, provisioning, settings, .. } = Self::new(gateway);
        Self::start(provisioning, settings, flash, clock, entropy, Some(bls_secret))
    }

    fn start(
        provisioning: Provisioning,
        settings: Settings,
        flash: Flash,
        clock: HandClock,
        entropy: Counter,
        bls_secret: Option<[u8; 32]>,
    ) -> Self {
        let workspace = Box::leak(Box::new(Workspace::new()));
        let session = Session::new(
            provisioning,
            settings,
            device_key(),
            flash.clone(),
            clock.clone(),
            entropy.clone(),
            workspace,
        )
        .unwrap();
        #[cfg(feature = "bls")]
        let session = match bls_secret {
            Some(secret) => session.with_bls_key(cip22_device_sdk::bls::BlsKey::from_bytes(&secret).unwrap()),
            None => session,
        };
        Self { session, flash, clock, entropy, provisioning, settings, bls_secret }
    }

    /// Power goes and comes back: only the flash stays.
    pub(crate) fn restart(self) -> Self {
        self.flash.fail(None);
        self.clock.set(0);
        Self::start(self.provisioning, self.settings, self.flash, self.clock, self.entropy, self.bls_secret)
    }

    pub(crate) fn give(&mut self, frame: &[u8]) {
        assert_eq!(self.session.handle_input(frame), frame.len());
    }

    pub(crate) fn outputs(&mut self) -> Vec<Sent> {
        let mut out = [0; FRAME_BYTES_MAX + 4_096];
        std::iter::from_fn(|| self.session.poll_output(&mut out).map(|len| Sent(out[..len].to_vec())))
            .collect()
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// The one frame that is ready.
    pub(crate) fn output(&mut self) -> Sent {
        let mut outputs = self.outputs();
        assert_eq!(outputs.len(), 1, "{:?}", outputs.iter().map(Sent::frame_type).collect::<Vec<_>>());
        outputs.remove(0)
    }

    /// Connects to `gateway` up to HELLO_ACK, and drops the events and frames so far.
    pub(crate) fn connect(&mut self, gateway: &mut Gateway) {
        self.session.connected(gateway.key.address());
        assert_eq!(self.output().frame_type(), FrameType::Hello);
        self.give(&gateway.hello_ack());
        self.events();
    }

    /// Connects, stores policy 1 and opens `epoch`; POLICY_ACK is acknowledged.
    pub(crate) fn ready(&mut self, gateway: &mut Gateway, epoch: u32) {
        self.connect(gateway);
        for chunk in gateway.policy_frames(1, 0) {
            self.give(&chunk);
        }
        self.give(&gateway.epoch(epoch));
        self.answer(gateway);
        self.events();
    }

    /// Ready, charging with a credit of 1,000 Wh and 60 minutes; returns the sid.
    pub(crate) fn charging(&mut self, gateway: &mut Gateway) -> [u8; 16] {
        self.ready(gateway, 10);
        self.session.authorize().unwrap();
        self.answer(gateway);
        self.events();
        self.session.charge().unwrap().sid
    }

    /// Lets the gateway answer until nothing is left to send.
    pub(crate) fn answer(&mut self, gateway: &mut Gateway) {
        loop {
            let outputs = self.outputs();
            if outputs.is_empty() {
                return;
            }
            for sent in outputs {
                for reply in gateway.reply(&sent) {
                    self.give(&reply);
                }
            }
        }
    }
}

/// The NACK the pile answers `frame` with: code and field.
pub(crate) fn refusal(pile: &mut Pile, frame: &[u8]) -> (u16, Option<u8>) {
    pile.outputs();
    pile.give(frame);
    let outputs = pile.outputs();
    let nack = outputs.iter().find(|sent| sent.frame_type() == FrameType::Nack).expect("a refusal");
    let nack: cip22_device_sdk::wire::message::Nack = nack.read();
    (nack.code, nack.field)
}
