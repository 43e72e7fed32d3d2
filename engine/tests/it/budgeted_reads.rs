//! Budgeted reads: what they see, and when they refuse.

use neokv_encoding::family::Family;
use neokv_engine::{
    BudgetedRead, Direction, Durability, Engine, EngineError, KeyRange, Read, ReadBudget, Result,
};

use crate::support::{drain, get, keys, open, put, put_hash, user};

const PLENTY: ReadBudget = ReadBudget { rows: 1000, bytes: 1 << 20 };

/// All rows of a family of collections that this read gets to see.
fn walk(read: &BudgetedRead<'_>, range: KeyRange, direction: Direction) -> Result<Vec<Vec<u8>>> {
    let mut cursor = read.cursor(Family::Subkey, range, direction)?;
    let mut rows = Vec::new();
    while let Some((key, _)) = cursor.next()? {
        rows.push(key.to_vec());
    }
    Ok(rows)
}

fn fields(engine: &Engine, count: usize) -> KeyRange {
    let names: Vec<String> = (0..count).map(|n| format!("f{n:05}")).collect();
    put_hash(engine, &user("h"), 1, &names.iter().map(String::as_str).collect::<Vec<_>>());
    KeyRange::prefix(&user("h").subkey_prefix(1))
}

#[test]
fn a_budgeted_read_sees_one_state_as_a_snapshot_does() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let range = fields(&engine, 50);
    let (read, snapshot) = (engine.budgeted_read(PLENTY), engine.snapshot());
    put(&engine, Family::Subkey, &user("h").subkey(1, b"late"), b"");
    put(&engine, Family::Metadata, b"late", b"");
    for direction in [Direction::Forward, Direction::Reverse] {
        let seen = walk(&read, range.clone(), direction).unwrap();
        assert_eq!(seen, keys(&snapshot, Family::Subkey, range.clone(), direction));
        assert_eq!(seen.len(), 50);
    }
    assert_eq!(get(&read, Family::Metadata, b"late"), None);
    assert_eq!(
        get(&read, Family::Subkey, &user("h").subkey(1, b"f00007")),
        Some(b"value".to_vec())
    );
    assert!(!read.is_spent());
    assert!((100..200).contains(&read.rows_read()), "{}", read.rows_read());
}

#[test]
fn rows_and_bytes_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let range = fields(&engine, 50);
    for budget in [ReadBudget { rows: 40, ..PLENTY }, ReadBudget { bytes: 500, ..PLENTY }] {
        let read = engine.budgeted_read(budget);
        assert!(matches!(
            walk(&read, range.clone(), Direction::Forward),
            Err(EngineError::BudgetExceeded)
        ));
        assert!(read.is_spent());
    }
    let read = engine.budgeted_read(ReadBudget { rows: 40, ..PLENTY });
    read.expect_rows(40).unwrap();
    assert!(!read.is_spent() && read.rows_read() == 0);
    assert!(matches!(read.expect_rows(41), Err(EngineError::BudgetExceeded)));
    assert!(read.is_spent() && read.rows_read() == 0);

    // Look-ups and jumps are limited, too.
    let read = engine.budgeted_read(ReadBudget { rows: 40, ..PLENTY });
    let looked_up = (0..40).map_while(|_| read.get(Family::Metadata, b"none").ok()).count();
    assert!((1..40).contains(&looked_up) && read.is_spent());
    let read = engine.budgeted_read(ReadBudget { rows: 40, ..PLENTY });
    let mut cursor = read.cursor(Family::Subkey, range, Direction::Forward).unwrap();
    let jumps = (0..40).map_while(|_| cursor.seek(&user("h").subkey(1, b"f00001")).ok()).count();
    assert!((1..40).contains(&jumps) && read.is_spent());
}

#[test]
fn a_walk_pays_for_rows_that_were_deleted_and_are_still_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let range = fields(&engine, 2000);
    let mut batch = engine.batch();
    for number in 0..1999 {
        batch.delete(Family::Subkey, user("h").subkey(1, format!("f{number:05}").as_bytes()));
    }
    engine.write_behind(vec![batch]).unwrap();
    for direction in [Direction::Forward, Direction::Reverse] {
        let read = engine.budgeted_read(ReadBudget { rows: 1000, ..PLENTY });
        let walked = walk(&read, range.clone(), direction);
        assert!(matches!(walked, Err(EngineError::BudgetExceeded)), "{walked:?}");
        assert!(read.is_spent());
        let read = engine.budgeted_read(ReadBudget { rows: 2100, ..PLENTY });
        assert_eq!(walk(&read, range.clone(), direction).unwrap().len(), 1);
    }
}

/// What memory has of the first fields, if it has all of them.
fn cached(read: &dyn Read, count: u32) -> Result<Option<Vec<Vec<u8>>>> {
    let key = |number: u32| user("h").subkey(1, format!("f{number:05}").as_bytes());
    let keys: Vec<u8> = (0..count).flat_map(key).collect();
    let mut values = Vec::new();
    let mut show = |value: &[u8]| values.push(value.to_vec());
    let has_all = read.get_cached(Family::Subkey, &keys, key(0).len(), &mut show)?;
    Ok(has_all.then_some(values))
}

#[test]
fn rows_that_a_walk_keeps_are_looked_up_without_rocksdb() {
    let dir = tempfile::tempdir().unwrap();
    let range = fields(&open(dir.path()), 20);
    let engine = open(dir.path());
    assert_eq!(cached(&engine.snapshot(), 20).unwrap(), None, "a start has nothing in memory");
    let old = engine.snapshot();
    put(&engine, Family::Subkey, &user("h").subkey(1, b"f00003"), &[b'n'; 3000]);
    let walked = engine.snapshot();
    let mut cursor = walked.cursor(Family::Subkey, range, Direction::Forward).unwrap();
    while let Some((key, value)) = cursor.next().unwrap() {
        walked.keep(Family::Subkey, key, value);
    }
    let read = engine.budgeted_read(PLENTY);
    let values = cached(&read, 20).unwrap().unwrap();
    let is_new = |(number, value): (usize, &Vec<u8>)| {
        *value == if number == 3 { vec![b'n'; 3000] } else { b"value".to_vec() }
    };
    assert!(values.len() == 20 && values.iter().enumerate().all(is_new));
    assert!((20..60).contains(&read.rows_read()), "{}", read.rows_read());
    // Of the row that was written since the older one must ask RocksDB.
    assert_eq!(cached(&old, 20).unwrap(), None);
    assert_eq!(cached(&old, 3).unwrap(), None, "younger than it, for all that is known");
    let spent = engine.budgeted_read(ReadBudget { rows: 10, ..PLENTY });
    assert!(matches!(cached(&spent, 20), Err(EngineError::BudgetExceeded)) && spent.is_spent());
    // A row that does not exist is for a walk to find out.
    engine_delete(&engine, b"f00005");
    assert_eq!(cached(&engine.snapshot(), 20).unwrap(), None);
    assert_eq!(cached(&engine.snapshot(), 5).unwrap().map(|values| values.len()), Some(5));
}

fn engine_delete(engine: &Engine, field: &[u8]) {
    let mut batch = engine.batch();
    batch.delete(Family::Subkey, user("h").subkey(1, field));
    engine.write_behind(vec![batch]).unwrap();
}

#[test]
fn a_budgeted_read_does_not_wait_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let range = fields(&engine, 50);
    engine.flush().unwrap();
    drop(engine);
    let engine = open(dir.path());
    let cold = engine.budgeted_read(PLENTY);
    assert!(matches!(
        walk(&cold, range.clone(), Direction::Forward),
        Err(EngineError::BudgetExceeded)
    ));
    assert!(cold.is_spent());
    let cold = engine.budgeted_read(PLENTY);
    assert!(matches!(
        cold.get(Family::Metadata, &user("h").metadata()),
        Err(EngineError::BudgetExceeded)
    ));
    assert!(cold.is_spent());
    // An ordinary read puts the blocks into the cache, where the next budgeted read finds them.
    let snapshot = engine.snapshot();
    assert_eq!(
        drain(&mut snapshot.cursor(Family::Subkey, range.clone(), Direction::Forward).unwrap())
            .len(),
        50
    );
    assert!(get(&snapshot, Family::Metadata, &user("h").metadata()).is_some());
    let warm = engine.budgeted_read(PLENTY);
    assert_eq!(walk(&warm, range, Direction::Forward).unwrap().len(), 50);
    assert!(get(&warm, Family::Metadata, &user("h").metadata()).is_some());
    assert!(!warm.is_spent());
}

#[test]
fn a_budgeted_read_does_not_pass_over_masses_of_deleted_rows() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let range = fields(&engine, 2000);
    let mut batch = engine.batch();
    for n in 0..1999 {
        batch.delete(Family::Subkey, user("h").subkey(1, format!("f{n:05}").as_bytes()));
    }
    engine.write(batch, Durability::Buffered).unwrap();
    for direction in [Direction::Forward, Direction::Reverse] {
        let read = engine.budgeted_read(PLENTY);
        assert!(
            matches!(walk(&read, range.clone(), direction), Err(EngineError::BudgetExceeded)),
            "{direction:?}"
        );
        assert!(read.is_spent());
    }
    assert_eq!(keys(&engine.snapshot(), Family::Subkey, range, Direction::Forward).len(), 1);
}
