use alloy::sol_types::SolCall;
use blst::BLST_ERROR;
use blst::min_sig::{AggregatePublicKey, Signature};
use cip22_wire::{Hash, ROOT_DST};

use super::*;
use crate::bls::tests::{secret, sign};
use crate::journal::record::LeafRecord;
use crate::pipeline::batch::plan;
use crate::pipeline::batch_tree;
use crate::pipeline::round::fixtures::{EPOCH, moment, settings};
use crate::pipeline::round::{Effect, Event};
use crate::state::fixtures::{apply, granted, opened, state_of};

const DIGEST: Hash = [7; 32];

/// Devices 1 to `devices` have one statement each; those up to `under` are under the root.
fn rooted(devices: u8, under: u8) -> (State, RootRecord) {
    let mut state = state_of([opened(EPOCH, 9)]);
    (1..=devices).for_each(|device| apply(&mut state, granted(device, EPOCH, 1)));
    let leaves =
        (1..=under).map(|device| LeafRecord { index: device, device_id: [device; 32], n: 1, head: [1; 32] });
    let root = batch_tree::root_record(&state.epochs[&EPOCH], vec![(1, leaves.collect())]);
    apply(&mut state, [Record::RootCut(root.clone())]);
    (state, root)
}

/// A round in which these signed.
fn signed_by(root: &RootRecord, signers: &[u8]) -> Round {
    let seats = root.groups[0].leaves.iter().map(|leaf| (1, leaf.index));
    let mut round = Round::new(seats, 0);
    for device in signers {
        let seat = (1, *device);
        let effects = round.step(Event::Signed(seat, sign(*device, &DIGEST)));
        assert!(matches!(effects[0], Effect::Check(_)));
        round.step(Event::Checked(vec![(seat, true)]));
    }
    round
}

fn closed(
    state: &State,
    root: &RootRecord,
    signers: &[u8],
    revoked: &[u8],
    rule: LaneRule,
    may_cut: bool,
) -> (Vec<Record>, Lane) {
    let ending = Ending {
        root,
        round: &signed_by(root, signers),
        revoked: &revoked.iter().map(|device| [*device; 32]).collect(),
        keys: &[(1, root.groups[0].leaves.len())].into(),
        latest_block: 1_000,
        may_cut,
    };
    close(state, &settings(rule), &ending)
}

fn batch_of(records: &[Record]) -> BatchRecord {
    let [Record::RootClosed { .. }, Record::BatchCut(batch)] = records else { panic!("{records:?}") };
    batch.clone()
}

fn verifies(signature: &[u8], signers: &[u8]) -> bool {
    let keys: Vec<_> = signers.iter().map(|device| secret(*device).sk_to_pk()).collect();
    let sum = AggregatePublicKey::aggregate(&keys.iter().collect::<Vec<_>>(), true).unwrap();
    let signature = Signature::deserialize(signature).unwrap();
    signature.verify(true, &DIGEST, ROOT_DST, &[], &sum.to_public_key(), true) == BLST_ERROR::BLST_SUCCESS
}

#[test]
fn the_batch_has_the_root_of_those_who_signed_and_the_records_of_all_others() {
    let (state, root) = rooted(5, 4);
    let (records, lane) = closed(&state, &root, &[1, 3, 4], &[], LaneRule::Bls, true);
    let batch = batch_of(&records);
    assert_eq!((lane, batch.kind, batch.batch, batch.epoch), (Lane::Root, BatchKind::RecordRoot, 1, EPOCH));
    let call = contracts::abi::recordRootCall::abi_decode(&batch.calldata).unwrap();
    assert!(verifies(&call.signature, &[1, 3, 4]) && !verifies(&call.signature, &[1, 3]));
    assert_eq!(call.batches[4..36], root.groups[0].group_root);
    assert_eq!((call.batches[63], call.batches[64]), (0b0001_1010, 2), "two stragglers");
    assert_eq!((call.batches[65], call.batches[65 + 98]), (2, 5));
    let mut members: Vec<u8> = batch.members.iter().map(|(device, _)| device[0]).collect();
    members.sort_unstable();
    assert_eq!(members, [1, 2, 3, 4, 5]);
}

#[test]
fn a_signer_revoked_in_between_is_taken_out_of_the_sum() {
    let (state, root) = rooted(4, 4);
    let (records, _) = closed(&state, &root, &[1, 2, 3], &[2], LaneRule::Bls, true);
    let batch = batch_of(&records);
    let call = contracts::abi::recordRootCall::abi_decode(&batch.calldata).unwrap();
    assert!(verifies(&call.signature, &[1, 3]));
    assert_eq!(call.batches[63], 0b0000_1010);
    let Record::RootClosed { signers, .. } = &records[0] else { panic!() };
    assert_eq!(signers[0].1.iter().collect::<Vec<u8>>(), [1, 3]);
}

#[test]
fn too_few_signers_go_by_lane_1_at_once() {
    let (mut state, root) = rooted(30, 30);
    let many: Vec<u8> = (1..=25).collect();
    assert_eq!(closed(&state, &root, &many, &[], LaneRule::Auto, true).1, Lane::Root);
    let (records, lane) = closed(&state, &root, &many[..5], &[], LaneRule::Auto, true);
    assert_eq!((lane, records.len()), (Lane::Ecdsa, 1));
    apply(&mut state, records);
    let batches = plan(&state, &moment(), &settings(LaneRule::Auto), &|_| true);
    assert_eq!(batches.iter().map(|batch| batch.members.len()).collect::<Vec<_>>(), [30]);
}

#[test]
fn nobody_signed_or_all_were_revoked_is_lane_1() {
    let (state, root) = rooted(3, 3);
    assert_eq!(closed(&state, &root, &[], &[], LaneRule::Bls, true).1, Lane::Ecdsa);
    assert_eq!(closed(&state, &root, &[1, 2], &[1, 2], LaneRule::Bls, true).1, Lane::Ecdsa);
    assert_eq!(closed(&state, &root, &[1, 2], &[], LaneRule::Bls, false).1, Lane::Ecdsa, "not ours to cut");
}

#[test]
fn what_a_reverted_root_left_goes_by_lane_1_and_no_root_is_tried_again() {
    let (mut state, root) = rooted(3, 3);
    let (records, _) = closed(&state, &root, &[1, 2, 3], &[], LaneRule::Bls, true);
    apply(&mut state, records);
    assert!(plan(&state, &moment(), &settings(LaneRule::Bls), &|_| true).is_empty(), "under way");
    apply(&mut state, [Record::BatchDropped { batch: 1, retry_block: 900 }]);
    let batches = plan(&state, &moment(), &settings(LaneRule::Bls), &|_| true);
    assert_eq!((batches.len(), batches[0].kind, batches[0].members.len()), (1, BatchKind::Record, 3));
}

#[test]
fn a_statement_made_after_the_cut_is_not_claimed_for_the_root() {
    let (mut state, root) = rooted(2, 2);
    apply(&mut state, granted(1, EPOCH, 2));
    let (records, _) = closed(&state, &root, &[1, 2], &[], LaneRule::Bls, true);
    assert_eq!(batch_of(&records).members, [([1; 32], 1), ([2; 32], 1)]);
}

#[test]
fn stragglers_beyond_the_limit_are_left_to_lane_1() {
    let (mut state, root) = rooted(6, 2);
    let round = signed_by(&root, &[1, 2]);
    let mut settings = settings(LaneRule::Bls);
    settings.records_max = 3;
    let (keys, revoked) = ([(1, 2)].into(), HashSet::new());
    let ending = Ending {
        root: &root,
        round: &round,
        revoked: &revoked,
        keys: &keys,
        latest_block: 1_000,
        may_cut: true,
    };
    let (records, _) = close(&state, &settings, &ending);
    assert_eq!(batch_of(&records).members.len(), 5);
    apply(&mut state, records);
    let batches = plan(&state, &moment(), &settings, &|_| true);
    assert_eq!(batches[0].members, [([6; 32], 1)]);
}
