//! What a transaction keeps true, whatever the order of its calls.

use bytes::Bytes;
use neokv_encoding::metadata::DataType;
use neokv_engine::Durability;

use super::*;
use crate::testing::{Bench, START_MS};

/// Runs one transaction and writes it, as the machine does.
fn transact(bench: &mut Bench, now_ms: u64, work: impl FnOnce(&mut Tx<'_>)) {
    let mut batch = bench.engine.batch();
    bench.clock += 1;
    let mut tx = Tx::new(TxSource {
        batch: &mut batch,
        now_ms,
        version: bench.clock,
        seed: 1,
        namespace: 0,
        slots: SlotRange::ALL,
        max_bytes: u64::MAX,
    });
    work(&mut tx);
    bench.engine.write(batch, Durability::Buffered).unwrap();
}

#[test]
fn any_sequence_of_writes_keeps_index_and_count_in_step() {
    let mut bench = Bench::new();
    let mut random = SplitMix64::new(11);
    let keys = [Bytes::from_static(b"a"), Bytes::from_static(b"b"), Bytes::from_static(b"c")];
    for step in 0..3000u64 {
        let now_ms = START_MS + step;
        transact(&mut bench, now_ms, |tx| {
            // Several calls in one transaction see each other.
            for _ in 0..1 + random.below(4) {
                let key = &keys[usize::try_from(random.below(3)).unwrap()];
                // Often it has expired already, or will soon.
                let expire_ms = if random.below(3) == 0 { 0 } else { now_ms - 2 + random.below(6) };
                match random.below(9) {
                    0 | 1 => tx.set_string(key, b"v", expire_ms).unwrap(),
                    2 => drop(tx.delete(key).unwrap()),
                    3 => drop(tx.set_expiry(key, expire_ms).unwrap()),
                    4 => {
                        if let Ok(mut set) = tx.open(key, DataType::Set) {
                            let member = random.next_u64().to_be_bytes();
                            tx.put_subkey(&set, &member, b"").unwrap();
                            set.meta.size += 1;
                            tx.save(set).unwrap();
                        }
                    }
                    5 => {
                        let mut hash = tx.open_fresh(key, DataType::Hash).unwrap();
                        hash.meta.size = random.below(2);
                        tx.save(hash).unwrap();
                    }
                    6 => {
                        if let Ok(Some(mut set)) = tx.existing(key, DataType::Set) {
                            set.meta.size = 0;
                            tx.save(set).unwrap();
                        }
                    }
                    7 => tx.purge(key, now_ms - 1).map(|_| ()).unwrap(),
                    _ => {
                        if let Ok(entry) = tx.string_entry(key) {
                            tx.put_string(&entry, b"w", entry.expire_ms()).unwrap();
                        }
                    }
                }
            }
        });
        if step % 50 == 0 {
            bench.check_invariants();
        }
    }
    bench.check_invariants();
}

#[test]
fn a_header_that_has_not_changed_is_not_written() {
    let mut bench = Bench::new();
    bench.run("HSET h f v");
    let mut batch = bench.engine.batch();
    let mut tx = Tx::new(TxSource {
        batch: &mut batch,
        now_ms: START_MS,
        version: 99,
        seed: 1,
        namespace: 0,
        slots: SlotRange::ALL,
        max_bytes: u64::MAX,
    });
    let hash = tx.open(&Bytes::from_static(b"h"), DataType::Hash).unwrap();
    tx.put_subkey(&hash, b"f", b"w").unwrap();
    tx.save(hash).unwrap();
    drop(tx);
    assert_eq!(batch.len(), 1);
}

/// Also a number of keys may be damaged. No Region stops for it.
#[test]
fn a_damaged_number_of_keys_stops_no_write() {
    let mut bench = Bench::new();
    bench.run("SET a v");
    let slot = neokv_encoding::slot::slot_of(b"a");
    bench.put(Family::SlotStats, &key::slot_stats(slot, 0), SlotStats { keys: 0 }.encode());
    assert_eq!(bench.run("DEL a"), "1");
    bench.run("SET a v");
    let other = key::slot_stats(slot - 1, 0);
    bench.put(Family::SlotStats, &other, SlotStats { keys: u64::MAX }.encode());
    let reply = bench.run("DBSIZE");
    assert!(reply.starts_with("ERR a stored record is damaged: "), "{reply}");
    bench.run("FLUSHALL");
}
