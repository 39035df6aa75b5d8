//! The relayer is killed under load, and its journal is damaged: what was acknowledged is there, or it does not start and `relayer journal
//! verify` says why. A backup taken while it ran is put in the place of the damaged file.

use cip22_wire::FrameType;
use cip22_wire::message::{Body, TelemHead};
use system_tests::world::World;

#[tokio::test]
async fn a_damaged_journal_is_refused_and_a_backup_takes_its_place() {
    let world = World::new();
    let journal = world.path().join("journal.redb");
    let backup = world.path().join("backup.redb");
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let mut fingerprints = Vec::new();
    for _ in 0..40 {
        let record = pile.next_record([0; 16]);
        pile.send(&record).await;
        pile.expect(&[FrameType::TelemAck]).await;
        fingerprints.push(record.fp);
    }
    relayer.command(&["journal", "backup", backup.to_str().unwrap()]).unwrap();
    relayer.kill();

    // Killed in the middle of things: everything acknowledged is there.
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    assert_eq!(held(&mut pile).await, 40);
    relayer.kill();
    let whole = std::fs::read(&journal).unwrap();

    // One bit of a record that was acknowledged long ago, and of the newest one.
    // In every copy that the file has of it: pages that were given up are never looked at.
    let flipped = |fingerprint: &[u8; 32]| {
        let mut damaged = whole.clone();
        let found: Vec<usize> =
            (0..whole.len() - 32).filter(|at| whole[*at..*at + 32] == fingerprint[..]).collect();
        assert!(!found.is_empty(), "its fingerprint is stored");
        found.iter().for_each(|at| damaged[*at] ^= 1);
        damaged
    };
    for damaged in [flipped(&fingerprints[4]), flipped(&fingerprints[39])] {
        put(&journal, &damaged);
        let (code, said) = world.launch().fail_to_start();
        assert_eq!(code, Some(1));
        assert!(said.contains(journal.to_str().unwrap()), "{said}");
        let said = world.launch().command(&["journal", "verify"]).unwrap_err();
        assert!(said.contains(journal.to_str().unwrap()), "{said}");
    }

    // The end of the file is gone: it is refused, or nothing of it was in use.
    put(&journal, &whole[..whole.len() - 4096]);
    match world.launch().try_start() {
        Err((_, status)) => assert_eq!(status.code(), Some(1)),
        Ok(relayer) => {
            let mut pile = world.connected_pile(0, &relayer).await;
            assert_eq!(held(&mut pile).await, 40);
            relayer.kill();
        }
    }

    // The backup knows as much, and is whole.
    world.launch().command(&["journal", "verify", "--file", backup.to_str().unwrap()]).unwrap();
    std::fs::rename(&journal, world.path().join("damaged.redb")).unwrap();
    world.launch().command(&["journal", "restore", backup.to_str().unwrap()]).unwrap();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    assert_eq!(held(&mut pile).await, 40);
    let said = relayer.command(&["journal", "restore", backup.to_str().unwrap()]).unwrap_err();
    assert!(said.contains("cannot be opened"), "the journal of a running relayer is not replaced: {said}");
}

async fn held(pile: &mut system_tests::pile::Pile) -> u32 {
    pile.send(&TelemHead { battery: pile.battery, seq: None, fp: None, ledger_seq: None, ledger_fp: None })
        .await;
    let (_, payload) = pile.expect(&[FrameType::TelemHead]).await;
    TelemHead::decode(&payload).unwrap().seq.unwrap()
}

#[allow(clippy::disallowed_methods, reason = "scenarios work on real files")]
fn put(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
