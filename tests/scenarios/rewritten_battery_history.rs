//! A battery's history that a pile or a relayer rewrites is refused, and a pile that signed two of one record is shown on chain.

use alloy::sol_types::SolCall;
use cip22_wire::{Level, NackCode, telemetry};
use system_tests::statements::{TamperingProven, advance_of, advanceCall, proveTamperingCall};
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewritten_history_is_refused_and_two_signatures_for_one_record_are_proven_on_chain() {
    let world = World::new();
    let relayer = world.launch().start();
    let stranger = world.node.info.account("stranger").clone();
    let ledger = world.deployment.battery_ledger;
    let mut pile = world.connected_pile(0, &relayer).await;
    let first = pile.next_record([0; 16]);
    let record = pile.next_record([0; 16]);
    for record in [&first, &record] {
        pile.send(record).await;
        assert_eq!(pile.expect_telem_ack().await.level, Level::Durable.code());
    }
    let checkpoint = pile.checkpoint_at(&record);
    let stated = advance_of(&pile, &checkpoint);
    pile.send(&checkpoint).await;
    pile.expect_telem_ack().await;
    world.chain.wait_for_ledger(ledger, pile.battery, record.seq).await;

    // The pile signs another history of the same battery, which the gateway does not take.
    let mut other = record;
    other.energy_wh += 1;
    other.fp = telemetry::fingerprint(&first.fp, &other);
    pile.checkpoint = (0, [0; 32]);
    let lie = pile.checkpoint_at(&other);
    pile.send(&lie).await;
    assert_eq!(pile.expect_nack().await, NackCode::CheckpointMismatch);
    let lied = advance_of(&pile, &lie);

    // Nor does the ledger: the pile's own, nor what a relayer made of what the pile signed.
    let mut forged = stated.clone();
    (forged.seq, forged.prevSeq, forged.prevFp) = (record.seq + 1, record.seq, record.fp.into());
    for items in [vec![lied.clone()], vec![forged]] {
        let call = advanceCall { items }.abi_encode();
        assert!(
            world.chain.send(&stranger, ledger.into(), call).await,
            "an item that cannot be used is skipped"
        );
    }
    let moves = world.chain.ledger(ledger, pile.battery).await;
    assert_eq!(moves, vec![(record.seq, record.fp)]);

    // Anyone shows that the pile's key signed both.
    let same = proveTamperingCall { a: stated.clone(), b: stated.clone() };
    assert!(
        !world.chain.send(&stranger, ledger.into(), same.abi_encode()).await,
        "one history is none too many"
    );
    let call = proveTamperingCall { a: stated, b: lied };
    assert!(world.chain.send(&stranger, ledger.into(), call.abi_encode()).await);
    let proven: Vec<TamperingProven> = world.chain.events_of(ledger.into()).await;
    assert_eq!(proven.len(), 1);
    assert_eq!((proven[0].battery.0, proven[0].deviceId.0), (pile.battery, pile.device_id));
    assert_eq!((proven[0].seq, proven[0].fpA.0, proven[0].fpB.0), (record.seq, record.fp, other.fp));
}
