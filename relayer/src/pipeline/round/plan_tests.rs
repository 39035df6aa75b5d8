use super::*;
use crate::config::LaneRule;
use crate::journal::Record;
use crate::pipeline::batch::plan;
use crate::pipeline::round::fixtures::{EPOCH, directory, moment, settings};
use crate::state::fixtures::{apply, granted, head_safe, opened, state_of};

/// Devices 1 to `devices` have one statement each.
fn stated(devices: u8) -> State {
    let mut state = state_of([opened(EPOCH, 9)]);
    (1..=devices).for_each(|device| apply(&mut state, granted(device, EPOCH, 1)));
    state
}

/// The roots planned with these devices connected and quarantined, under a rule.
fn planned(
    state: &State,
    directory: &Directory,
    rule: LaneRule,
    connected: impl Fn(u8) -> bool,
    quarantined: impl Fn(u8) -> bool,
) -> Vec<RootRecord> {
    let piles = Piles {
        directory,
        is_quarantined: &|device, _| quarantined(device[0]),
        is_connected: &|device| connected(device[0]),
    };
    plan_roots(state, &moment(), &settings(rule), &piles, &|_| true)
}

fn indices(root: &RootRecord) -> Vec<u8> {
    root.groups.iter().flat_map(|one| &one.leaves).map(|leaf| leaf.index).collect()
}

#[test]
fn a_root_has_the_heads_of_those_with_a_key_that_are_not_left_out() {
    let (state, mut directory) = (stated(6), directory(6, 5));
    directory.devices.get_mut(&[2; 32]).unwrap().revoked = true;
    let roots = planned(&state, &directory, LaneRule::Bls, |device| device != 4, |device| device == 3);
    assert_eq!(roots.len(), 1);
    assert_eq!(indices(&roots[0]), [1, 4, 5], "4 may connect while the round lasts");
    assert_eq!((roots[0].epoch, roots[0].challenge), (EPOCH, [9; 32]));
}

#[test]
fn a_root_is_cut_only_where_it_is_expected_to_pay() {
    let (state, directory) = (stated(30), directory(30, 30));
    let count = |rule, connected: u8| {
        planned(&state, &directory, rule, |device| device <= connected, |_| false).len()
    };
    assert_eq!((count(LaneRule::Auto, 30), count(LaneRule::Auto, 10)), (1, 0));
    assert_eq!((count(LaneRule::Bls, 1), count(LaneRule::Bls, 0), count(LaneRule::Ecdsa, 30)), (1, 0, 0));
}

#[test]
fn a_key_that_does_not_count_in_the_epoch_signs_nothing_in_it() {
    let (mut state, directory) = (state_of([opened(2, 9)]), directory(1, 1));
    apply(&mut state, granted(1, 2, 1));
    assert!(planned(&state, &directory, LaneRule::Bls, |_| true, |_| false).is_empty());
}

#[test]
fn a_group_has_one_root_in_an_epoch_and_lane_1_waits_for_its_round() {
    let (mut state, directory) = (stated(3), directory(3, 2));
    let all = |state: &State| planned(state, &directory, LaneRule::Bls, |_| true, |_| false);
    let lane1 = |state: &State| plan(state, &moment(), &settings(LaneRule::Bls), &|_| true).len();
    let root = all(&state).remove(0);
    assert_eq!(lane1(&state), 1);
    apply(&mut state, [Record::RootCut(root.clone())]);
    assert!(all(&state).is_empty());
    assert_eq!(lane1(&state), 0, "all of the group wait, also who has no key");
    apply(&mut state, [Record::RootClosed { epoch: EPOCH, root: root.root, signers: vec![] }]);
    assert!(all(&state).is_empty(), "a pile signs one root in an epoch");
    assert_eq!(lane1(&state), 1);
}

#[test]
fn a_replayed_journal_offers_the_identical_root() {
    let (mut state, directory) = (stated(3), directory(3, 3));
    let root = planned(&state, &directory, LaneRule::Bls, |_| true, |_| false).remove(0);
    apply(&mut state, [Record::RootCut(root.clone())]);
    // What is stated after the cut is not under the root, in this run or the next.
    apply(&mut state, granted(1, EPOCH, 2));
    let open: Vec<RootRecord> = state.open_roots().map(|open| (**open).clone()).collect();
    assert!(open.len() == 1 && open[0] == root);
    assert_eq!(batch_tree::Tree::of(&open[0]).root(), root.root);
}

#[test]
fn what_another_relayer_may_cut_waits_in_either_lane() {
    let (state, directory) = (stated(3), directory(3, 3));
    let piles = Piles { directory: &directory, is_quarantined: &|_, _| false, is_connected: &|_| true };
    let settings = settings(LaneRule::Bls);
    assert!(plan_roots(&state, &moment(), &settings, &piles, &|group| group != 1).is_empty());
    assert!(plan(&state, &moment(), &settings, &|group| group != 1).is_empty());
}

#[test]
fn a_head_that_a_stranger_recorded_too_short_is_under_the_root_all_the_same() {
    let mut state = stated(2);
    apply(&mut state, [head_safe(1, EPOCH, 1, 200)]);
    apply(&mut state, granted(1, EPOCH, 2));
    let roots = planned(&state, &directory(2, 2), LaneRule::Bls, |_| true, |_| false);
    assert_eq!(indices(&roots[0]), [1, 2]);
    assert_eq!(roots[0].groups[0].leaves[0].n, 2);
}
