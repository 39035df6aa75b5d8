//! Battery provenance: records, a signed checkpoint, the ledger's head, TELEM_ACK with level SAFE.

use cip22_wire::message::{Body, TelemAck};
use cip22_wire::{FrameType, Level, NackCode};
use system_tests::world::World;

#[tokio::test]
async fn a_checkpoint_moves_the_ledger_and_a_rewritten_record_is_refused() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let mut record = pile.next_record([0; 16]);
    for _ in 0..4 {
        pile.send(&record).await;
        assert_eq!(ack_of(&mut pile).await.level, Level::Durable.code());
        record = pile.next_record([0; 16]);
    }
    let mut rewritten = record;
    rewritten.energy_wh += 1;
    pile.send(&rewritten).await;
    assert_eq!(pile.expect_nack().await, NackCode::TelemFingerprint);
    let mut gap = record;
    gap.seq += 3;
    pile.send(&gap).await;
    assert_eq!(pile.expect_nack().await, NackCode::TelemGap);
    pile.send(&record).await;
    ack_of(&mut pile).await;

    let checkpoint = pile.checkpoint_at(&record);
    pile.send(&checkpoint).await;
    assert_eq!(ack_of(&mut pile).await.checkpoint, 1);
    world.chain.wait_for_ledger(world.deployment.battery_ledger, pile.battery, record.seq).await;
    let moves = world.chain.ledger(world.deployment.battery_ledger, pile.battery).await;
    assert_eq!(moves, vec![(record.seq, record.fp)]);
    let safe = ack_of(&mut pile).await;
    assert_eq!((safe.level, safe.seq), (Level::Safe.code(), record.seq));
}

async fn ack_of(pile: &mut system_tests::pile::Pile) -> TelemAck {
    let (_, payload) = pile.expect(&[FrameType::TelemAck]).await;
    TelemAck::decode(&payload).unwrap()
}
