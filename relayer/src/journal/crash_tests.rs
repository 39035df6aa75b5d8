//! The journal on a disk that loses what was not synced, tears what was on its way, fills up, or forgets single bytes.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::appender::Appender;
use super::redb_log::RedbLog;
use super::{Journal, Lsn, Record, examine};
use crate::clock::SystemClock;
use crate::error::{JournalError, with_causes};

/// What is written, what a sync made durable, and what is in between.
#[derive(Debug, Default)]
struct Memory {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    syncs: u64,
    /// From this sync on the power is gone: nothing becomes durable any more.
    power_until_sync: Option<u64>,
    /// Writes past this length fail as on a full disk.
    room: Option<usize>,
    failed_writes: u64,
    /// The next sync fails, once.
    failing_sync: bool,
}

#[derive(Debug, Clone, Default)]
struct FakeDisk(Arc<Mutex<Memory>>);

impl FakeDisk {
    fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.with(|memory| (memory.live, memory.durable) = (bytes.clone(), bytes));
        disk
    }

    fn with<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn powered(&self) -> bool {
        self.with(|memory| memory.power_until_sync.is_none_or(|sync| memory.syncs < sync))
    }

    /// What the disk may hold after a power cut: what was synced, and of the writes since those that `survive`, in part.
    fn after_power_cut(&self, survive: impl Fn(usize) -> usize) -> Vec<u8> {
        self.with(|memory| {
            let mut image = memory.durable.clone();
            for (at, (offset, data)) in memory.unsynced.iter().enumerate() {
                let kept = survive(at).min(data.len());
                if kept == data.len() && image.len() < offset + kept {
                    image.resize(offset + kept, 0);
                }
                if offset + kept <= image.len() {
                    image[*offset..offset + kept].copy_from_slice(&data[..kept]);
                }
            }
            image
        })
    }
}

impl StorageBackend for FakeDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|memory| memory.live.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        self.with(|memory| {
            let found = memory.live.get(offset..offset + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(found);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|memory| {
            if memory.room.is_some_and(|room| len as usize > room) {
                memory.failed_writes += 1;
                return Err(ErrorKind::StorageFull.into());
            }
            memory.live.resize(len as usize, 0);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|memory| {
            memory.syncs += 1;
            if std::mem::take(&mut memory.failing_sync) {
                return Err(io::Error::other("the disk gave up a page"));
            }
            if memory.power_until_sync.is_none_or(|sync| memory.syncs < sync) {
                memory.durable = memory.live.clone();
                memory.unsynced.clear();
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = offset as usize;
        self.with(|memory| {
            if memory.room.is_some_and(|room| offset + data.len() > room) {
                memory.failed_writes += 1;
                return Err(ErrorKind::StorageFull.into());
            }
            if offset + data.len() > memory.live.len() {
                memory.live.resize(offset + data.len(), 0);
            }
            memory.live[offset..offset + data.len()].copy_from_slice(data);
            // Without power nothing is on its way any more.
            if memory.power_until_sync.is_none_or(|sync| memory.syncs < sync) {
                memory.unsynced.push((offset, data.to_vec()));
            }
            Ok(())
        })
    }
}

fn record(number: u64) -> Record {
    let meter = vec![number as u8; 40 + (number % 300) as usize];
    Record::ChargeEnded {
        sid: [number as u8; 16],
        wh: number as u32,
        minutes: 1,
        cause: 1,
        meter,
        signature: vec![1; 64],
    }
}

fn open(disk: &FakeDisk) -> Result<RedbLog, JournalError> {
    RedbLog::on(disk.clone(), Path::new("/fake/journal.redb"))
}

/// Appends groups and cuts the front now and then. Calls `done` with the positions that the log holds after each step that returned.
fn work(log: &RedbLog, steps: u64, mut done: impl FnMut(Lsn, Lsn)) -> Result<(), JournalError> {
    let token = log.acquire("test")?;
    let (mut first, mut last) = (1, 0);
    for step in 0..steps {
        if step % 5 == 4 {
            first += log.truncate(token, last, 3)?;
        } else {
            let group: Vec<Record> = (1..=step % 4 + 1).map(|number| record(last + number)).collect();
            last = log.append(token, &group)?;
        }
        done(first, last);
    }
    Ok(())
}

fn held(log: &RedbLog) -> Result<Vec<Lsn>, JournalError> {
    let mut positions = Vec::new();
    log.replay(0, &mut |lsn, found| {
        assert_eq!(found, record(lsn), "record {lsn} is another one");
        positions.push(lsn);
    })?;
    Ok(positions)
}

const STEPS: u64 = 30;

#[test]
fn no_power_cut_loses_an_acknowledged_record_or_leaves_a_log_with_a_gap() {
    let disk = FakeDisk::default();
    let log = open(&disk).unwrap();
    let opened = disk.with(|memory| memory.syncs);
    work(&log, STEPS, |_, _| {}).unwrap();
    let syncs = disk.with(|memory| memory.syncs);
    assert!(syncs > opened + STEPS, "each step syncs");
    let mut images = 0;
    for cut in opened + 1..=syncs {
        let disk = FakeDisk::default();
        let log = open(&disk).unwrap();
        disk.with(|memory| memory.power_until_sync = Some(cut));
        // What was told to be durable before the cut, and what a step under way may have added.
        let (mut acknowledged, mut attempted) = ((1, 0), (1, 0));
        let _ = work(&log, STEPS, |first, last| {
            if disk.powered() {
                acknowledged = (first, last);
            }
            if attempted == acknowledged || disk.powered() {
                attempted = (first, last);
            }
        });
        let tears: [fn(usize) -> usize; 4] =
            [|_| 0, |_| usize::MAX, |at| if at % 2 == 0 { usize::MAX } else { 0 }, |at| 1_000 * (at % 3)];
        for survive in tears {
            let image = disk.after_power_cut(survive);
            let log =
                open(&FakeDisk::holding(image)).unwrap_or_else(|e| panic!("cut {cut}: {}", with_causes(&e)));
            let positions = held(&log).unwrap();
            let (first, last) =
                (positions.first().copied().unwrap_or(1), positions.last().copied().unwrap_or(0));
            assert!(
                last >= acknowledged.1,
                "cut {cut}: record {} was acknowledged, {last} is the last",
                acknowledged.1
            );
            assert!((acknowledged.0..=acknowledged.0 + 3).contains(&first), "cut {cut}: begins with {first}");
            let token = log.acquire("next").unwrap();
            assert_eq!(log.append(token, &[record(last + 1)]).unwrap(), last + 1, "it goes on");
            images += 1;
        }
        std::mem::forget(log);
    }
    assert!(images > 4 * STEPS, "{images} images");
}

#[test]
fn on_a_full_disk_nothing_is_acknowledged_and_what_was_stays() {
    let disk = FakeDisk::default();
    let log = open(&disk).unwrap();
    let token = log.acquire("test").unwrap();
    let room = disk.with(|memory| memory.live.len() + 64 * 1024);
    disk.with(|memory| memory.room = Some(room));
    let mut acknowledged = 0;
    let error = loop {
        match log.append(token, &[record(acknowledged + 1)]) {
            Ok(last) => acknowledged = last,
            Err(error) => break error,
        }
    };
    let told = with_causes(&error);
    assert!(told.contains("/fake/journal.redb") && acknowledged > 20, "{told} after {acknowledged}");
    assert!(disk.with(|memory| memory.failed_writes) > 0);
    disk.with(|memory| memory.room = None);
    assert!(
        log.append(token, &[record(1)]).is_err(),
        "a journal that failed stays failed until it is opened anew"
    );
    drop(log);
    let log = open(&disk).unwrap();
    let positions = held(&log).unwrap();
    assert_eq!((positions.first(), positions.last()), (Some(&1), Some(&acknowledged)));
    let token = log.acquire("next").unwrap();
    assert_eq!(log.append(token, &[record(acknowledged + 1)]).unwrap(), acknowledged + 1);
}

#[test]
fn a_start_that_is_killed_again_and_again_recovers_all_the_same() {
    let disk = FakeDisk::default();
    let log = open(&disk).unwrap();
    work(&log, STEPS, |_, _| {}).unwrap();
    let positions = held(&log).unwrap();
    let mut image = disk.with(|memory| memory.live.clone());
    std::mem::forget(log);
    let mut kills = 0;
    for sync in 1.. {
        let disk = FakeDisk::holding(image.clone());
        disk.with(|memory| memory.power_until_sync = Some(sync));
        std::mem::forget(open(&disk));
        if disk.powered() {
            break;
        }
        // The next start meets what this one left.
        image = disk.after_power_cut(|at| if at % 2 == 0 { usize::MAX } else { 0 });
        kills += 1;
        assert_eq!(held(&open(&FakeDisk::holding(image.clone())).unwrap()).unwrap(), positions);
    }
    assert!(kills > 0, "a recovery syncs");
}

#[test]
fn after_a_failed_fsync_nothing_is_written_until_the_file_is_opened_anew() {
    let disk = FakeDisk::default();
    let log = open(&disk).unwrap();
    let token = log.acquire("test").unwrap();
    assert_eq!(log.append(token, &[record(1)]).unwrap(), 1);
    disk.with(|memory| memory.failing_sync = true);
    let told = with_causes(&log.append(token, &[record(2)]).unwrap_err());
    assert!(told.contains("/fake/journal.redb") && told.contains("gave up a page"), "{told}");
    // The disk is well again, but nobody knows which pages it has.
    assert!(log.append(token, &[record(2)]).is_err());
    drop(log);
    let log = open(&disk).unwrap();
    let positions = held(&log).unwrap();
    assert!(positions == [1] || positions == [1, 2], "{positions:?}");
}

#[tokio::test]
async fn every_append_that_waits_on_a_failed_write_is_told_and_the_writer_ends_with_the_cause() {
    let disk = FakeDisk::default();
    let log = open(&disk).unwrap();
    let token = log.acquire("test").unwrap();
    let room = disk.with(|memory| memory.live.len());
    disk.with(|memory| memory.room = Some(room));
    let (appender, writer) = Appender::start(Arc::new(log), token, Arc::new(SystemClock::new())).unwrap();
    let waiting: Vec<_> =
        (0..600).map(|group| appender.append((1..=20).map(|n| record(group * 20 + n)).collect())).collect();
    let mut outcomes = Vec::new();
    for append in waiting {
        outcomes.push(append.await.is_ok());
    }
    let acknowledged = outcomes.iter().filter(|ok| **ok).count() as u64;
    assert!(outcomes[acknowledged as usize..].iter().all(|ok| !ok), "none after the first that failed");
    assert!(acknowledged < 600);
    drop(appender);
    let error = tokio::task::spawn_blocking(|| writer.join()).await.unwrap().unwrap().unwrap_err();
    assert!(with_causes(&error).contains("/fake/journal.redb"));
    disk.with(|memory| memory.room = None);
    let held = held(&open(&disk).unwrap()).unwrap().len() as u64;
    assert!(held >= acknowledged * 20, "{held} records of {acknowledged} groups");
}

#[test]
fn the_journal_is_one_file_and_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.redb");
    let log = RedbLog::open(&path).unwrap();
    let token = log.acquire("test").unwrap();
    log.append(token, &[record(1)]).unwrap();
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names, [path]);
}

/// The image of a journal with some hundred records, closed in good order or not, and the records before its last commit.
fn written(in_good_order: bool) -> (Vec<u8>, Vec<Lsn>, usize) {
    let disk = FakeDisk::default();
    let log = open(&disk).unwrap();
    let token = log.acquire("test").unwrap();
    for group in 0..20 {
        let records: Vec<Record> = (1..=10).map(|number| record(group * 10 + number)).collect();
        log.append(token, &records).unwrap();
    }
    let image = disk.with(|memory| memory.live.clone());
    let positions = held(&log).unwrap();
    drop(log);
    let image = if in_good_order { disk.with(|memory| memory.live.clone()) } else { image };
    (image, positions, 190)
}

#[test]
fn a_changed_byte_is_refused_or_changes_no_record() {
    for in_good_order in [true, false] {
        let (image, records, before_last) = written(in_good_order);
        let mut refused = BTreeSet::new();
        for offset in (0..image.len()).step_by(509) {
            let mut damaged = image.clone();
            damaged[offset] ^= 0x41;
            let found = open(&FakeDisk::holding(damaged)).and_then(|log| held(&log));
            match found {
                Err(_) => {
                    refused.insert(offset);
                }
                Ok(found) if found == records => {}
                // A newest commit that is damaged after an unfinished stop cannot be told from one that was never finished.
                Ok(found) => assert!(
                    !in_good_order && found == records[..before_last],
                    "byte {offset}: {} of {} records, without a word",
                    found.len(),
                    records.len()
                ),
            }
        }
        assert!(refused.len() > 50, "{} refused of {} bytes", refused.len(), image.len());
    }
}

#[test]
fn a_file_that_lost_its_end_is_refused() {
    let (image, _, _) = written(true);
    for kept in [image.len() / 4, image.len() / 2, image.len() - 8_192, 300] {
        let found = open(&FakeDisk::holding(image[..kept].to_vec()));
        assert!(matches!(found, Err(JournalError::Open { .. })), "cut to {kept} bytes");
    }
}

#[test]
fn verify_tells_a_whole_journal_from_a_damaged_one_and_says_how_far_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.redb");
    let log = RedbLog::open(&path).unwrap();
    let token = log.acquire("test").unwrap();
    for group in 0..40 {
        let records: Vec<Record> = (1..=10).map(|number| record(group * 10 + number)).collect();
        log.append(token, &records).unwrap();
    }
    drop(log);
    assert_eq!(examine::verify(&path), (400, Vec::new()));

    let mut bytes = std::fs::read(&path).unwrap();
    // The meter record of number 200: 240 bytes of 0xc8 stand nowhere else.
    let at = bytes.windows(240).position(|meter| meter.iter().all(|byte| *byte == 200)).unwrap();
    bytes[at] ^= 1;
    std::fs::File::options()
        .write(true)
        .truncate(true)
        .open(&path)
        .and_then(|mut file| io::Write::write_all(&mut file, &bytes))
        .unwrap();
    assert!(RedbLog::open(&path).is_err(), "no relayer starts on it");
    let (read, problems) = examine::verify(&path);
    assert!(problems[0].what.contains(&path.display().to_string()), "{problems:?}");
    assert!(read <= 400, "{read}");
}

#[test]
fn verify_names_the_record_that_is_missing_and_the_one_that_does_not_decode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.redb");
    let log = RedbLog::open(&path).unwrap();
    let token = log.acquire("test").unwrap();
    log.append(token, &(1..=9).map(record).collect::<Vec<_>>()).unwrap();
    log.append(token, &[Record::TicketIssued { challenge_payload: vec![1], device_key: vec![2; 33] }])
        .unwrap();
    log.damage(4, None);
    log.damage(7, Some(&[0xff, 0xff, 0xff]));
    assert!(matches!(held(&log), Err(JournalError::Gap { expected: 4, found: 5 })));
    drop(log);
    let (read, problems) = examine::verify(&path);
    let told: Vec<(Option<Lsn>, &str)> =
        problems.iter().map(|problem| (problem.lsn, problem.what.split(':').next().unwrap())).collect();
    assert_eq!(read, 9);
    assert_eq!(
        told,
        [
            (Some(4), "records 4 to 4 are missing"),
            (Some(7), "journal record 7 does not decode"),
            (Some(10), "TicketIssued")
        ]
    );
}
