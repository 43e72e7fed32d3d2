//! What the tests share: small stores and the records of a Region.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{RegionKind, UserKey, region};
use neokv_encoding::metadata::{Collection, DataType};
use neokv_encoding::region::{Applied, Descriptor, Epoch, RegionState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Cursor, Direction, Durability, Engine, KeyRange, Options, Read};

pub fn options() -> Options {
    Options { block_cache_bytes: 8 << 20, low_space_bytes: 0, ..Options::default() }
}

pub fn open(dir: &Path) -> Engine {
    Engine::open(dir, &options()).unwrap()
}

pub fn put(engine: &Engine, family: Family, key: &[u8], value: &[u8]) {
    let mut batch = engine.batch();
    batch.put(family, key, value);
    engine.write(batch, Durability::Buffered).unwrap();
}

pub fn get(read: &dyn Read, family: Family, key: &[u8]) -> Option<Vec<u8>> {
    read.get(family, key).unwrap().map(|value| value.to_vec())
}

pub fn drain(cursor: &mut Cursor<'_>) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    while let Some((key, _)) = cursor.next().unwrap() {
        keys.push(key.to_vec());
    }
    keys
}

pub fn keys(
    read: &dyn Read,
    family: Family,
    range: KeyRange,
    direction: Direction,
) -> Vec<Vec<u8>> {
    drain(&mut read.cursor(family, range, direction).unwrap())
}

/// Region 1 over all slots, with this clock.
pub fn set_clock(engine: &Engine, clock: u64) {
    let descriptor = Descriptor {
        id: 1,
        slots: SlotRange::ALL,
        epoch: Epoch::default(),
        peers: vec![],
        state: RegionState::Normal,
    };
    put(engine, Family::Region, &region(1, RegionKind::Descriptor), &descriptor.encode());
    put(
        engine,
        Family::Region,
        &region(1, RegionKind::Applied),
        &Applied { clock, ..Applied::default() }.encode(),
    );
}

pub fn user(name: &'static str) -> UserKey {
    UserKey::new(0, Bytes::from_static(name.as_bytes()))
}

/// A hash with these fields, as apply writes it: metadata and rows in one batch.
pub fn put_hash(engine: &Engine, key: &UserKey, version: u64, fields: &[&str]) {
    let mut batch = engine.batch();
    let size = u64::try_from(fields.len()).unwrap();
    batch.put(
        Family::Metadata,
        key.metadata(),
        Collection { size, ..Collection::new(DataType::Hash, version) }.encode(),
    );
    for field in fields {
        batch.put(Family::Subkey, key.subkey(version, field.as_bytes()), b"value");
    }
    engine.write(batch, Durability::Buffered).unwrap();
}

/// What DEL writes.
pub fn del(engine: &Engine, key: &UserKey) {
    let mut batch = engine.batch();
    batch.delete(Family::Metadata, key.metadata());
    engine.write(batch, Durability::Buffered).unwrap();
}

/// Everything to files, and every file of both families of collections rewritten.
pub fn flush_and_compact(engine: &Engine) {
    engine.flush().unwrap();
    engine.compact(Family::Subkey, &KeyRange::all()).unwrap();
    engine.compact(Family::ZsetScore, &KeyRange::all()).unwrap();
}

/// Files of the directory with this extension, sorted.
pub fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// Copies the files of an open store: what a crash of the process would leave behind.
pub fn crash(engine: &Engine, to: &Path) {
    engine.wait_for_background_work().unwrap();
    copy(engine.dir(), to);
}

/// Copies a closed store.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
