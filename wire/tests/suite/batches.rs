use cip22_wire::{
    POSSESSION_DST, ROOT_DST,
    batch_tree::{self, Roots},
    digest::{self, Domain},
    limits::PATH_BYTES_MAX,
};

use crate::vectors::{self, array, bytes, fixed, int};

#[test]
fn every_path_leads_to_its_trees_roots() {
    let file = vectors::read("bls");
    let mut longest = 0;
    for tree in array(&file, "trees") {
        let root = fixed(tree, "root");
        for leaf in array(tree, "leaves") {
            let group = int(leaf, "group");
            let (index, n, head) = (int(leaf, "index"), int(leaf, "n"), fixed(leaf, "head"));
            let entry = array(tree, "groups").iter().find(|entry| entry["group"] == leaf["group"]).unwrap();
            let group_root = fixed(entry, "group_root");
            let (place, path) = (int(leaf, "place"), bytes(leaf, "path"));
            longest = longest.max(path.len());
            assert_eq!(batch_tree::leaf(group, index, n, &head), fixed(leaf, "leaf"));
            assert_eq!(batch_tree::group_leaf(group, &group_root), fixed(entry, "group_leaf"));
            assert_eq!(
                batch_tree::follow(group, place, n, &head, &path),
                Some(Roots { group_root, root }),
                "group {group}, index {index}"
            );
        }
    }
    assert_eq!(longest, PATH_BYTES_MAX, "the largest tree is among them");
}

#[test]
fn the_digests_that_piles_sign_by_bls_equal_the_vectors() {
    let file = vectors::read("bls");
    let root = &file["root"];
    let struct_hash = digest::root_hash(
        int(root, "epoch"),
        &fixed(root, "challenge"),
        &fixed(root, "policy_hash"),
        &fixed(root, "root"),
    );
    assert_eq!(struct_hash, fixed(root, "struct_hash"));
    assert_eq!(domain(&file, "verifying_contract").digest(&struct_hash), fixed(root, "digest"));

    let registry = domain(&file, "device_registry");
    assert_eq!(registry.separator(), fixed(&file["domain"], "device_registry_separator"));
    for signer in array(&file, "signers") {
        let struct_hash = digest::bls_possession_hash(&fixed(signer, "device_id"), &fixed(signer, "key"));
        assert_eq!(struct_hash, fixed(signer, "possession_struct_hash"));
        assert_eq!(registry.digest(&struct_hash), fixed(signer, "possession_digest"));
    }
    assert_ne!(ROOT_DST, POSSESSION_DST);
}

fn domain(file: &serde_json::Value, contract: &str) -> Domain {
    let domain = &file["domain"];
    Domain { chain_id: int(domain, "chain_id"), verifying_contract: fixed(domain, contract) }
}
