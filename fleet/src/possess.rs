//! `cip22-fleet possess`: proofs that the piles hold their BLS keys, for the enrolment in one deployment.

use std::path::PathBuf;

use crate::{
    deployment::Deployment,
    error::FleetError,
    manifest::{Manifest, hex_text},
};

/// What to prove.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The fleet; `bls_possession` of its piles is written.
    #[arg(long)]
    pub fleet: PathBuf,
    /// The contracts: a proof holds for one DeviceRegistry on one chain.
    #[arg(long)]
    pub deployment: PathBuf,
}

/// Writes the proof of every pile that has a BLS key; returns how many.
///
/// # Errors
/// A file, or no pile has a key.
pub fn run(arguments: &Arguments) -> Result<usize, FleetError> {
    let domain = Deployment::load(&arguments.deployment)?.registry_domain();
    let mut fleet = Manifest::read(&arguments.fleet)?;
    let mut proved = 0;
    for pile in &mut fleet.piles {
        pile.bls_possession =
            pile.bls_key()?.map(|key| hex_text(&key.prove_possession(&domain, &pile.device_id())));
        proved += usize::from(pile.bls_possession.is_some());
    }
    if proved == 0 {
        return Err(FleetError::content(&arguments.fleet, "no pile has a bls_secret"));
    }
    fleet.store(&arguments.fleet)?;
    Ok(proved)
}

#[cfg(test)]
mod tests {
    use blst::{BLST_ERROR, min_sig};
    use cip22_wire::{POSSESSION_DST, digest::bls_possession_hash};

    use super::*;
    use crate::{manifest::hex_bytes, provision};

    #[test]
    fn proofs_hold_in_the_deployment_they_are_made_for_and_paths_stay_relative() {
        let folder = tempfile::tempdir().unwrap();
        let deployment = folder.path().join("deployment.json");
        let address = |byte: &str| format!("0x{}", byte.repeat(20));
        let content = serde_json::json!({
            "chain_id": 1030, "start_block": 0, "epoch_len_blocks": 20, "device_registry": address("d0"),
            "policy_registry": address("04"), "battery_ledger": address("05"), "policy_signer": address("06"),
            "verifiers": [{ "address": address("07") }]
        });
        std::fs::write(&deployment, content.to_string()).unwrap();
        let provisioned = provision::Arguments {
            out: folder.path().to_owned(),
            count: 2,
            misbehaving: 1,
            revoked: 0,
            bad_batch_sig: 0,
            vanish_on_root: 0,
            tls: provision::Tls::default(),
            group: 1,
            gateway_address: None,
            dns: vec!["localhost".to_owned()],
        };
        provision::run(&provisioned).unwrap();
        let fleet = folder.path().join("fleet.json");
        assert_eq!(run(&Arguments { fleet: fleet.clone(), deployment: deployment.clone() }).unwrap(), 2);

        let domain = Deployment::load(&deployment).unwrap().registry_domain();
        let manifest = Manifest::read(&fleet).unwrap();
        for pile in &manifest.piles[..2] {
            assert!(pile.certificate.is_relative());
            let key: [u8; 192] = hex_bytes(pile.bls_key.as_deref().unwrap()).unwrap();
            let digest = domain.digest(&bls_possession_hash(&pile.device_id(), &key));
            // blst has the higher coefficient first.
            let zcash = [&key[48..96], &key[..48], &key[144..], &key[96..144]].concat();
            let key = min_sig::PublicKey::deserialize(&zcash).unwrap();
            let proof: [u8; 96] = hex_bytes(pile.bls_possession.as_deref().unwrap()).unwrap();
            let verdict = min_sig::Signature::deserialize(&proof).unwrap().verify(
                true,
                &digest,
                POSSESSION_DST,
                &[],
                &key,
                true,
            );
            assert_eq!(verdict, BLST_ERROR::BLST_SUCCESS);
        }
        assert_eq!(manifest.piles[2].bls_possession, None);
    }
}
