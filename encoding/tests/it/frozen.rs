//! Constants that are on disks. A change here is a change of the format: raise the version, keep
//! the old readable, and only then change this test.

use neokv_encoding::{FORMAT_VERSION, double, family::Family, key, metadata, slot, v1};

#[test]
fn constants() {
    assert_eq!(FORMAT_VERSION, 2);
    assert_eq!(slot::SLOTS, 16384);
    assert_eq!(key::IDENTITY, b"identity");
    assert_eq!(key::INGEST_PREFIX, b"ingest/");
    assert_eq!(v1::STRING, b'S');
    assert_eq!(metadata::LIST_MIDDLE, 0x7fff_ffff_ffff_ffff);
    assert_eq!(double::encode(0.0), 1 << 63);
    assert_eq!(
        Family::ALL.map(Family::name),
        [
            "default",
            "raft_log",
            "raft_state",
            "region",
            "metadata",
            "subkey",
            "zset_score",
            "expire",
            "slot_stats"
        ]
    );
    assert_eq!(
        Family::DATA.map(Family::name),
        ["metadata", "subkey", "zset_score", "expire", "slot_stats"]
    );
    assert_eq!(
        metadata::DataType::ALL.map(|kind| (kind as u8, kind.name())),
        [(1, "string"), (2, "hash"), (3, "list"), (4, "set"), (5, "zset")]
    );
}
