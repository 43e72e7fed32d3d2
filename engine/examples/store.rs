//! A tour of one store: write, read, freeze, delete a collection in one step, and watch its rows
//! disappear.
//!
//! ```text
//! cargo run -p neokv-engine --example store
//! ```

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{RegionKind, UserKey, region};
use neokv_encoding::metadata::{Collection, DataType};
use neokv_encoding::region::{Applied, Descriptor, Epoch, RegionState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Direction, Durability, Engine, KeyRange, Options, Read, Result};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path(), &Options::default())?;
    let key = UserKey::new(0, Bytes::from_static(b"planets"));
    let version = 7;

    // Metadata, rows and the Region's clock travel in one batch: all of them or none.
    let mut batch = engine.batch();
    batch.put(
        Family::Metadata,
        key.metadata(),
        Collection { size: 3, ..Collection::new(DataType::Hash, version) }.encode(),
    );
    for (name, moons) in [("earth", "1"), ("mars", "2"), ("venus", "0")] {
        batch.put(Family::Subkey, key.subkey(version, name.as_bytes()), moons);
    }
    let slots = SlotRange::ALL;
    let descriptor = Descriptor {
        id: 1,
        slots,
        epoch: Epoch::default(),
        peers: vec![],
        state: RegionState::Normal,
    };
    batch.put(Family::Region, region(1, RegionKind::Descriptor), descriptor.encode());
    batch.put(
        Family::Region,
        region(1, RegionKind::Applied),
        Applied { clock: version + 1, ..Applied::default() }.encode(),
    );
    println!("a batch of {} rows", batch.len());
    engine.write(batch, Durability::Synced)?;

    let snapshot = engine.snapshot();
    let mut batch = engine.batch();
    batch.delete(Family::Metadata, key.metadata());
    engine.write(batch, Durability::Synced)?;
    println!(
        "deleted by removing one record; rows in the store: {}",
        rows(&engine, &key, version)?
    );

    engine.flush()?;
    engine.compact(Family::Subkey, &KeyRange::all())?;
    println!(
        "compacted while a snapshot is open; rows it shows: {}",
        rows(&snapshot, &key, version)?
    );
    drop(snapshot);
    engine.compact(Family::Subkey, &KeyRange::all())?;
    println!("compacted after it closed; rows in the store: {}", rows(&engine, &key, version)?);
    println!("{:?}", engine.stats().orphans);
    Ok(())
}

fn rows(read: &dyn Read, key: &UserKey, version: u64) -> Result<usize> {
    let mut cursor = read.cursor(
        Family::Subkey,
        KeyRange::prefix(&key.subkey_prefix(version)),
        Direction::Forward,
    )?;
    let mut rows = 0;
    while cursor.next()?.is_some() {
        rows += 1;
    }
    Ok(rows)
}
