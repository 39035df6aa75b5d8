//! BLOCKHASH inside the EVM equals the RPC's hash of the same block, as deep as the ring reaches.

use alloy::rpc::types::BlockNumberOrTag;
use system_tests::node::Node;
use system_tests::snapshot::Snapshot;

#[tokio::test]
async fn blockhash_is_the_rpcs_hash_at_every_depth_the_verifier_uses() {
    let snapshot = Snapshot::get();
    let deployment = cip22_relayer::deployment::Deployment::load(&snapshot.deployment()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir.path().join("chain"), Some(&snapshot.chain()), 50);
    let chain = system_tests::chain::Chain::new(&node.info.rpc_url, deployment.verifier());
    let reach = u64::from(deployment.ring_epochs) * deployment.epoch_len_blocks;
    chain.wait_for_block(BlockNumberOrTag::Latest, reach + 20).await;
    for depth in [1, 300, reach] {
        let number = chain.block(BlockNumberOrTag::Latest).await - depth;
        // PUSH8 number, BLOCKHASH, PUSH0, MSTORE, PUSH1 32, PUSH0, RETURN
        let mut code = vec![0x67];
        code.extend_from_slice(&number.to_be_bytes());
        code.extend_from_slice(&[0x40, 0x5F, 0x52, 0x60, 0x20, 0x5F, 0xF3]);
        let inside = chain.run_code(code).await;
        assert_eq!(inside.as_ref(), chain.block_hash(number).await.as_slice(), "depth {depth}");
    }
}
