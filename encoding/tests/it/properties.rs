//! Laws that hold for any input: order, round trip, totality, tiling, and that explain and the
//! decoders agree.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use neokv_encoding::{
    DecodeError,
    chunk::LONGEST_WHOLE,
    double,
    explain::{self, Explained, Span, render},
    family::Family,
    identity::Identity,
    key::{
        self, ExpireKey, RaftStateKind, RegionKind, ScoreKey, SubkeyFamilyRef, SubkeyKey, UserKey,
    },
    marker::Marker,
    metadata::{self, Collection, DataType, Metadata},
    proto,
    raft::{Entry, LogId, Membership, Payload, Peer, PeerRole, Vote},
    region::{Applied, Descriptor, Epoch, RegionState, Replica},
    slot::{self, SlotRange},
    slot_stats::SlotStats,
    snapshot::{File, Manifest},
    synced::SyncedNote,
    v1,
};
use proptest::{collection::vec, prelude::*};
use prost::Message as _;

/// Few values, often equal and often prefixes of each other: these are where an order that is wrong
/// shows.
fn word() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        vec(prop::sample::select(vec![0_u8, 1, b'S', b'{', b'}', 0xfe, 0xff]), 0..6),
        vec(any::<u8>(), 0..20)
    ]
    .prop_map(Bytes::from)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..4, Just(u64::MAX), Just(1 << 56), any::<u64>()]
}

/// A number that is counted up: terms, indexes, epochs, clocks.
fn counter() -> impl Strategy<Value = u64> {
    number().prop_map(|number| number >> 1)
}

fn score() -> impl Strategy<Value = f64> {
    let special = prop::sample::select(vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
    ]);
    prop_oneof![special, any::<f64>()].prop_filter("NaN", |score| !score.is_nan())
}

fn user() -> impl Strategy<Value = UserKey> {
    (0_u32..3, word()).prop_map(|(namespace, key)| UserKey::new(namespace, key))
}

fn log_id() -> impl Strategy<Value = LogId> {
    (counter(), counter()).prop_map(|(term, index)| LogId { term, index })
}

fn membership() -> impl Strategy<Value = Membership> {
    let config = prop::collection::btree_set(number(), 0..4);
    let nodes = prop::collection::btree_map(number(), number(), 0..4);
    (prop::option::of(log_id()), vec(config, 0..3), nodes)
        .prop_map(|(log_id, configs, nodes)| Membership { log_id, configs, nodes })
}

fn peer() -> impl Strategy<Value = Peer> {
    (number(), number(), any::<bool>()).prop_map(|(id, store, learner)| Peer {
        id,
        store,
        role: if learner { PeerRole::Learner } else { PeerRole::Voter },
    })
}

fn descriptor() -> impl Strategy<Value = Descriptor> {
    let state = prop::sample::select(vec![RegionState::Normal, RegionState::Merging]);
    let slots = (0..=slot::SLOTS, 0..=slot::SLOTS)
        .prop_map(|(a, b)| SlotRange { start: a.min(b), end: a.max(b) });
    (number(), slots, epoch(), vec(peer(), 0..4), state)
        .prop_map(|(id, slots, epoch, peers, state)| Descriptor { id, slots, epoch, peers, state })
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (counter(), counter()).prop_map(|(version, conf_ver)| Epoch { version, conf_ver })
}

fn applied() -> impl Strategy<Value = Applied> {
    (prop::option::of(log_id()), membership(), counter())
        .prop_map(|(log_id, membership, clock)| Applied { log_id, membership, clock })
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let family = prop::sample::select(Family::DATA.to_vec());
    let file = (family, number(), number(), any::<u32>())
        .prop_map(|(family, rows, size, checksum)| File { family, rows, size, checksum });
    (descriptor(), applied(), vec(file, 0..4)).prop_map(|(descriptor, applied, files)| Manifest {
        descriptor,
        applied,
        files,
    })
}

fn request() -> impl Strategy<Value = proto::RedisWriteRequest> {
    let client = vec(word(), 0..4)
        .prop_map(|args| proto::write_command::Kind::Client(proto::ClientCommand { args }));
    let key = (word(), number()).prop_map(|(key, expire_ms)| proto::ExpiredKey { key, expire_ms });
    let purge = vec(key, 0..3)
        .prop_map(|keys| proto::write_command::Kind::Purge(proto::PurgeExpired { keys }));
    let command = (any::<u32>(), prop::option::of(prop_oneof![client, purge]))
        .prop_map(|(namespace, kind)| proto::WriteCommand { namespace, kind });
    (number(), number(), vec(command, 0..4), number(), number()).prop_map(
        |(hlc, seed, commands, enough_bytes, command_bytes)| proto::RedisWriteRequest {
            hlc,
            seed,
            commands,
            enough_bytes,
            command_bytes,
        },
    )
}

fn payload() -> impl Strategy<Value = Payload> {
    let forget = vec(number(), 0..4).prop_map(|peers| proto::AdminCommand {
        kind: Some(proto::admin_command::Kind::ForgetTombstones(proto::ForgetTombstones { peers })),
    });
    prop_oneof![
        Just(Payload::Blank),
        (epoch(), request()).prop_map(|(epoch, request)| {
            Payload::Command { epoch, command: request.encode_to_vec().into() }
        }),
        membership().prop_map(Payload::Membership),
        (epoch(), forget).prop_map(|(epoch, command)| Payload::Admin { epoch, command }),
    ]
}

fn metadata_value() -> impl Strategy<Value = Metadata> {
    let string =
        (number(), word()).prop_map(|(expire_ms, value)| Metadata::String { expire_ms, value });
    let kind =
        prop::sample::select(vec![DataType::Hash, DataType::List, DataType::Set, DataType::Zset]);
    let collection = (kind, number(), number(), 0..u64::MAX / 2, number()).prop_map(
        |(kind, expire_ms, version, size, head)| {
            let (head, tail) = match kind {
                DataType::List => (head.min(u64::MAX / 2), head.min(u64::MAX / 2) + size),
                _ => (0, 0),
            };
            Metadata::Collection(Collection { kind, expire_ms, version, size, head, tail })
        },
    );
    let chunked =
        (number(), number(), LONGEST_WHOLE + 1..1 << 63).prop_map(|(expire_ms, version, size)| {
            let string = Collection::new(DataType::String, version);
            Metadata::Collection(Collection { expire_ms, size, ..string })
        });
    prop_oneof![string, collection, chunked]
}

/// Random bytes, and bytes that are nearly right: valid ones with a byte changed, cut or added.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let valid = prop_oneof![
        (user(), number(), word()).prop_map(|(user, version, part)| user.subkey(version, &part)),
        (user(), number(), score(), word())
            .prop_map(|(user, version, score, part)| user.score(version, score, &part)),
        (user(), number()).prop_map(|(user, at)| user.expire(at)),
        user().prop_map(|user| user.v1_string()),
        metadata_value().prop_map(|value| value.encode()),
        (log_id(), payload()).prop_map(|(log_id, payload)| Entry { log_id, payload }.encode()),
        descriptor().prop_map(|value| value.encode()),
        request().prop_map(|request| request.encode_to_vec()),
        (log_id(), membership(), counter()).prop_map(|(id, membership, clock)| Applied {
            log_id: Some(id),
            membership,
            clock
        }
        .encode()),
    ];
    let damaged = (valid, any::<prop::sample::Index>(), any::<u8>(), 0..4).prop_map(
        |(mut bytes, at, byte, how)| {
            let place = at.index(bytes.len().max(1));
            match how {
                0 if !bytes.is_empty() => bytes[place] = byte,
                1 => bytes.truncate(place),
                2 => bytes.push(byte),
                _ => {}
            }
            bytes
        },
    );
    prop_oneof![
        vec(any::<u8>(), 0..80),
        vec(prop::sample::select(vec![0, 1, 2, 8, 0x0a, 0x81, 0x83]), 0..40),
        damaged
    ]
}

/// The laws of an explanation.
fn check(explained: &Explained, input: &[u8]) {
    fn tiles(span: &Span) {
        let mut at = span.range.start;
        for child in &span.children {
            assert_eq!(child.range.start, at, "{} below {}", child.field, span.field);
            assert!(child.range.end >= at);
            at = child.range.end;
            tiles(child);
        }
        assert!(
            span.children.is_empty() || at == span.range.end,
            "{}: children end at {at}, not {:?}",
            span.field,
            span.range
        );
    }
    assert_eq!(explained.root.range, 0..input.len());
    tiles(&explained.root);
    let leaves: Vec<u8> =
        explained.leaves().flat_map(|leaf| input[leaf.range.clone()].to_vec()).collect();
    assert_eq!(leaves, input);
    assert!(!render::text(explained, input).is_empty());
}

/// Explained is clean exactly if the server accepts the bytes; `extra` problems are those that only
/// explain looks for.
fn agree<X>(decoded: &Result<X, DecodeError>, explained: &Explained, input: &[u8], extra: &str) {
    check(explained, input);
    let problem = explained.problems().find_map(|span| span.problem.clone());
    match (decoded, problem) {
        (Ok(_), None) => {}
        (Ok(_), Some(problem)) => {
            assert!(!extra.is_empty() && problem.contains(extra), "{input:02x?}: {problem}")
        }
        (Err(error), None) => {
            panic!("{input:02x?}: explain sees nothing wrong, the server says {error}")
        }
        (Err(_), Some(_)) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn data_keys_sort_as_tuples(
        a in (user(), number(), word()),
        b in (user(), number(), word()),
        s in score(),
        t in score(),
    ) {
        let name = |user: &UserKey| (user.slot, user.namespace, user.key.clone());
        let part_of = |user: &UserKey, version| {
            (user.slot, user.namespace, user.key.len(), user.key.clone(), version)
        };
        prop_assert_eq!(a.0.metadata().cmp(&b.0.metadata()), name(&a.0).cmp(&name(&b.0)));
        let tuples = (part_of(&a.0, a.1), &a.2).cmp(&(part_of(&b.0, b.1), &b.2));
        prop_assert_eq!(a.0.subkey(a.1, &a.2).cmp(&b.0.subkey(b.1, &b.2)), tuples);
        let expiries = (a.0.slot, a.1, a.0.namespace, &a.0.key)
            .cmp(&(b.0.slot, b.1, b.0.namespace, &b.0.key));
        prop_assert_eq!(a.0.expire(a.1).cmp(&b.0.expire(b.1)), expiries);
        let scores = s.partial_cmp(&t).unwrap().then_with(|| a.2.cmp(&b.2));
        prop_assert_eq!(a.0.score(7, s, &a.2).cmp(&a.0.score(7, t, &b.2)), scores);
        prop_assert_eq!(key::raft_log(a.1, 3).cmp(&key::raft_log(b.1, 3)), a.1.cmp(&b.1));
    }

    #[test]
    fn a_region_is_one_range_in_every_family(
        user in user(),
        n in number(),
        start in 0..slot::SLOTS,
        part in word(),
    ) {
        let range = SlotRange { start, end: (start + 100).min(slot::SLOTS) };
        let (first, end) = key::slot_bounds(range);
        let parts = [user.subkey(n, &part), user.score(n, 1.5, &part)];
        for key in parts.into_iter().chain([user.metadata(), user.expire(n), user.v1_string()]) {
            prop_assert_eq!(first <= key && key < end, range.contains(user.slot));
        }
        let slot_prefix = key::metadata_slot_prefix(user.slot, user.namespace);
        prop_assert!(user.metadata().starts_with(&slot_prefix));
        prop_assert!(user.subkey(n, &part).starts_with(&user.subkey_prefix(n)));
    }

    #[test]
    fn prefix_end_is_the_first_key_after(prefix in word(), more in word()) {
        let end = key::prefix_end(&prefix);
        let with = [&prefix[..], &more[..]].concat();
        prop_assert!(end.is_empty() || with < end);
        // Nothing between: the end without its last bit is still at or below some key with the
        // prefix.
        if let Some((last, head)) = end.split_last() {
            let mut before = head.to_vec();
            before.push(last - 1);
            prop_assert!(prefix.starts_with(&before) && !end.starts_with(&prefix));
        } else {
            prop_assert!(prefix.iter().all(|byte| *byte == 0xff));
        }
    }

    #[test]
    fn keys_round_trip(user in user(), n in number(), s in score(), part in word()) {
        prop_assert_eq!(&UserKey::decode_metadata(&user.metadata()).unwrap(), &user);
        let subkey = SubkeyKey { user: user.clone(), version: n, subkey: part.clone() };
        prop_assert_eq!(SubkeyKey::decode(&user.subkey(n, &part)).unwrap(), subkey);
        let score =
            ScoreKey { user: user.clone(), version: n, score: s + 0.0, member: part.clone() };
        prop_assert_eq!(ScoreKey::decode(&user.score(n, s, &part)).unwrap(), score);
        let (slot, namespace, name) = (user.slot, user.namespace, user.key.clone());
        let expire = ExpireKey { slot, expire_ms: n, namespace, key: name };
        prop_assert_eq!(ExpireKey::decode(&user.expire(n)).unwrap(), expire);
        let v1 = user.v1_string();
        let expected = SubkeyFamilyRef::V1String { slot, namespace, key: &user.key };
        prop_assert_eq!(SubkeyFamilyRef::decode(&v1).unwrap(), expected);
        prop_assert!(SubkeyKey::decode(&v1).is_err());
    }

    #[test]
    fn values_round_trip(
        meta in metadata_value(), d in descriptor(), m in membership(), id in log_id(),
        payload in payload(), node in prop::option::of(number()), committed in any::<bool>(),
        n in number(), count in counter(), part in word(), manifest in manifest(),
    ) {
        prop_assert_eq!(Metadata::decode(&meta.encode()).unwrap(), meta);
        let string = v1::encode_value(n, &part);
        prop_assert_eq!(v1::decode_value(&string).unwrap(), (n, &part[..]));
        prop_assert_eq!(Descriptor::decode(&d.encode()).unwrap(), d);
        prop_assert_eq!(Membership::decode(&m.encode()).unwrap(), m.clone());
        let applied = Applied { log_id: Some(id), membership: m, clock: count };
        prop_assert_eq!(Applied::decode(&applied.encode()).unwrap(), applied);
        let vote = Vote { term: count, node, committed };
        prop_assert_eq!(Vote::decode(&vote.encode()).unwrap(), vote);
        prop_assert_eq!(LogId::decode(&id.encode()).unwrap(), id);
        let stats = SlotStats { keys: n };
        prop_assert_eq!(SlotStats::decode(&stats.encode()), Ok(stats));
        prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        let entry = Entry { log_id: id, payload };
        prop_assert_eq!(Entry::decode(&entry.encode().into()).unwrap(), entry);
    }

    /// Whoever reads a term, an index, an epoch or a clock computes the next one.
    #[test]
    fn what_is_counted_up_is_refused_before_it_runs_over(
        big in (1_u64 << 63)..=u64::MAX, small in 0_u64..(1 << 63), m in membership(),
        d in descriptor(),
    ) {
        let invalid = |what| Err(DecodeError::Invalid { what, why: "no counter grows to 2^63" });
        for (id, what) in [
            (LogId { term: big, index: small }, "term"),
            (LogId { term: small, index: big }, "index"),
        ] {
            prop_assert_eq!(LogId::decode(&id.encode()).map(drop), invalid(what));
            let entry = Entry { log_id: id, payload: Payload::Blank }.encode();
            prop_assert_eq!(Entry::decode_log_id(&entry).map(drop), invalid(what));
            prop_assert_eq!(Entry::decode(&entry.into()).map(drop), invalid(what));
            let applied = Applied { log_id: Some(id), ..Applied::default() };
            prop_assert_eq!(Applied::decode(&applied.encode()).map(drop), invalid(what));
            let membership = Membership { log_id: Some(id), ..m.clone() };
            prop_assert_eq!(Membership::decode(&membership.encode()).map(drop), invalid(what));
        }
        let vote = Vote { term: big, node: None, committed: false };
        prop_assert_eq!(Vote::decode(&vote.encode()).map(drop), invalid("term"));
        let applied = Applied { clock: big, ..Applied::default() };
        prop_assert_eq!(Applied::decode(&applied.encode()).map(drop), invalid("clock"));
        for (epoch, what) in [
            (Epoch { version: big, conf_ver: small }, "version"),
            (Epoch { version: small, conf_ver: big }, "conf_ver"),
        ] {
            let descriptor = Descriptor { epoch, ..d.clone() };
            prop_assert_eq!(Descriptor::decode(&descriptor.encode()).map(drop), invalid(what));
            let payload = Payload::Command { epoch, command: Bytes::new() };
            let entry = Entry { log_id: LogId::default(), payload }.encode();
            prop_assert_eq!(Entry::decode(&entry.into()).map(drop), invalid(what));
        }
    }

    #[test]
    fn explain_agrees_with_every_decoder(input in bytes()) {
        let bytes = &input[..];
        let foreign = "hashes to slot";
        let key = |family| explain::key(family, bytes);
        agree(&UserKey::decode_metadata(bytes), &key(Family::Metadata), bytes, foreign);
        agree(&SubkeyFamilyRef::decode(bytes), &key(Family::Subkey), bytes, foreign);
        agree(&ScoreKey::decode(bytes), &key(Family::ZsetScore), bytes, foreign);
        agree(&ExpireKey::decode(bytes), &key(Family::Expire), bytes, foreign);
        agree(&key::decode_raft_log(bytes), &key(Family::RaftLog), bytes, "");
        agree(&key::decode_raft_state(bytes), &key(Family::RaftState), bytes, "");
        agree(&key::decode_region(bytes), &key(Family::Region), bytes, "");
        agree(&key::decode_slot_stats(bytes), &key(Family::SlotStats), bytes, "");
        agree(&key::decode_default(bytes), &key(Family::Default), bytes, "");

        let region = |kind| explain::value(Family::Region, &key::region(1, kind), bytes);
        let state = |kind| explain::value(Family::RaftState, &key::raft_state(1, kind), bytes);
        agree(&Metadata::decode(bytes), &explain::value(Family::Metadata, b"", bytes), bytes, "");
        agree(&Vote::decode(bytes), &state(RaftStateKind::Vote), bytes, "");
        agree(&LogId::decode(bytes), &state(RaftStateKind::Purged), bytes, "");
        agree(&Descriptor::decode(bytes), &region(RegionKind::Descriptor), bytes, "");
        agree(&Applied::decode(bytes), &region(RegionKind::Applied), bytes, "");
        agree(&Replica::decode(bytes), &region(RegionKind::Replica), bytes, "");
        let stats = explain::value(Family::SlotStats, &key::slot_stats(1, 0), bytes);
        agree(&SlotStats::decode(bytes), &stats, bytes, "");
        agree(&Manifest::decode(bytes), &explain::manifest(bytes), bytes, "");
        let identity = explain::value(Family::Default, key::IDENTITY, bytes);
        agree(&Identity::decode(bytes), &identity, bytes, "");
        agree(&SyncedNote::decode(bytes), &explain::synced_note(bytes), bytes, "");
        agree(&Marker::decode(bytes), &explain::marker(bytes), bytes, "");
        agree(&double::decode_value(bytes), &explain::part(DataType::Zset, bytes), bytes, "");
        let v1_key = UserKey::new(0, "k".into()).v1_string();
        agree(&v1::decode_value(bytes), &explain::value(Family::Subkey, &v1_key, bytes), bytes, "");
    }

    #[test]
    fn explain_agrees_with_prost(input in bytes()) {
        let bytes = Bytes::from(input);
        let refused = |_| DecodeError::Invalid { what: "message", why: "prost" };
        let request = proto::RedisWriteRequest::decode(bytes.clone()).map_err(refused);
        let explained = explain::write_request(&bytes);
        check(&explained, &bytes);
        // The server skips fields of a newer release, and groups inside them; explain calls them a
        // problem.
        let odd = explained.problems().any(|span| span.problem.as_deref().is_some_and(|problem| {
            problem.contains("has no field") || problem.contains("wire type")
        }));
        if !odd {
            agree(&request, &explained, &bytes, "");
        }
    }

    #[test]
    fn explain_is_total(input in bytes(), other in bytes()) {
        check(&explain::entry(&input), &input);
        for family in Family::ALL {
            check(&explain::value(family, &other, &input), &input);
        }
        for kind in DataType::ALL {
            check(&explain::part(kind, &input), &input);
        }
        let guesses = explain::guess(&input);
        prop_assert_eq!(&guesses.last().unwrap().what, "raw bytes");
        for guess in guesses {
            check(&guess, &input);
        }
        let _ = metadata::decode_header(&input);
        let _ = Entry::decode_log_id(&input);
        let _ = Membership::decode(&input);
    }

    #[test]
    fn a_command_entry_is_decoded_without_a_copy(command in vec(any::<u8>(), 1..50)) {
        let payload = Payload::Command { epoch: Epoch::default(), command: command.into() };
        let entry = Entry { log_id: LogId { term: 1, index: 2 }, payload };
        let bytes = Bytes::from(entry.encode());
        let decoded = Entry::decode(&bytes).unwrap().payload;
        let Payload::Command { command: inner, .. } = decoded else { unreachable!() };
        prop_assert!(bytes.as_ptr_range().contains(&inner.as_ptr()));
    }
}

#[test]
fn sets_have_one_encoding() {
    let forward = Membership {
        log_id: None,
        configs: vec![BTreeSet::from([1, 2])],
        nodes: BTreeMap::from([(1, 5), (2, 6)]),
    };
    let mut bytes = forward.encode();
    assert!(Membership::decode(&bytes).is_ok());
    // The two peers of the config swapped: the same set, but not the bytes that an encoder writes.
    let (first, second) = (10, 18);
    assert_eq!((bytes[first + 7], bytes[second + 7]), (1, 2));
    bytes.swap(first + 7, second + 7);
    assert_eq!(
        Membership::decode(&bytes),
        Err(DecodeError::Invalid { what: "peer", why: "peers are ascending and distinct" })
    );
}
