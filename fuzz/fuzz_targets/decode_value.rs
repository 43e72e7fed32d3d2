//! Any bytes as a value of every format: no panic, no allocation beyond the input's size, and what
//! decodes encodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neokv_encoding::{
    double,
    identity::Identity,
    marker::{self, Marker},
    metadata::{self, Metadata},
    raft::{LogId, Membership, Vote},
    region::{Applied, Descriptor, Replica},
    slot_stats::SlotStats,
    snapshot::Manifest,
    synced::SyncedNote,
    v1,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(metadata) = Metadata::decode(bytes) {
        assert_eq!(metadata.encode(), bytes);
        assert_eq!(metadata::decode_header(bytes), Ok((metadata.kind(), metadata.expire_ms())));
    }
    if let Ok((expire_ms, payload)) = v1::decode_value(bytes) {
        assert_eq!(v1::encode_value(expire_ms, payload), bytes);
    }
    if let Ok(score) = double::decode_value(bytes) {
        assert_eq!(double::encode_value(score), bytes);
    }
    if let Ok(value) = LogId::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Vote::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Membership::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Descriptor::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Applied::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Replica::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = SlotStats::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Manifest::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = SyncedNote::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(Marker::Current { tag }) = Marker::decode(bytes) {
        assert_eq!(marker::encode(tag).as_bytes(), bytes);
    }
    if let Ok(value) = Identity::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
});
