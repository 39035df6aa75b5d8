//! A pile shows on chain what it stated, from the path that it was given when it co-signed; no relayer is needed any more.

use alloy::sol_types::SolCall;
use cip22_wire::{Level, digest, statement};
use system_tests::statements::{
    Checkpoint, Place, StatementOpened, openAuthCall, openCheckpointCall, statement_opener,
};
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authorization_and_a_checkpoint_are_opened_without_the_relayer() {
    // Both statements shall be of one epoch.
    let world = World::with_block_interval(400);
    let relayer = world.lane2().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.next_epoch().await;
    let ticket = pile.ticket().await;
    let answer = pile.answer(&ticket);
    pile.send(&answer.response).await;
    pile.expect_grant(&ticket).await;
    let record = pile.next_record([0; 16]);
    pile.send(&record).await;
    assert_eq!(pile.expect_telem_ack().await.level, Level::Durable.code());
    let checkpoint = pile.checkpoint_at(&record);
    pile.send(&checkpoint).await;
    let offer = pile.co_sign().await;
    let (epoch, place) = (offer.epoch, pile.place.unwrap());
    assert_eq!((ticket.challenge.epoch, checkpoint.epoch, offer.n), (epoch, epoch, 2), "one epoch");
    while world.chain.root_with(place.group, epoch, place.index).await.is_none() {
        pile.next_epoch().await;
    }
    relayer.kill();

    let stranger = world.node.info.account("stranger").clone();
    let opener = statement_opener(&world.snapshot);
    let evidence = world.chain.opening(&offer, world.deployment.ring_epochs).await;
    let stmt = statement::checkpoint(&pile.device_id, &checkpoint);
    let at = |n, prev_head: [u8; 32], later: Vec<[u8; 32]>| Place {
        deviceId: pile.device_id.into(),
        group: place.group,
        index: place.index,
        epoch,
        n,
        prevHead: prev_head.into(),
        later: later.into_iter().map(Into::into).collect(),
    };
    let ticket_hash = digest::ticket_hash(&ticket.challenge);
    let open_auth = openAuthCall {
        place: at(1, [0; 32], vec![stmt]),
        ticketHash: ticket_hash.into(),
        l: answer.response.l.into(),
        evidence: evidence.clone(),
    };
    assert!(world.chain.send(&stranger, opener, open_auth.abi_encode()).await);
    let stated = Checkpoint {
        battery: checkpoint.battery.into(),
        segment: checkpoint.segment.into(),
        seq: checkpoint.seq,
        time: checkpoint.time_ms,
        fp: checkpoint.fp.into(),
        prevSeq: checkpoint.prev_seq,
        prevFp: checkpoint.prev_fp.into(),
    };
    let open_checkpoint =
        openCheckpointCall { place: at(2, checkpoint.prev_head, Vec::new()), checkpoint: stated, evidence };
    assert!(world.chain.send(&stranger, opener, open_checkpoint.abi_encode()).await);

    let mut another = open_auth;
    another.ticketHash = [1; 32].into();
    assert!(
        !world.chain.send(&stranger, opener, another.abi_encode()).await,
        "another ticket was not answered"
    );
    let auth = statement::auth(&pile.device_id, epoch, 1, &ticket_hash, &answer.response.l);
    let opened = |kind, n, statement: [u8; 32]| StatementOpened {
        kind,
        deviceId: pile.device_id.into(),
        statement: statement.into(),
        epoch,
        n,
    };
    let events: Vec<StatementOpened> = world.chain.events_of(opener).await;
    assert_eq!(events, vec![opened(1, 1, auth), opened(2, 2, stmt)]);
}
