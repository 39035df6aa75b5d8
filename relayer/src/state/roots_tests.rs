use super::*;
use crate::journal::Record;
use crate::journal::record::BatchKind;
use crate::pipeline::batch_tree;
use crate::state::MessageState;
use crate::state::fixtures::{apply, batch_safe, granted, opened, scanned, state_of, submitted};

const EPOCH: u32 = 5;
const BLOCK: u64 = 210;

/// Devices 1 to 3 stated n = 1 to 2 each, and one root has their heads.
fn rooted() -> (State, RootRecord) {
    let mut state = state_of([opened(EPOCH, 9)]);
    for device in 1..=3 {
        for n in 1..=2 {
            apply(&mut state, granted(device, EPOCH, n));
        }
    }
    let leaves =
        (1..=3).map(|device| LeafRecord { index: device, device_id: [device; 32], n: 2, head: [2; 32] });
    let epoch = state.epochs[&EPOCH];
    let root = batch_tree::root_record(&epoch, vec![(1, leaves.collect())]);
    apply(&mut state, [Record::RootCut(root.clone())]);
    (state, root)
}

fn safe(root: &RootRecord, signers: &[u8], block: u64) -> Record {
    Record::RootSafe {
        group: 1,
        epoch: EPOCH,
        group_root: root.groups[0].group_root,
        signers: signers.iter().copied().collect(),
        transaction: [8; 32],
        block,
    }
}

fn states(state: &State, device: u8) -> Vec<MessageState> {
    state.chains[&(1, device, EPOCH)].statements.values().map(|entry| entry.state).collect()
}

#[test]
fn a_recorded_root_of_ours_makes_each_signers_statements_safe_and_no_others() {
    let (mut state, root) = rooted();
    apply(&mut state, [safe(&root, &[1, 3], BLOCK)]);
    assert_eq!(states(&state, 1), [MessageState::Safe; 2]);
    assert_eq!(states(&state, 2), [MessageState::Granted; 2], "it did not sign");
    assert_eq!((state.counts.auth_safe, state.uncovered.len()), (4, 1));
    let again = state.clone();
    apply(&mut state, [safe(&root, &[1, 3], BLOCK)]);
    assert_eq!(state, again, "an event that comes again changes nothing");
}

#[test]
fn a_root_of_somebody_else_leaves_only_extend() {
    let (mut state, root) = rooted();
    let mut other = root;
    other.groups[0].group_root = [0xee; 32];
    apply(&mut state, [safe(&other, &[1], BLOCK)]);
    assert_eq!(states(&state, 1), [MessageState::Granted; 2]);
    let chain = &state.chains[&(1, 1, EPOCH)];
    assert!(chain.recorded && chain.covered_n == 0);
    assert!(!state.chains[&(1, 2, EPOCH)].recorded);
}

#[test]
fn a_reorganisation_takes_a_recorded_root_back_and_what_is_final_stays() {
    let (mut state, root) = rooted();
    apply(&mut state, [safe(&root, &[1], BLOCK), safe(&root, &[2], BLOCK + 10)]);
    apply(&mut state, [Record::Finalized { block: BLOCK }, Record::Reorganised { from_block: BLOCK - 5 }]);
    assert_eq!(states(&state, 1), [MessageState::Final; 2]);
    assert_eq!(states(&state, 2), [MessageState::Granted; 2]);
    assert!(!state.chains[&(1, 2, EPOCH)].recorded, "its bit is free again");
    apply(&mut state, [safe(&root, &[2], BLOCK + 12)]);
    assert_eq!(states(&state, 2), [MessageState::Safe; 2], "and it comes again");
}

#[test]
fn a_reorganisation_below_the_challenge_ends_the_round() {
    let (mut state, root) = rooted();
    assert_eq!(state.open_roots().count(), 1);
    apply(&mut state, [opened(EPOCH, 10)]);
    assert_eq!((state.open_roots().count(), state.root_of(1, EPOCH)), (0, None));
    apply(&mut state, [safe(&root, &[1], BLOCK)]);
    assert_eq!(states(&state, 1), [MessageState::ReorgedOut; 2]);
}

#[test]
fn a_closed_round_knows_its_signers_and_is_forgotten_with_its_epoch() {
    let (mut state, root) = rooted();
    let signers = vec![(1, [1, 2].into_iter().collect())];
    let closed = Record::RootClosed { epoch: EPOCH, root: root.root, signers };
    apply(&mut state, [closed]);
    let known = state.root_of(1, EPOCH).unwrap();
    assert!(!known.is_open() && known.is_signed_by(1, 2) && !known.is_signed_by(1, 3));
    assert_eq!(known.leaf(1, &[3; 32]).unwrap().index, 3);
    apply(&mut state, submitted(1, BatchKind::RecordRoot, EPOCH, &[(1, 2), (2, 2), (3, 2)]));
    assert_eq!(states(&state, 3), [MessageState::Submitted; 2]);
    apply(&mut state, [safe(&root, &[1, 2], BLOCK), batch_safe(1, BLOCK)]);
    apply(&mut state, scanned(BLOCK));
    let left = &state.chains[&(1, 3, EPOCH)];
    assert!(
        left.in_batch.is_none() && left.recorded && left.tries == 1,
        "left out by a call that was carried out"
    );
    let expired = Record::Expired { oldest_epoch: EPOCH + 1 };
    apply(&mut state, [expired, opened(EPOCH + 1, 1)]);
    for record in state.pruned(EPOCH + 1) {
        state.apply(&record);
    }
    assert!(state.roots.is_empty() && state.chains.is_empty());
}
