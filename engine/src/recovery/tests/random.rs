//! Random histories of batches, syncs and logs, damaged at random: nothing that was synced is cut
//! off without a word, and what was never synced keeps no store from opening.

use super::*;
use crate::log_bytes::{Random, lose_pages};

/// One batch and where it stands in its log.
struct Written {
    begin: usize,
    end: usize,
    last: u64,
    /// What its note says.
    synced: u64,
}

#[derive(Default)]
struct Log {
    number: u64,
    bytes: Vec<u8>,
    batches: Vec<Written>,
    /// Bytes that were on the disk after the last sync.
    durable: usize,
}

impl Log {
    /// Appends a batch as RocksDB does.
    fn append(&mut self, all: &mut Vec<Vec<u8>>, batch: Vec<u8>, last: u64, synced: u64) {
        let begin = self.bytes.len();
        all.push(batch);
        self.bytes = log(all);
        self.batches.push(Written { begin, end: self.bytes.len(), last, synced });
    }
}

/// What a store wrote since it was opened, as far as its logs still exist.
struct Store {
    logs: Vec<Log>,
    /// The last write that was synced.
    synced: u64,
}

impl Store {
    fn run(random: &mut Random) -> Store {
        let mut logs = vec![Log { number: 4, ..Log::default() }];
        let (mut sequence, mut before) = (1 + random.below(500) as u64, 0);
        let (mut synced, mut synced_log) = (0, 0);
        // The batches of the current log.
        let mut current = Vec::new();
        for _ in 0..3 + random.below(25) {
            let log = logs.last_mut().unwrap();
            let count = 1 + u32::try_from(random.below(3)).unwrap();
            let length = [20, 200, 3000, 40_000][random.below(4)] + random.below(60);
            let note = SyncedNote { tag: TAG, before, synced, log: synced_log };
            let batch = noted(sequence, count, length, note);
            before = sequence + u64::from(count) - 1;
            log.append(&mut current, batch, before, synced);
            sequence = before + 1;
            if random.below(20) == 0 {
                // Files that were taken in use numbers up.
                sequence += random.below(30) as u64;
            }
            let mut number = log.number;
            if random.below(6) == 0 {
                number += 1 + random.below(3) as u64;
                logs.push(Log { number, ..Log::default() });
                current.clear();
            }
            if random.below(4) == 0 {
                synced = before;
                let holds = |log: &&Log| log.batches.last().is_some_and(|last| last.last == before);
                synced_log = logs.iter().find(holds).unwrap().number;
                logs.iter_mut().for_each(|log| log.durable = log.bytes.len());
            }
        }
        // Data files hold what was in the oldest logs.
        let deleted = random.below(2) * random.below(logs.len());
        logs.drain(..deleted);
        Store { logs, synced }
    }

    /// A directory with these bytes in the logs.
    fn dir(&self, bytes: &[Vec<u8>]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (log, bytes) in self.logs.iter().zip(bytes) {
            fs::write(path(&dir, log), bytes).unwrap();
        }
        dir
    }

    /// Checks that all batches up to a write are there.
    fn assert_holds(&self, dir: &tempfile::TempDir, up_to: u64, context: &str) {
        for log in &self.logs {
            let bytes = fs::read(path(dir, log)).unwrap();
            for batch in log.batches.iter().filter(|batch| batch.last <= up_to) {
                assert_eq!(
                    bytes.get(batch.begin..batch.end),
                    log.bytes.get(batch.begin..batch.end),
                    "{context}: the batch of {} of log {} is gone, {up_to} was synced",
                    batch.last,
                    log.number
                );
            }
        }
    }
}

fn path(dir: &tempfile::TempDir, log: &Log) -> PathBuf {
    dir.path().join(format!("{:06}.log", log.number))
}

#[test]
fn a_power_loss_never_keeps_a_store_from_opening_and_takes_nothing_that_was_synced() {
    let mut cuts = 0;
    for seed in 0..1500 {
        let mut random = Random(seed);
        let store = Store::run(&mut random);
        let mut bytes: Vec<_> = store.logs.iter().map(|log| log.bytes.clone()).collect();
        for (bytes, log) in bytes.iter_mut().zip(&store.logs) {
            lose_pages(bytes, log.durable, &mut random);
        }
        let dir = store.dir(&bytes);
        recover(dir.path(), &TAG, DamagedLog::Refuse)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        store.assert_holds(&dir, store.synced, &format!("seed {seed}"));
        cuts += usize::from(!kept(dir.path()).unwrap().is_empty());
        let left = read(&logs(dir.path()).unwrap(), &TAG).unwrap();
        assert!(matches!(left, Outcome::Whole | Outcome::Torn(_)), "seed {seed}: {left:?}");
    }
    assert!(cuts > 100, "only {cuts} holes");
}

#[test]
fn damage_anywhere_takes_nothing_that_a_batch_says_was_synced() {
    let (mut refused, mut opened) = (0, 0);
    for seed in 0..3000 {
        let mut random = Random(1_000_000 + seed);
        let store = Store::run(&mut random);
        let mut bytes: Vec<_> = store.logs.iter().map(|log| log.bytes.clone()).collect();
        // A stretch of one log, often its beginning.
        let which = random.below(bytes.len());
        let length = bytes[which].len();
        if length == 0 {
            continue;
        }
        let from = random.below(2) * random.below(length);
        let to = from + 1 + random.below(length - from);
        let fill = [0, 0xff][random.below(2)];
        bytes[which][from..to].fill(fill);
        // What the batches that are left say. That they can be read is part of the claim.
        let is_left =
            |log: usize, batch: &&Written| log != which || batch.end <= from || to <= batch.begin;
        let left = store.logs.iter().enumerate().flat_map(|(log, written)| {
            written.batches.iter().filter(move |batch| is_left(log, batch))
        });
        let promised = left.map(|batch| batch.synced).max().unwrap_or(0);
        let dir = store.dir(&bytes);
        match recover(dir.path(), &TAG, DamagedLog::Refuse) {
            Ok(()) => {
                opened += 1;
                store.assert_holds(&dir, promised, &format!("seed {seed}"));
            }
            Err(EngineError::Corruption { .. }) => refused += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    assert!(refused > 100 && opened > 100, "{refused} refused, {opened} opened");
}
