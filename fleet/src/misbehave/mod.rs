//! Scripted misbehaviour, one file a case: each has to be refused, and for its own cause.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cip22_wire::{NackCode, crc8_itu};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, JoinSet};

use crate::{
    client::{Answer, Client, Ticket},
    deployment::Deployment,
    error::FleetError,
    journal::PileLog,
    link::{Binding, Connector, Gateway},
    manifest::{Pile, Role},
    pki,
};

mod bad_crc;
mod chain_conflict;
mod device_mismatch;
mod expired_ticket;
mod foreign_certificate;
mod garbage;
mod missing_hello;
mod oversized_frame;
mod replayed_frame;
mod reused_ticket;
mod revoked_device;
mod stale_policy;
mod telemetry_fingerprint;
mod telemetry_gap;
mod truncated_frame;
mod unknown_even_tag;
mod unknown_ticket;
mod wrong_key;

/// What the misbehaving piles are given.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The gateway.
    pub gateway: Gateway,
    /// The contracts.
    pub deployment: Arc<Deployment>,
    /// Those that misbehave, and those that are revoked.
    pub piles: Vec<Pile>,
    /// How frames travel.
    pub binding: Binding,
    /// Folder of their logs.
    pub logs: PathBuf,
    /// Folder of what they remember.
    pub state: PathBuf,
    /// Longest wait for what the chain brings: an epoch, a policy.
    pub patience: Duration,
}

/// What became of one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub case: String,
    /// What the gateway should answer.
    pub expected: String,
    /// What it answered.
    pub observed: String,
    /// Whether they are the same.
    pub ok: bool,
}

/// Every outcome.
pub type Played = Vec<Outcome>;

/// Plays every case, as many at a time as there are piles.
pub async fn play(stage: Stage) -> Played {
    let stage = Arc::new(stage);
    let (revoked, piles): (Vec<_>, Vec<_>) =
        stage.piles.iter().cloned().partition(|pile| pile.role == Role::Revoked);
    let cases = Arc::new(Mutex::new(VecDeque::from(CASES.to_vec())));
    let mut actors = JoinSet::new();
    for pile in piles {
        let (cases, actor) = (cases.clone(), Actor { stage: stage.clone(), pile });
        actors.spawn(async move {
            let mut outcomes = Vec::new();
            actor.admitted().await;
            loop {
                let next = cases.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(case) = next else { break outcomes };
                outcomes.push(actor.outcome(case).await);
            }
        });
    }
    for pile in revoked.into_iter().take(1) {
        let actor = Actor { stage: stage.clone(), pile };
        actors.spawn(async move { vec![actor.outcome(revoked_device::NAME).await] });
    }
    let mut outcomes = actors.join_all().await.concat();
    outcomes.sort_by(|one, other| one.case.cmp(&other.case));
    outcomes
}

/// Writes `misbehaviour.json` into `logs`.
///
/// # Errors
/// The file cannot be written, no case was played, or one was not refused as it should be.
pub async fn conclude(logs: &Path, played: JoinHandle<Played>) -> Result<(), FleetError> {
    let outcomes =
        played.await.map_err(|error| FleetError::Unmet(format!("the misbehaviour ended: {error}")))?;
    let path = logs.join("misbehaviour.json");
    let mut text =
        serde_json::to_string_pretty(&outcomes).map_err(|error| FleetError::content(&path, error))?;
    text.push('\n');
    std::fs::write(&path, text).map_err(FleetError::file(&path))?;
    let wrong: Vec<_> = outcomes.iter().filter(|outcome| !outcome.ok).collect();
    if outcomes.is_empty() {
        return Err(FleetError::Unmet("no pile was there to misbehave".to_owned()));
    }
    if let Some(first) = wrong.first() {
        let Outcome { case, expected, observed, .. } = first;
        let count = wrong.len();
        return Err(FleetError::Unmet(format!(
            "{count} misbehaviours were not refused as they should be; {case}: {observed} instead of {expected}"
        )));
    }
    Ok(())
}

/// What a case should bring, and what it brought.
#[derive(Clone, Debug)]
struct Verdict {
    expected: String,
    observed: String,
}

impl Verdict {
    #[allow(clippy::unnecessary_wraps, reason = "what every case ends with")]
    fn new(expected: impl Into<String>, observed: impl Into<String>) -> Result<Self, FleetError> {
        Ok(Self { expected: expected.into(), observed: observed.into() })
    }
}

/// A pile that plays cases, one after another.
#[derive(Debug)]
struct Actor {
    stage: Arc<Stage>,
    pile: Pile,
}

impl Actor {
    async fn outcome(&self, case: &str) -> Outcome {
        let case = case.to_owned();
        match self.play(&case).await {
            Ok(Verdict { expected, observed }) => {
                let ok = expected == observed;
                Outcome { case, expected, observed, ok }
            }
            Err(error) => Outcome {
                case,
                expected: "an answer".to_owned(),
                observed: format!("{}: {error}", self.pile.name),
                ok: false,
            },
        }
    }

    async fn play(&self, case: &str) -> Result<Verdict, FleetError> {
        macro_rules! dispatch {
            ($($module:ident)*) => {
                match case {
                    $($module::NAME => $module::play(self).await,)*
                    _ => Err(FleetError::Setting(format!("no case is named {case}"))),
                }
            };
        }
        dispatch! { stale_policy expired_ticket wrong_key reused_ticket replayed_frame chain_conflict truncated_frame oversized_frame garbage bad_crc unknown_even_tag device_mismatch missing_hello unknown_ticket telemetry_gap telemetry_fingerprint foreign_certificate revoked_device }
    }

    fn client(&self, case: &str) -> Result<Client, FleetError> {
        self.client_with(case, Connector::new(&self.stage.gateway, &self.pile, self.stage.binding)?)
    }

    /// With a certificate that names this pile, from a root of its own.
    fn foreign_client(&self, case: &str) -> Result<Client, FleetError> {
        let pairing = self.pile.pairing;
        let issued = pki::Issuer::generate(pairing)?.issue_device(&self.pile.device_id())?;
        let wrong = |error| FleetError::content(case, error);
        let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).map_err(wrong)?;
        self.client_with(
            case,
            Connector::with_certificate(&self.stage.gateway, pairing, chain, key, self.stage.binding)?,
        )
    }

    fn client_with(&self, case: &str, connector: Connector) -> Result<Client, FleetError> {
        let log = self.stage.logs.join(format!("{case}.jsonl"));
        let log = PileLog::open(Some(&log), self.pile.device_id())?;
        let state = self.stage.state.join(format!("{}.json", self.pile.name));
        Client::new(&self.pile, &self.stage.deployment, connector, log, Some(state))
    }

    /// Waits until the gateway knows the pile: its registration has to be safe, and its first epoch to have begun.
    async fn admitted(&self) {
        let deadline = Instant::now() + self.stage.patience;
        while Instant::now() < deadline {
            let admitted = async {
                let mut client = self.open("admission").await?;
                client.ticket().await
            };
            match admitted.await {
                Err(FleetError::Protocol(problem)) if problem.contains(NackCode::UnknownDevice.name()) => {}
                // Anything else shows in the cases.
                _ => return,
            }
            tokio::time::sleep(ADMISSION_INTERVAL).await;
        }
    }

    async fn open(&self, case: &str) -> Result<Client, FleetError> {
        let mut client = self.client(case)?;
        client.open().await?;
        Ok(client)
    }
}

/// A ticket, answered and granted.
async fn granted(client: &mut Client) -> Result<(Ticket, Answer), FleetError> {
    let ticket = client.ticket().await?;
    let answer = client.answer(&ticket)?;
    client.commit(&answer);
    let name = client.answer_to(&answer.frame).await?.name();
    if name != "AUTH_GRANT" {
        return Err(FleetError::Protocol(format!("an honest AUTH_RESP got {name}")));
    }
    Ok((ticket, answer))
}

/// A frame with any payload and a right checksum.
fn raw_frame(frame_type: u8, payload: &[u8]) -> Vec<u8> {
    use cip22_wire::frame::{CODEC, FLAGS, MAGIC, VERSION};
    let [high, low] = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![MAGIC, CODEC, VERSION, FLAGS, high, low, frame_type];
    frame.extend_from_slice(payload);
    frame.push(crc8_itu(&frame));
    frame
}

const ADMISSION_INTERVAL: Duration = Duration::from_millis(500);
/// Those that wait for the chain first.
const CASES: &[&str] = &[
    stale_policy::NAME,
    expired_ticket::NAME,
    wrong_key::NAME,
    reused_ticket::NAME,
    replayed_frame::NAME,
    chain_conflict::NAME,
    truncated_frame::NAME,
    oversized_frame::NAME,
    garbage::NAME,
    bad_crc::NAME,
    unknown_even_tag::NAME,
    device_mismatch::NAME,
    missing_hello::NAME,
    unknown_ticket::NAME,
    telemetry_gap::NAME,
    telemetry_fingerprint::NAME,
    foreign_certificate::NAME,
];
