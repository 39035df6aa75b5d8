//! `cip22-fleet bench-grant`: AUTH_RESP sent to AUTH_GRANT received, in an open loop: what is sent when does not depend on answers.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cip22_wire::{
    FrameType, Sid,
    message::{AuthGrant, Body},
};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    task::JoinSet,
    time::Instant,
};

use crate::{
    client::{Answer, Client},
    deployment::Deployment,
    error::FleetError,
    frames::FrameBuffer,
    journal::PileLog,
    link::{Binding, Connector, Gateway},
    manifest::{Manifest, Role},
    report::Spread,
};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The fleet.
    #[arg(long)]
    pub fleet: PathBuf,
    /// The contracts.
    #[arg(long)]
    pub deployment: PathBuf,
    /// HOST:PORT of the gateway.
    #[arg(long)]
    pub gateway: String,
    /// DNS name in the gateway's certificate.
    #[arg(long, default_value = "localhost")]
    pub dns: String,
    /// How frames travel.
    #[arg(long, value_enum, default_value_t)]
    pub binding: Binding,
    /// Piles, each with its connection.
    #[arg(long, default_value_t = 100)]
    pub piles: usize,
    /// AUTH_RESPs a second.
    #[arg(long, default_value_t = 50)]
    pub rate: u32,
    /// How long, s.
    #[arg(long, default_value_t = 60)]
    pub seconds: u32,
    /// Longest wait for answers after the last AUTH_RESP, s.
    #[arg(long, default_value_t = 10)]
    pub drain_s: u64,
    /// Also writes the figures there, JSON.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// The figures, ms, from the moment an AUTH_RESP was to be sent.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Piles.
    pub piles: usize,
    /// AUTH_RESPs a second.
    pub rate: u32,
    /// AUTH_RESPs sent.
    pub sent: usize,
    /// AUTH_GRANTs received.
    pub count: usize,
    /// Other answers.
    pub refused: usize,
    /// AUTH_RESPs without an answer.
    pub unanswered: usize,
    /// Mean, ms.
    pub mean_ms: Option<f64>,
    /// Median, ms.
    pub p50: Option<f64>,
    /// 99 of 100 are not above, ms.
    pub p99: Option<f64>,
    /// Largest, ms.
    pub max: Option<f64>,
    /// How late the generator itself sent, at the worst, ms; part of the figures above.
    pub late_ms_max: f64,
}

/// Measures, and prints JSON.
///
/// # Errors
/// A file, or a pile that gets no session or no tickets.
pub async fn run(arguments: Arguments) -> Result<(), FleetError> {
    let measured = measure(&arguments).await?;
    let text =
        serde_json::to_string_pretty(&measured).map_err(|error| FleetError::Protocol(error.to_string()))?;
    println!("{text}");
    if let Some(path) = &arguments.out {
        std::fs::write(path, text + "\n").map_err(FleetError::file(path))?;
    }
    Ok(())
}

/// Makes connections and tickets, then sends on schedule.
///
/// # Errors
/// As [`run`].
pub async fn measure(arguments: &Arguments) -> Result<Measured, FleetError> {
    let Arguments { piles, rate, seconds, .. } = *arguments;
    let total = usize::try_from(u64::from(rate) * u64::from(seconds)).unwrap_or(usize::MAX);
    if piles == 0 || total == 0 {
        return Err(FleetError::Setting("piles, rate and seconds have to be above 0".to_owned()));
    }
    let tickets = total.div_ceil(piles);
    eprintln!("{piles} piles connect and get {tickets} tickets each");
    let ready = prepare(arguments, tickets).await?;
    eprintln!("{total} AUTH_RESPs follow, {rate} a second");

    let (results, mut arrived) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    // Some time for every task to stand at its first send.
    let begin = Instant::now() + Duration::from_millis(500);
    for (number, (client, answers)) in ready.into_iter().enumerate() {
        let schedule: VecDeque<_> = answers
            .into_iter()
            .enumerate()
            .map(|(turn, answer)| (turn * piles + number, answer))
            .filter(|(slot, _)| *slot < total)
            .map(|(slot, answer)| (begin + slot_offset(slot, rate), answer))
            .collect();
        let drain = Duration::from_secs(arguments.drain_s);
        let until = begin + Duration::from_secs(u64::from(seconds)) + drain;
        tasks.spawn(drive(client, schedule, until, results.clone()));
    }
    drop(results);
    let (mut latencies, mut refused, mut late) = (Vec::new(), 0, Duration::ZERO);
    while let Some(result) = arrived.recv().await {
        match result {
            Outcome::Granted(latency) => latencies.push(latency.as_secs_f64() * 1_000.0),
            Outcome::Refused => refused += 1,
            Outcome::Late(by) => late = late.max(by),
        }
    }
    while tasks.join_next().await.is_some() {}
    let count = latencies.len();
    let Spread { mean, p50, p99, max, .. } = Spread::of(latencies);
    Ok(Measured {
        piles,
        rate,
        sent: total,
        count,
        refused,
        unanswered: total.saturating_sub(count + refused),
        mean_ms: mean,
        p50,
        p99,
        max,
        late_ms_max: late.as_secs_f64() * 1_000.0,
    })
}

/// Sessions, each with answers already signed.
async fn prepare(arguments: &Arguments, tickets: usize) -> Result<Vec<(Client, Vec<Answer>)>, FleetError> {
    let fleet = Manifest::load(&arguments.fleet)?;
    let deployment = Arc::new(Deployment::load(&arguments.deployment)?);
    let folder = arguments.fleet.parent().unwrap_or(Path::new("."));
    let gateway = Gateway::new(arguments.gateway.clone(), arguments.dns.clone(), &folder.join("pki"))?;
    let honest: Vec<_> = fleet.piles.into_iter().filter(|pile| pile.role == Role::Honest).collect();
    if honest.len() < arguments.piles {
        return Err(FleetError::Setting(format!("the fleet has {} piles only", honest.len())));
    }
    let mut waiting = VecDeque::new();
    for pile in honest.into_iter().take(arguments.piles) {
        let connector = Connector::new(&gateway, &pile, arguments.binding)?;
        let log = PileLog::open(None, pile.device_id())?;
        // The places signed are remembered: the same fleet can be measured again in the same epoch.
        let state = folder.join("state/bench").join(format!("{}.json", pile.name));
        waiting.push_back(Client::new(&pile, &deployment, connector, log, Some(state))?);
    }
    let mut ready = Vec::new();
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < PREPARED_AT_A_TIME
            && let Some(client) = waiting.pop_front()
        {
            tasks.spawn(with_tickets(client, tickets));
        }
        match tasks.join_next().await {
            None => return Ok(ready),
            Some(Ok(prepared)) => ready.push(prepared?),
            Some(Err(error)) => return Err(FleetError::Protocol(error.to_string())),
        }
    }
}

async fn with_tickets(mut client: Client, tickets: usize) -> Result<(Client, Vec<Answer>), FleetError> {
    client.open().await?;
    let mut answers = Vec::with_capacity(tickets);
    for _ in 0..tickets {
        let ticket = client.ticket().await?;
        let answer = client.answer(&ticket)?;
        client.commit(&answer);
        answers.push(answer);
    }
    Ok((client, answers))
}

enum Outcome {
    Granted(Duration),
    Refused,
    Late(Duration),
}

/// Sends each answer at its time, reads grants as they come, and ends every granted charge so that its credit is free again.
async fn drive(
    mut client: Client,
    mut schedule: VecDeque<(Instant, Answer)>,
    until: Instant,
    results: mpsc::UnboundedSender<Outcome>,
) {
    let Some(link) = client.take_link() else { return };
    // The tasks of the connection live as long as `_tasks`.
    let (mut reader, mut writer, _tasks) = link.split();
    let mut frames = FrameBuffer::default();
    let mut open: HashMap<Sid, (Instant, Answer)> = HashMap::new();
    let mut buf = [0; 4_096];
    let mut beat_at = Instant::now() + client.heartbeat_interval();
    while !(schedule.is_empty() && open.is_empty()) && Instant::now() < until {
        let next = schedule.front().map_or(until, |(at, _)| *at);
        tokio::select! {
            () = tokio::time::sleep_until(next), if !schedule.is_empty() => {
                let Some((at, answer)) = schedule.pop_front() else { continue };
                let _ = results.send(Outcome::Late(at.elapsed()));
                let frame = answer.frame.clone();
                open.insert(answer.sid, (at, answer));
                if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
                    return;
                }
            }
            read = reader.read(&mut buf) => {
                let now = Instant::now();
                let Ok(len @ 1..) = read else { return };
                frames.extend(buf.get(..len).unwrap_or_default());
                let mut ends = Vec::new();
                while let Ok(Some((frame_type, payload, _))) = frames.next_frame() {
                    match answer_of(frame_type, payload, &mut open) {
                        Some((at, Some(answer))) => {
                            let _ = results.send(Outcome::Granted(now.saturating_duration_since(at)));
                            ends.extend(client.end_of(&answer).unwrap_or_default());
                        }
                        Some((_, None)) => {
                            let _ = results.send(Outcome::Refused);
                        }
                        None => {}
                    }
                }
                if !ends.is_empty() && (writer.write_all(&ends).await.is_err() || writer.flush().await.is_err()) {
                    return;
                }
            }
            () = tokio::time::sleep_until(beat_at) => {
                beat_at = Instant::now() + client.heartbeat_interval();
                let Ok(beat) = client.heartbeat() else { return };
                if writer.write_all(&beat).await.is_err() || writer.flush().await.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep_until(until) => return,
        }
    }
}

/// When the AUTH_RESP was to be sent; with the answer that it was, if it was granted.
fn answer_of(
    frame_type: u8,
    payload: &[u8],
    open: &mut HashMap<Sid, (Instant, Answer)>,
) -> Option<(Instant, Option<Answer>)> {
    match FrameType::from_u8(frame_type)? {
        FrameType::AuthGrant => {
            let (at, answer) = open.remove(&AuthGrant::decode(payload).ok()?.sid)?;
            Some((at, Some(answer)))
        }
        FrameType::AuthDeny => {
            let (at, _) = open.remove(&cip22_wire::message::AuthDeny::decode(payload).ok()?.sid)?;
            Some((at, None))
        }
        FrameType::Nack => {
            let nack = cip22_wire::message::Nack::decode(payload).ok()?;
            if nack.frame_type != FrameType::AuthResp.code() {
                return None;
            }
            // A NACK names no charge; answers come in order.
            let sid = *open.iter().min_by_key(|(_, (at, _))| *at)?.0;
            open.remove(&sid).map(|(at, _)| (at, None))
        }
        _ => None,
    }
}

fn slot_offset(slot: usize, rate: u32) -> Duration {
    Duration::from_secs_f64(slot as f64 / f64::from(rate))
}

const PREPARED_AT_A_TIME: usize = 32;
