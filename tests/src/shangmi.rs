//! A copy of the fleet in which some piles are of the ShangMi pairing.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::node::run;
use crate::pile::Pile;
use crate::snapshot::program;
use crate::world::World;

/// The copy. Keys, identities and standard certificates are those of the snapshot's fleet.
#[derive(Debug)]
pub struct ShangMiFleet {
    dir: PathBuf,
}

impl ShangMiFleet {
    /// In the scenario's folder. These piles are of the ShangMi pairing, all others standard.
    #[allow(clippy::disallowed_methods, reason = "scenarios work on real files")]
    pub fn new(world: &World, piles: &[usize]) -> Self {
        let dir = world.path().join("fleet");
        let pki = dir.join("pki");
        std::fs::create_dir_all(&pki).expect("a folder");
        for name in ["gateway.key", "site.secret"] {
            std::fs::copy(world.fleet().join(name), dir.join(name)).expect("a copy");
        }
        for entry in std::fs::read_dir(world.fleet().join("pki")).expect("certificates") {
            let path = entry.expect("an entry").path();
            std::fs::copy(&path, pki.join(path.file_name().expect("a name"))).expect("a copy");
        }
        let manifest = std::fs::read(world.fleet().join("fleet.json")).expect("fleet.json");
        let mut manifest: Value = serde_json::from_slice(&manifest).expect("fleet.json parses");
        let mut issue = Command::new(program("cip22-fleet"));
        issue.args(["pki", "--pairing", "shangmi", "--out"]).arg(&pki);
        issue.args(["--gateway-address", &gateway_address(world)]);
        for number in piles {
            let pile = manifest["piles"].get_mut(number).expect("the snapshot has this pile");
            let device_id = pile["device_id"].as_str().expect("a device id").to_owned();
            let name = format!("pki/sm2-device-{}", device_id.trim_start_matches("0x"));
            pile["pairing"] = "shangmi".into();
            pile["certificate"] = format!("{name}.pem").into();
            pile["certificate_key"] = format!("{name}.key").into();
            issue.args(["--device", &device_id]);
        }
        run(&mut issue);
        std::fs::write(dir.join("fleet.json"), manifest.to_string()).expect("fleet.json");
        Self { dir }
    }

    /// Its folder: `fleet.json`, `pki/`, `gateway.key`, `site.secret`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A scripted pile of the ShangMi pairing, not connected.
    pub fn pile(&self, world: &World, number: usize) -> Pile {
        let mut entry = world.piles.get(number).expect("the snapshot has this pile").clone();
        let name = format!("pki/sm2-device-{}", entry.device_id.trim_start_matches("0x"));
        entry.pairing = Some("shangmi".into());
        entry.certificate = format!("{name}.pem");
        entry.certificate_key = format!("{name}.key");
        Pile::new(&entry, &self.dir, &world.deployment)
    }
}

/// The address of the gateway's key, as its certificate names it.
fn gateway_address(world: &World) -> String {
    let key = std::fs::read_to_string(world.fleet().join("gateway.key")).expect("the gateway's key");
    let mut secret = [0; 32];
    hex::decode_to_slice(key.trim().trim_start_matches("0x"), &mut secret).expect("32 bytes in hex");
    let key = cip22_device_sdk::sign::SigningKey::from_bytes(&secret).expect("a key");
    format!("0x{}", hex::encode(key.address()))
}
