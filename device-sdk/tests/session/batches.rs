//! Protocol §5.5: which roots a pile co-signs.

use std::collections::HashMap;

use blst::{BLST_ERROR, min_sig};
use cip22_device_sdk::{
    Error, Event, Slot,
    bls::BlsKey,
    wire::{
        FrameType, Level, NackCode, POSSESSION_DST, ROOT_DST, batch_tree,
        digest::{Domain, bls_possession_hash, root_hash},
        message::{Ack, BatchRoot, BatchSig, LeafReq, Nack},
    },
};

use crate::{
    board::{DEVICE_ID, Fault, Pile, Sent, refusal},
    gateway::{GROUP, Gateway, INDEX, bytes, challenge_of, nack},
};

const SECRET: [u8; 32] = [0x5A; 32];

/// A pile that signed its POLICY_ACK in epoch 10, which is closed.
fn closed() -> (Gateway, Pile) {
    let mut gateway = Gateway::new();
    let mut pile = Pile::co_signing(&gateway, SECRET);
    pile.ready(&mut gateway, 10);
    pile.give(&gateway.epoch(11));
    pile.answer(&mut gateway);
    pile.events();
    (gateway, pile)
}

/// The newest head of `epoch`, as the gateway holds it.
fn newest(gateway: &Gateway, epoch: u32) -> (u8, [u8; 32]) {
    let of_epoch = gateway.heads.iter().filter(|((at, _), _)| *at == epoch);
    of_epoch.map(|((_, n), head)| (*n, *head)).max().expect("statements of the epoch")
}

/// A path of `nodes` nodes; every `salt` leads to another root.
fn path(salt: u8, nodes: usize) -> Vec<u8> {
    (0..nodes).flat_map(|level| [salt ^ level as u8; 32]).collect()
}

/// BATCH_ROOT of a tree that holds the pile's newest head of `epoch`, changed by `change` after the root was made.
fn offer_with(
    gateway: &Gateway,
    epoch: u32,
    salt: u8,
    change: impl for<'m> FnOnce(&mut BatchRoot<'m>),
) -> Vec<u8> {
    let (n, head) = newest(gateway, epoch);
    let path = path(salt, 9);
    let leaf = 1 << 8 | u16::from(INDEX);
    let root = batch_tree::follow(GROUP, leaf, n, &head, &path).unwrap().root;
    let mut message = BatchRoot { group: GROUP, epoch, root, leaf, path: &path, n, head };
    change(&mut message);
    bytes(&message)
}

fn offer(gateway: &Gateway, epoch: u32, salt: u8) -> Vec<u8> {
    offer_with(gateway, epoch, salt, |_| ())
}

/// Whether BATCH_SIG signs its root in the epoch's challenge and policy.
fn verifies(gateway: &Gateway, message: &BatchSig) -> bool {
    let hash = root_hash(message.epoch, &challenge_of(message.epoch), &gateway.policy_hash(), &message.root);
    let key = min_sig::SecretKey::from_bytes(&SECRET).unwrap().sk_to_pk();
    let signature = min_sig::Signature::from_bytes(&message.signature).unwrap();
    let verdict = signature.verify(true, &gateway.domain.digest(&hash), ROOT_DST, &[], &key, true);
    verdict == BLST_ERROR::BLST_SUCCESS
}

fn batch_ack(epoch: u32) -> Vec<u8> {
    let (frame_type, level) = (FrameType::BatchSig.code(), Level::Received.code());
    bytes(&Ack { frame_type, level, sid: None, epoch: Some(epoch), n: None })
}

#[test]
fn a_root_that_holds_the_piles_last_position_is_signed_and_its_path_is_told() {
    let (gateway, mut pile) = closed();
    pile.give(&offer(&gateway, 10, 1));
    let (n, head) = newest(&gateway, 10);
    let answer: BatchSig = pile.output().read();
    assert_eq!((answer.group, answer.epoch), (GROUP, 10));
    assert!(verifies(&gateway, &answer));
    let root = answer.root;
    let leaf = 1 << 8 | u16::from(INDEX);
    let signed = Event::RootSigned { epoch: 10, group: GROUP, index: INDEX, leaf, n, head, root };
    assert!(pile.session.leaf_path().is_empty(), "not before its event");
    assert_eq!(pile.session.poll_event(), Some(signed));
    assert_eq!(pile.session.leaf_path(), path(1, 9));
    assert_eq!(pile.session.poll_event(), None);
    assert!(pile.session.leaf_path().is_empty());

    assert_eq!(pile.session.unanswered(), 1);
    pile.give(&batch_ack(10));
    assert_eq!(pile.session.unanswered(), 0);
}

#[test]
fn the_same_root_gets_the_same_signature_and_a_second_one_none_across_restarts_too() {
    let (mut gateway, mut pile) = closed();
    pile.give(&offer(&gateway, 10, 1));
    let first = pile.output();
    pile.events();
    let second = offer(&gateway, 10, 2);
    assert_eq!(refusal(&mut pile, &second), (NackCode::ChainConflict.code(), Some(3)));
    pile.give(&offer(&gateway, 10, 1));
    assert_eq!(pile.output(), first, "while the first answer is unanswered it is sent again");
    assert_eq!(pile.session.unanswered(), 1);

    let mut pile = pile.restart();
    pile.connect(&mut gateway);
    assert_eq!(refusal(&mut pile, &second), (NackCode::ChainConflict.code(), Some(3)));
    pile.give(&offer(&gateway, 10, 1));
    assert_eq!(pile.output(), first);
}

#[test]
fn a_root_over_another_place_or_position_is_refused() {
    let (gateway, mut pile) = closed();
    let (value, conflict) = (NackCode::FieldValue.code(), NackCode::ChainConflict.code());
    let mut check = |frame: Vec<u8>, expected: (u16, Option<u8>), what: &str| {
        assert_eq!(refusal(&mut pile, &frame), expected, "{what}");
    };
    check(offer_with(&gateway, 10, 1, |root| root.group += 1), (value, Some(1)), "group");
    check(offer_with(&gateway, 10, 1, |root| root.leaf ^= 1), (value, Some(4)), "index");
    check(offer_with(&gateway, 10, 1, |root| root.n += 1), (conflict, Some(6)), "n above");
    check(offer_with(&gateway, 10, 1, |root| root.n -= 1), (conflict, Some(6)), "n below");
    check(offer_with(&gateway, 10, 1, |root| root.head[0] ^= 1), (conflict, Some(7)), "head");
    check(offer_with(&gateway, 10, 1, |root| root.root[0] ^= 1), (value, Some(5)), "root");
    check(offer_with(&gateway, 10, 1, |root| root.leaf ^= 1 << 8), (value, Some(5)), "place");
    check(
        offer_with(&gateway, 10, 1, |root| root.leaf |= 1 << 15),
        (value, Some(5)),
        "place beyond the tree",
    );
    check(offer_with(&gateway, 10, 1, |root| root.path = &root.path[32..]), (value, Some(5)), "path");
    check(offer_with(&gateway, 10, 1, |root| root.path = &root.path[..224]), (value, Some(5)), "short path");
    pile.give(&offer(&gateway, 10, 1));
    assert!(verifies(&gateway, &pile.output().read()), "what was refused binds nothing");
}

#[test]
fn a_root_of_an_epoch_that_is_open_has_to_wait_and_one_of_a_forgotten_epoch_is_refused() {
    let (mut gateway, mut pile) = closed();
    // In epoch 11 nothing was signed yet; that the epoch is open comes first.
    for epoch in [11, 12] {
        pile.give(&offer_with(&gateway, 10, 1, |root| root.epoch = epoch));
        let answer: Nack = pile.output().read();
        assert_eq!((answer.code, answer.retry_ms), (NackCode::NotReady.code(), Some(1_000)));
        pile.events();
    }
    pile.give(&gateway.epoch(12));
    for epoch in [9, 11] {
        let frame = offer_with(&gateway, 10, 1, |root| root.epoch = epoch);
        assert_eq!(refusal(&mut pile, &frame), (NackCode::StaleEpoch.code(), None), "{epoch}");
    }
}

#[test]
fn the_last_four_epochs_with_statements_are_kept() {
    let (mut gateway, mut pile) = closed();
    for epoch in 11..=14 {
        pile.session.authorize().unwrap();
        let request = pile.outputs().remove(0);
        let challenge = gateway.challenge(&request.read());
        pile.give(&challenge);
        gateway.accept_auth(&pile.output().read());
        pile.give(&nack(FrameType::AuthResp, NackCode::Overloaded, None, None));
        pile.give(&gateway.epoch(epoch + 1));
        pile.events();
    }
    let oldest = offer(&gateway, 10, 1);
    assert_eq!(refusal(&mut pile, &oldest), (NackCode::StaleEpoch.code(), None));
    for epoch in 11..=14 {
        pile.give(&offer(&gateway, epoch, 1));
        assert!(verifies(&gateway, &pile.output().read()), "{epoch}");
        pile.give(&batch_ack(epoch));
        pile.events();
    }
}

#[test]
fn a_pile_without_a_key_does_not_serve_roots() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.give(&gateway.epoch(11));
    pile.answer(&mut gateway);
    let root = offer(&gateway, 10, 1);
    assert_eq!(refusal(&mut pile, &root), (NackCode::Unsupported.code(), None));
    assert!(pile.flash.record(Slot::Closed).is_empty(), "and wears no flash");
}

#[test]
fn an_unanswered_signature_is_sent_again_after_a_reconnect() {
    let (mut gateway, mut pile) = closed();
    pile.give(&offer(&gateway, 10, 1));
    let first = pile.output();
    pile.session.disconnected();
    pile.connect(&mut gateway);
    assert_eq!(pile.output(), first);
    pile.give(&batch_ack(10));
    pile.session.disconnected();
    pile.connect(&mut gateway);
    assert_eq!(pile.outputs(), []);
}

#[test]
fn a_pile_asks_again_for_the_leaf_of_a_root_it_signed() {
    let (mut gateway, mut pile) = closed();
    assert_eq!(pile.session.request_leaf(10), Err(Error::NoRoot), "not signed yet");
    pile.give(&offer(&gateway, 10, 1));
    pile.outputs();
    pile.give(&batch_ack(10));
    let mut pile = pile.restart();
    pile.connect(&mut gateway);
    pile.session.request_leaf(10).unwrap();
    pile.session.request_leaf(10).unwrap();
    let question = pile.output();
    assert_eq!(question.read::<LeafReq>(), LeafReq { group: GROUP, epoch: 10 });
    pile.session.disconnected();
    pile.connect(&mut gateway);
    assert_eq!(pile.output(), question);

    pile.give(&offer(&gateway, 10, 1));
    assert!(matches!(pile.session.poll_event(), Some(Event::RootSigned { epoch: 10, .. })));
    assert_eq!(pile.session.leaf_path(), path(1, 9));
    assert!(verifies(&gateway, &pile.output().read()));
    pile.give(&batch_ack(10));
    assert_eq!(pile.session.unanswered(), 0, "the question is answered");

    pile.session.request_leaf(10).unwrap();
    pile.outputs();
    pile.give(&nack(FrameType::LeafReq, NackCode::StaleEpoch, None, None));
    assert_eq!(pile.session.unanswered(), 0, "or refused");
}

#[test]
fn a_path_stays_until_the_application_has_looked_at_it() {
    let (mut gateway, mut pile) = closed();
    pile.session.authorize().unwrap();
    let request = pile.outputs().remove(0);
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    gateway.accept_auth(&pile.output().read());
    pile.give(&gateway.epoch(12));
    pile.events();
    let both: Vec<u8> = [offer(&gateway, 10, 1), offer(&gateway, 11, 2)].concat();
    let taken = pile.session.handle_input(&both);
    let mut seen = Vec::new();
    while let Some(event) = pile.session.poll_event() {
        if let Event::RootSigned { epoch, .. } = event {
            seen.push((epoch, pile.session.leaf_path().to_vec()));
        }
    }
    assert_eq!(taken, both.len(), "the second waits in the buffer");
    assert_eq!(seen, [(10, path(1, 9)), (11, path(2, 9))]);
}

#[test]
fn a_root_that_cannot_be_stored_is_not_signed_and_an_epoch_that_cannot_be_kept_is_not_closed() {
    let (mut gateway, mut pile) = closed();
    pile.flash.fail(Some(Fault { at: pile.flash.stores(), written: false }));
    let root = offer(&gateway, 10, 1);
    assert_eq!(refusal(&mut pile, &root), (NackCode::Storage.code(), None));
    assert_eq!(pile.session.unanswered(), 0);
    pile.flash.fail(None);
    pile.clock.pass(1_000);
    pile.give(&offer(&gateway, 10, 2));
    assert!(verifies(&gateway, &pile.output().read()), "nothing was promised to the first");
    pile.events();

    pile.session.authorize().unwrap();
    let request = pile.outputs().remove(0);
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    gateway.accept_auth(&pile.output().read());
    pile.flash.fail(Some(Fault { at: pile.flash.stores(), written: false }));
    let epoch = gateway.epoch(12);
    assert_eq!(refusal(&mut pile, &epoch), (NackCode::Storage.code(), None));
    assert_eq!(pile.session.epoch(), 11);
}

#[test]
fn a_cut_between_the_closed_epoch_and_the_new_one_loses_neither() {
    for (store, written) in [(0, false), (0, true), (1, false), (1, true)] {
        let mut gateway = Gateway::new();
        let mut pile = Pile::co_signing(&gateway, SECRET);
        pile.ready(&mut gateway, 10);
        pile.flash.fail(Some(Fault { at: pile.flash.stores() + store, written }));
        pile.give(&gateway.epoch(11));
        let mut pile = pile.restart();
        let opened = (store, written) == (1, true);
        assert_eq!(pile.session.epoch(), if opened { 11 } else { 10 });
        pile.connect(&mut gateway);
        if !opened {
            // The epoch goes on, so the position that was kept first is outdated.
            pile.give(&gateway.epoch(10));
            pile.session.authorize().unwrap();
            pile.answer(&mut gateway);
        }
        pile.give(&gateway.epoch(11));
        pile.answer(&mut gateway);
        pile.events();
        let (n, _) = newest(&gateway, 10);
        assert_eq!(n > 1, !opened, "more was signed where the epoch went on");
        pile.give(&offer(&gateway, 10, 1));
        assert!(verifies(&gateway, &pile.output().read()), "store {store}, written {written}");
    }
}

/// The epochs' roots that a pile signed, of those it was offered.
#[derive(Default)]
struct Roots(HashMap<u32, [u8; 32]>);

impl Roots {
    /// Takes every BATCH_SIG; panics at a second root of one epoch, and at one that misses a statement of the pile.
    fn take(&mut self, gateway: &Gateway, outputs: &[Sent]) {
        for sent in outputs.iter().filter(|sent| sent.frame_type() == FrameType::BatchSig) {
            let message: BatchSig = sent.read();
            assert!(verifies(gateway, &message));
            let (n, head) = newest(gateway, message.epoch);
            let leaf = 1 << 8 | u16::from(INDEX);
            let covers = (0..=255).any(|salt| {
                batch_tree::follow(GROUP, leaf, n, &head, &path(salt, 9))
                    .is_some_and(|roots| roots.root == message.root)
            });
            assert!(covers, "a root over an older position of epoch {}", message.epoch);
            let before = self.0.insert(message.epoch, message.root);
            assert!(before.is_none_or(|before| before == message.root), "two roots of one epoch");
        }
    }
}

/// From wherever the pile stands through epochs 10 and 11, each closed and offered a root. `false`: a store failed on the way.
fn run(pile: &mut Pile, gateway: &mut Gateway, roots: &mut Roots, salt: u8) -> bool {
    let failed =
        |pile: &mut Pile| pile.events().iter().any(|event| matches!(event, Event::StorageFailed { .. }));
    pile.connect(gateway);
    if pile.session.policy_version() == 0 {
        for chunk in gateway.policy_frames(1, 0) {
            pile.give(&chunk);
        }
    }
    for epoch in pile.session.epoch().max(10)..=12 {
        pile.give(&gateway.epoch(epoch));
        pile.answer(gateway);
        if failed(pile) {
            return false;
        }
        // A cut may have left an epoch without a statement.
        let stated = |closed: &u32| gateway.heads.keys().any(|(at, _)| at == closed);
        for closed in (10..epoch).filter(stated).collect::<Vec<_>>() {
            // The root of an epoch is another one whenever it is asked anew, as from a gateway that forgot.
            for salt in [salt, salt ^ 0x80] {
                pile.give(&offer(gateway, closed, salt));
                let outputs = pile.outputs();
                roots.take(gateway, &outputs);
                if outputs.iter().any(|sent| sent.frame_type() == FrameType::BatchSig) {
                    pile.give(&batch_ack(closed));
                }
                if failed(pile) {
                    return false;
                }
            }
        }
        if epoch < 12 && pile.session.authorize().is_ok() {
            pile.answer(gateway);
            let charging = pile.session.charge().is_some();
            if charging {
                let end = cip22_device_sdk::wire::EndCause::Local;
                let _ = pile.session.end_charge(1, 1, end, None);
                pile.answer(gateway);
            }
            if failed(pile) {
                return false;
            }
        }
    }
    true
}

#[test]
fn no_cut_makes_a_pile_sign_two_roots_of_one_epoch_or_one_that_misses_a_statement() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::co_signing(&gateway, SECRET);
    let mut roots = Roots::default();
    assert!(run(&mut pile, &mut gateway, &mut roots, 1));
    assert_eq!(roots.0.len(), 2);
    let stores = pile.flash.stores();
    assert!(stores > 12, "epochs, closed epochs, statements, charges, roots: {stores}");

    for at in 0..stores {
        for written in [false, true] {
            let (mut gateway, mut roots) = (Gateway::new(), Roots::default());
            let mut pile = Pile::co_signing(&gateway, SECRET);
            pile.flash.fail(Some(Fault { at, written }));
            assert!(!run(&mut pile, &mut gateway, &mut roots, 1), "store {at} was not met");
            let mut pile = pile.restart();
            if let Some(charge) = pile.session.charge().filter(|charge| !charge.ended) {
                let cause = cip22_device_sdk::wire::EndCause::Reboot;
                pile.session.end_charge(charge.wh, charge.minutes, cause, None).unwrap();
            }
            run(&mut pile, &mut gateway, &mut roots, 2);
            let mut pile = pile.restart();
            assert!(run(&mut pile, &mut gateway, &mut roots, 3), "no recovery from store {at}, {written}");
        }
    }
}

#[test]
fn a_key_is_given_in_the_chains_form_and_proves_its_possession_to_one_registry_for_one_device() {
    let key = BlsKey::from_bytes(&SECRET).unwrap();
    let public = min_sig::SecretKey::from_bytes(&SECRET).unwrap().sk_to_pk();
    let zcash = public.serialize();
    let swapped: Vec<u8> =
        [48..96, 0..48, 144..192, 96..144].into_iter().flat_map(|range| zcash[range].to_vec()).collect();
    assert_eq!(&key.public_key()[..], swapped);

    let registry = Domain { chain_id: 1_235, verifying_contract: [0xA3; 20] };
    let proof = key.prove_possession(&registry, &DEVICE_ID);
    let proof = min_sig::Signature::deserialize(&proof).unwrap();
    let holds = |registry: &Domain, device_id: &[u8; 32], tag: &[u8]| {
        let digest = registry.digest(&bls_possession_hash(device_id, &key.public_key()));
        proof.verify(true, &digest, tag, &[], &public, true) == BLST_ERROR::BLST_SUCCESS
    };
    assert!(holds(&registry, &DEVICE_ID, POSSESSION_DST));
    assert!(!holds(&registry, &[1; 32], POSSESSION_DST), "another device");
    assert!(!holds(&Domain { chain_id: 1, ..registry }, &DEVICE_ID, POSSESSION_DST), "another chain");
    assert!(!holds(&registry, &DEVICE_ID, ROOT_DST), "no root's signature is a proof");
}

#[test]
fn a_bls_key_is_a_scalar_below_the_order_and_does_not_show_in_debug() {
    assert_eq!(BlsKey::from_bytes(&[0; 32]).err(), Some(Error::InvalidKey));
    let order = hex::decode("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001").unwrap();
    let mut scalar: [u8; 32] = order.try_into().unwrap();
    assert_eq!(BlsKey::from_bytes(&scalar).err(), Some(Error::InvalidKey));
    scalar[31] = 0;
    let key = BlsKey::from_bytes(&scalar).unwrap();
    assert_eq!(*key.to_bytes(), scalar);
    assert_eq!(format!("{key:?}"), "BlsKey(redacted)");
    let mut entropy = crate::board::Counter::default();
    let (first, second) = (BlsKey::random(&mut entropy).unwrap(), BlsKey::random(&mut entropy).unwrap());
    assert_ne!(*first.to_bytes(), *second.to_bytes());
}
