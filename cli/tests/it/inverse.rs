//! What `explain` calls the inverse really is: run as a command it gives the same bytes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use bytes::Bytes;
use neoctl::output::stored_key::Decoded;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind, RegionKind, UserKey};

use crate::golden::neoctl_with;

#[test]
fn every_key_can_be_made_again() {
    let all: Vec<u8> = (0..=255).collect();
    let mut keys = vec![
        (Family::Default, key::IDENTITY.to_vec()),
        (Family::Default, key::ingest(u64::MAX)),
        (Family::RaftLog, key::raft_log(u64::MAX, 42).to_vec()),
        (Family::RaftState, key::raft_state(1, RaftStateKind::Purged).to_vec()),
        (Family::Region, key::region(9, RegionKind::Replica).to_vec()),
        (Family::SlotStats, key::slot_stats(16383, 0).to_vec()),
        (Family::SlotStats, key::slot_stats(0, u32::MAX).to_vec()),
    ];
    for name in [&b"foo"[..], b"", b"-x", b"-", b"hex:00", b"it's {here} $HOME", &all] {
        for namespace in [0, 7] {
            let user = UserKey::new(namespace, Bytes::copy_from_slice(name));
            keys.push((Family::Metadata, user.metadata()));
            keys.push((Family::Subkey, user.subkey(u64::MAX, name)));
            keys.push((Family::Subkey, user.v1_string()));
            keys.push((Family::ZsetScore, user.score(3, -0.1, name)));
            keys.push((Family::ZsetScore, user.score(3, f64::NEG_INFINITY, name)));
            keys.push((Family::Expire, user.expire(1_700_000_000_000)));
        }
    }
    for (family, bytes) in keys {
        let command = Decoded::of(family, &bytes).and_then(|key| key.command()).unwrap();
        let words =
            neokv_resp::inline::split_args(format!("neoctl -o json {command}").as_bytes()).unwrap();
        let arguments = words.into_iter().map(OsString::from_vec).collect();
        let (exit, stdout, stderr) = neoctl_with(arguments, b"", &HashMap::new(), None);
        assert_eq!(exit, 0, "{command}: {stderr}");
        assert!(
            stdout.contains(&format!("\"hex\": \"{}\"", hex::encode(&bytes))),
            "{command}: {stdout}"
        );
    }
}

#[test]
fn a_key_in_a_wrong_slot_has_no_inverse() {
    let mut key = UserKey::new(0, "foo".into()).metadata();
    key[1] ^= 1;
    assert!(Decoded::of(Family::Metadata, &key).unwrap().command().is_none());
}
