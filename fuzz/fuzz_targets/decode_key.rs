//! Any bytes as a key of every family: no panic, and what decodes encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neokv_encoding::key::{
    self, DefaultKey, ExpireKey, ScoreKey, SubkeyFamilyRef, SubkeyKey, UserKey,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(user) = UserKey::decode_metadata(bytes) {
        assert_eq!(user.metadata(), bytes);
    }
    if let Ok(SubkeyKey { user, version, subkey }) = SubkeyKey::decode(bytes) {
        assert_eq!(user.subkey(version, &subkey), bytes);
    }
    if let Ok(SubkeyFamilyRef::V1String { slot, namespace, key }) = SubkeyFamilyRef::decode(bytes) {
        let user = UserKey { slot, namespace, key: key.to_vec().into() };
        assert_eq!(user.v1_string(), bytes);
    }
    if let Ok(ScoreKey { user, version, score, member }) = ScoreKey::decode(bytes) {
        assert_eq!(user.score(version, score, &member), bytes);
    }
    if let Ok(ExpireKey { slot, expire_ms, namespace, key }) = ExpireKey::decode(bytes) {
        assert_eq!(UserKey { slot, namespace, key }.expire(expire_ms), bytes);
    }
    if let Ok((region, index)) = key::decode_raft_log(bytes) {
        assert_eq!(key::raft_log(region, index), bytes);
    }
    if let Ok((region, kind)) = key::decode_raft_state(bytes) {
        assert_eq!(key::raft_state(region, kind), bytes);
    }
    if let Ok((region, kind)) = key::decode_region(bytes) {
        assert_eq!(key::region(region, kind), bytes);
    }
    if let Ok((slot, namespace)) = key::decode_slot_stats(bytes) {
        assert_eq!(key::slot_stats(slot, namespace), bytes);
    }
    if let Ok(DefaultKey::Ingest { region }) = key::decode_default(bytes) {
        assert_eq!(key::ingest(region), bytes);
    }
    let end = key::prefix_end(bytes);
    assert!(end.is_empty() || end.as_slice() > bytes);
});
