//! Golden scripts: exact bytes of every format, readable as documentation. See `tests/scripts`.
//!
//! Every encoding command prints `hex` and, tagged `[explain]`, the annotated bytes; and it fails
//! unless the bytes decode to what was encoded. `decode` shows what the server makes of bytes,
//! `!decode` exactly why it refuses them.
//!
//! | command | prints |
//! | --- | --- |
//! | `slot KEY…` | hash tag and slot |
//! | `double X…` | order-preserving bits |
//! | `key FORM ARGS…` | a key of any family |
//! | `string`, `collection`, `v1`, `score` | values of users' data |
//! | `log_id`, `vote`, `entry`, `replica`, `descriptor`, `applied`, `slot_stats`, `identity`, `manifest`, `synced_note`, `marker` | values of bookkeeping |
//! | `decode FORMAT HEX` | what a decoder returns |
//! | `explain key FAMILY HEX`, `explain value FAMILY KEY VALUE` | annotated bytes |
//! | `guess HEX` | every plausible reading |
//! | `bounds START END`, `prefix_end HEX` | ends of ranges |

use std::{collections::BTreeMap, error::Error, fmt::Debug, fmt::Write as _, path::Path};

use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use neokv_encoding::{
    DecodeError, double,
    explain::{self, Explained, render},
    family::Family,
    identity::Identity,
    key::{self, DefaultKey, ExpireKey, RaftStateKind, RegionKind, ScoreKey, SubkeyKey, UserKey},
    marker::{self, Marker},
    metadata::{self, Collection, DataType, Metadata},
    proto,
    raft::{Entry, LogId, Membership, Payload, Peer, PeerRole, Vote},
    region::{Applied, Descriptor, Epoch, RegionState, Replica, ReplicaState},
    slot::{self, SlotRange},
    slot_stats::SlotStats,
    snapshot::{File, Manifest},
    synced::SyncedNote,
    v1,
};
use prost::Message as _;
use test_each_file::test_each_path;

type Output = Result<String, Box<dyn Error>>;
type Args<'a> = ArgumentConsumer<'a>;

test_each_path! { in "encoding/tests/scripts" => run }

fn run(path: &Path) {
    if let Err(error) = goldenscript::run(&mut Formats, path) {
        panic!("{}: {error}", path.display());
    }
}

struct Formats;

impl Runner for Formats {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Output {
        let explained = context.tags.contains("explain");
        let mut args = command.consume_args();
        let (bytes, read) = match command.name.as_str() {
            "slot" => return slot_of_keys(&mut args),
            "double" => return double_bits(&mut args),
            "decode" => return decode(text(&mut args)?, &hex(&mut args)?),
            "explain" => return explain(&mut args),
            "guess" => return guess(&hex(&mut args)?),
            "bounds" => {
                let (start, end) = key::slot_bounds(SlotRange {
                    start: number(&mut args)?,
                    end: number(&mut args)?,
                });
                return Ok(format!("{} {}\n", hex::encode(start), hex::encode(end)));
            }
            "prefix_end" => {
                return Ok(format!("{}\n", hex::encode(key::prefix_end(&hex(&mut args)?))));
            }
            "key" => any_key(&mut args)?,
            "string" | "collection" | "v1" | "score" => {
                data_value(command.name.as_str(), &mut args)?
            }
            name => system_value(name, &mut args)?,
        };
        args.reject_next()?;
        let mut output = format!("{}\n", hex::encode(&bytes));
        if explained {
            let explained = read(&bytes);
            assert!(
                explained.is_clean(),
                "the server reads it, explain finds {:?}",
                explained.problems().next()
            );
            write!(output, "\n{}", render::text(&explained, &bytes))?;
        }
        Ok(output)
    }
}

type Explain = Box<dyn Fn(&[u8]) -> Explained>;
/// Bytes, and how to explain them.
type Encoded = (Vec<u8>, Explain);

fn as_key(family: Family) -> Explain {
    Box::new(move |bytes| explain::key(family, bytes))
}

fn as_value(family: Family, key: &[u8]) -> Explain {
    let key = key.to_vec();
    Box::new(move |bytes| explain::value(family, &key, bytes))
}

fn text<'a>(args: &mut Args<'a>) -> Result<&'a str, Box<dyn Error>> {
    args.next_pos().ok_or_else(|| "an argument is missing".into())
}

fn number<X: std::str::FromStr>(args: &mut Args<'_>) -> Result<X, Box<dyn Error>> {
    let text = text(args)?;
    text.parse().map_err(|_| format!("{text} is no number").into())
}

fn option<X: std::str::FromStr + Default>(
    args: &mut Args<'_>,
    name: &str,
) -> Result<X, Box<dyn Error>> {
    let Some(text) = args.take_key(name) else { return Ok(X::default()) };
    text.parse().map_err(|_| format!("{text} is no number").into())
}

fn hex(args: &mut Args<'_>) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(hex::decode(text(args)?)?)
}

fn slot_of_keys(args: &mut Args<'_>) -> Output {
    let mut out = String::new();
    while let Some(key) = args.next_pos() {
        let tag = slot::hash_tag(key.as_bytes()).escape_ascii();
        writeln!(out, "{key:?}: tag {tag}, slot {}", slot::slot_of(key.as_bytes()))?;
    }
    Ok(out)
}

fn double_bits(args: &mut Args<'_>) -> Output {
    let mut out = String::new();
    while let Some(text) = args.next_pos() {
        let score: f64 = text.parse()?;
        assert_eq!(double::decode(double::encode(score)), score);
        writeln!(out, "{score:?} => {:016x}", double::encode(score))?;
    }
    Ok(out)
}

fn any_key(args: &mut Args<'_>) -> Result<Encoded, Box<dyn Error>> {
    let form = text(args)?;
    if matches!(form, "raft_log" | "raft_state" | "region" | "slot_stats" | "identity" | "ingest") {
        return system_key(form, args);
    }
    let user =
        UserKey::new(option(args, "namespace")?, Bytes::copy_from_slice(text(args)?.as_bytes()));
    let version: u64 = option(args, "version")?;
    Ok(match form {
        "metadata" => {
            let bytes = user.metadata();
            assert_eq!(UserKey::decode_metadata(&bytes)?, user);
            (bytes, as_key(Family::Metadata))
        }
        "v1" => (user.v1_string(), as_key(Family::Subkey)),
        "prefix" => (user.subkey_prefix(version), as_key(Family::Subkey)),
        "element" => {
            (user.subkey(version, &number::<u64>(args)?.to_be_bytes()), as_key(Family::Subkey))
        }
        "subkey" => {
            let subkey = text(args)?.as_bytes();
            let bytes = user.subkey(version, subkey);
            assert_eq!(
                SubkeyKey::decode(&bytes)?,
                SubkeyKey { user, version, subkey: Bytes::copy_from_slice(subkey) }
            );
            (bytes, as_key(Family::Subkey))
        }
        "score" => {
            let (score, member) = (number(args)?, text(args)?.as_bytes());
            let bytes = user.score(version, score, member);
            let expected =
                ScoreKey { user, version, score, member: Bytes::copy_from_slice(member) };
            assert_eq!(ScoreKey::decode(&bytes)?, expected);
            (bytes, as_key(Family::ZsetScore))
        }
        "expire" => {
            let at = number(args)?;
            let bytes = user.expire(at);
            let UserKey { slot, namespace, key } = user;
            assert_eq!(
                ExpireKey::decode(&bytes)?,
                ExpireKey { slot, expire_ms: at, namespace, key }
            );
            (bytes, as_key(Family::Expire))
        }
        other => return Err(format!("no key form {other}").into()),
    })
}

fn system_key(form: &str, args: &mut Args<'_>) -> Result<Encoded, Box<dyn Error>> {
    if form == "identity" {
        return Ok((key::IDENTITY.to_vec(), as_key(Family::Default)));
    }
    let region: u64 = number(args)?;
    if form == "ingest" {
        let bytes = key::ingest(region);
        assert_eq!(key::decode_default(&bytes)?, DefaultKey::Ingest { region });
        return Ok((bytes, as_key(Family::Default)));
    }
    let what = text(args)?;
    Ok(match form {
        "slot_stats" => {
            let (slot, namespace) = (u16::try_from(region)?, what.parse()?);
            let bytes = key::slot_stats(slot, namespace);
            assert_eq!(key::decode_slot_stats(&bytes)?, (slot, namespace));
            (bytes.to_vec(), as_key(Family::SlotStats))
        }
        "raft_log" => {
            let index = what.parse()?;
            let bytes = key::raft_log(region, index);
            assert_eq!(key::decode_raft_log(&bytes)?, (region, index));
            (bytes.to_vec(), as_key(Family::RaftLog))
        }
        "raft_state" => {
            let kind =
                RaftStateKind::ALL.into_iter().find(|kind| kind.name() == what).ok_or("kind?")?;
            let bytes = key::raft_state(region, kind);
            assert_eq!(key::decode_raft_state(&bytes)?, (region, kind));
            (bytes.to_vec(), as_key(Family::RaftState))
        }
        _ => {
            let kind =
                RegionKind::ALL.into_iter().find(|kind| kind.name() == what).ok_or("kind?")?;
            let bytes = key::region(region, kind);
            assert_eq!(key::decode_region(&bytes)?, (region, kind));
            (bytes.to_vec(), as_key(Family::Region))
        }
    })
}

fn data_value(name: &str, args: &mut Args<'_>) -> Result<Encoded, Box<dyn Error>> {
    let expire_ms: u64 = option(args, "expire")?;
    let metadata = match name {
        "string" => {
            Metadata::String { expire_ms, value: Bytes::copy_from_slice(text(args)?.as_bytes()) }
        }
        "collection" => {
            let kind = DataType::from_name(text(args)?.as_bytes()).ok_or("no such type")?;
            let mut collection = Collection::new(kind, option(args, "version")?);
            collection.expire_ms = expire_ms;
            // A list of `size` elements of which `left` were pushed on the left.
            let left: u64 = option(args, "left")?;
            collection.size = option(args, "size")?;
            if kind == DataType::List {
                collection.head -= left;
                collection.tail = collection.head + collection.size;
            }
            Metadata::Collection(collection)
        }
        "score" => {
            let score: f64 = number(args)?;
            let bytes = double::encode_value(score).to_vec();
            assert_eq!(double::decode_value(&bytes)?.to_bits(), score.to_bits());
            return Ok((bytes, Box::new(|bytes| explain::part(DataType::Zset, bytes))));
        }
        _ => {
            let payload = text(args)?.as_bytes();
            let bytes = v1::encode_value(expire_ms, payload);
            assert_eq!(v1::decode_value(&bytes)?, (expire_ms, payload));
            return Ok((bytes, as_value(Family::Subkey, &UserKey::new(0, "k".into()).v1_string())));
        }
    };
    let bytes = metadata.encode();
    assert_eq!(Metadata::decode(&bytes)?, metadata);
    assert_eq!(metadata::decode_header(&bytes)?, (metadata.kind(), metadata.expire_ms()));
    Ok((bytes, as_value(Family::Metadata, b"")))
}

/// Encodes, and fails unless the bytes decode to the same.
fn same<X: PartialEq + Debug>(
    value: X,
    bytes: Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<X, DecodeError>,
) -> Vec<u8> {
    assert_eq!(decode(&bytes), Ok(value));
    bytes
}

fn system_value(name: &str, args: &mut Args<'_>) -> Result<Encoded, Box<dyn Error>> {
    let state = |kind| as_value(Family::RaftState, &key::raft_state(1, kind));
    let record = |kind| as_value(Family::Region, &key::region(1, kind));
    Ok(match name {
        "log_id" => {
            let log_id = LogId { term: number(args)?, index: number(args)? };
            (same(log_id, log_id.encode(), LogId::decode), state(RaftStateKind::Committed))
        }
        "vote" => {
            let node = args.take_key("node").map(str::parse).transpose()?;
            let vote = Vote { term: number(args)?, node, committed: option(args, "committed")? };
            (same(vote, vote.encode(), Vote::decode), state(RaftStateKind::Vote))
        }
        "entry" => {
            let log_id = LogId { term: number(args)?, index: number(args)? };
            let entry = Entry { log_id, payload: payload(args)? };
            assert_eq!(Entry::decode_log_id(&entry.encode())?, log_id);
            let bytes = same(entry.clone(), entry.encode(), |bytes| {
                Entry::decode(&Bytes::copy_from_slice(bytes))
            });
            (bytes, as_value(Family::RaftLog, &key::raft_log(1, log_id.index)))
        }
        "descriptor" => {
            let (id, slots) =
                (number(args)?, SlotRange { start: number(args)?, end: number(args)? });
            let epoch =
                Epoch { version: option(args, "version")?, conf_ver: option(args, "conf_ver")? };
            let peers = vec![
                Peer { id: 11, store: 1, role: PeerRole::Voter },
                Peer { id: 12, store: 2, role: PeerRole::Learner },
            ];
            let states = [RegionState::Normal, RegionState::Merging];
            let name = args.take_key("state").unwrap_or("normal");
            let state = states.into_iter().find(|state| state.name() == name).ok_or("state?")?;
            let descriptor = Descriptor { id, slots, epoch, peers, state };
            (
                same(descriptor.clone(), descriptor.encode(), Descriptor::decode),
                record(RegionKind::Descriptor),
            )
        }
        "applied" => {
            let log_id = Some(LogId { term: number(args)?, index: number(args)? });
            let applied =
                Applied { log_id, membership: membership(), clock: option(args, "clock")? };
            (same(applied.clone(), applied.encode(), Applied::decode), record(RegionKind::Applied))
        }
        "fresh_applied" => {
            let applied = Applied::default();
            (same(applied.clone(), applied.encode(), Applied::decode), record(RegionKind::Applied))
        }
        "replica" => {
            let states = [ReplicaState::Joining, ReplicaState::Member, ReplicaState::Tombstone];
            let name = args.take_key("state").unwrap_or("member");
            let state = states.into_iter().find(|state| state.name() == name).ok_or("state?")?;
            let replica = Replica { peer: number(args)?, state, epoch: EPOCH };
            (same(replica, replica.encode(), Replica::decode), record(RegionKind::Replica))
        }
        "slot_stats" => {
            let stats = SlotStats { keys: number(args)? };
            let key = key::slot_stats(8000, 0);
            (same(stats, stats.encode(), SlotStats::decode), as_value(Family::SlotStats, &key))
        }
        other => return store_value(other, args),
    })
}

/// Values that concern the store as a whole.
fn store_value(name: &str, args: &mut Args<'_>) -> Result<Encoded, Box<dyn Error>> {
    Ok(match name {
        "manifest" => {
            let manifest = manifest();
            (
                same(manifest.clone(), manifest.encode(), Manifest::decode),
                Box::new(explain::manifest),
            )
        }
        "synced_note" => {
            let (before, synced, log) = (number(args)?, number(args)?, number(args)?);
            let note = SyncedNote { tag: [0xa5; 16], before, synced, log };
            (same(note, note.encode().to_vec(), SyncedNote::decode), Box::new(explain::synced_note))
        }
        "marker" => {
            let marker = Marker::Current { tag: [0xa5; 16] };
            let text = marker::encode([0xa5; 16]);
            (same(marker, text.into(), Marker::decode), Box::new(explain::marker))
        }
        "identity" => {
            let identity = Identity {
                format_version: number(args)?,
                cluster_id: number(args)?,
                store_id: number(args)?,
            };
            (
                same(identity, identity.encode(), Identity::decode),
                as_value(Family::Default, key::IDENTITY),
            )
        }
        other => return Err(format!("no command {other}").into()),
    })
}

/// What entries were proposed for.
const EPOCH: Epoch = Epoch { version: 3, conf_ver: 2 };

fn manifest() -> Manifest {
    let file = |family, rows| File { family, rows, size: 1234, checksum: 0xdead_beef };
    Manifest {
        descriptor: Descriptor {
            id: 7,
            slots: SlotRange { start: 0, end: 8192 },
            epoch: EPOCH,
            peers: vec![Peer { id: 11, store: 1, role: PeerRole::Voter }],
            state: RegionState::Normal,
        },
        applied: Applied { log_id: Some(LogId { term: 2, index: 9 }), ..Applied::default() },
        files: vec![file(Family::Metadata, 3), file(Family::SlotStats, 1)],
    }
}

/// Joint consensus: peers 11, 12, 13 are replaced by 11, 12, 14.
fn membership() -> Membership {
    Membership {
        log_id: Some(LogId { term: 2, index: 9 }),
        configs: vec![[11, 12, 13].into(), [11, 12, 14].into()],
        nodes: BTreeMap::from([(11, 1), (12, 2), (13, 3), (14, 4)]),
    }
}

fn payload(args: &mut Args<'_>) -> Result<Payload, Box<dyn Error>> {
    use proto::{admin_command, write_command::Kind};
    let later = Some(proto::RegionEpoch { version: 4, conf_ver: 3 });
    let kind = match text(args)? {
        "blank" => return Ok(Payload::Blank),
        "membership" => return Ok(Payload::Membership(membership())),
        "opaque" => return Ok(Payload::Command { epoch: EPOCH, command: hex(args)?.into() }),
        "command" => {
            let (hlc, seed) = (option(args, "hlc")?, option(args, "seed")?);
            let (enough_bytes, command_bytes) = (option(args, "enough")?, option(args, "most")?);
            let mut words = Vec::new();
            while let Some(word) = args.next_pos() {
                words.push(Bytes::copy_from_slice(word.as_bytes()));
            }
            // A lone `;` separates commands.
            let namespace = option(args, "namespace")?;
            let commands = words.split(|word| &word[..] == b";").map(|args| proto::WriteCommand {
                namespace,
                kind: Some(Kind::Client(proto::ClientCommand { args: args.to_vec() })),
            });
            let commands = commands.collect();
            let request =
                proto::RedisWriteRequest { hlc, seed, commands, enough_bytes, command_bytes };
            let command = request.encode_to_vec().into();
            return Ok(Payload::Command { epoch: EPOCH, command });
        }
        "purge" => {
            let key = proto::ExpiredKey { key: "foo".into(), expire_ms: number(args)? };
            let purge = proto::WriteCommand {
                namespace: 0,
                kind: Some(Kind::Purge(proto::PurgeExpired { keys: vec![key] })),
            };
            let request = proto::RedisWriteRequest {
                hlc: option(args, "hlc")?,
                commands: vec![purge],
                ..Default::default()
            };
            let command = request.encode_to_vec().into();
            return Ok(Payload::Command { epoch: EPOCH, command });
        }
        "split" => {
            let peer = |id, store, learner| proto::RegionPeer { id, store, learner };
            let child_peers = vec![peer(21, 1, false), peer(22, 2, true)];
            admin_command::Kind::Split(proto::Split { slot: 8192, child: 2, child_peers })
        }
        "prepare_merge" => admin_command::Kind::PrepareMerge(proto::PrepareMerge {
            merge: 5,
            target: 1,
            target_epoch: later,
        }),
        "commit_merge" => admin_command::Kind::CommitMerge(proto::CommitMerge {
            merge: 5,
            source: 2,
            source_epoch: later,
            source_slots: Some(proto::Slots { start: 8192, end: 16384 }),
            source_clock: 111_411_200_000_000_003,
        }),
        "abort_merge" => admin_command::Kind::AbortMerge(proto::AbortMerge { merge: 5, source: 2 }),
        "rollback_merge" => admin_command::Kind::RollbackMerge(proto::RollbackMerge { merge: 5 }),
        "forget_tombstones" => {
            admin_command::Kind::ForgetTombstones(proto::ForgetTombstones { peers: vec![13, 300] })
        }
        other => return Err(format!("no payload {other}").into()),
    };
    Ok(Payload::Admin { epoch: EPOCH, command: proto::AdminCommand { kind: Some(kind) } })
}

fn decode(format: &str, bytes: &[u8]) -> Output {
    fn shown<X: Debug>(value: X) -> Output {
        Ok(format!("{value:?}\n"))
    }
    match format {
        "metadata_key" => shown(UserKey::decode_metadata(bytes)?),
        "subkey_key" => shown(SubkeyKey::decode(bytes)?),
        "score_key" => shown(ScoreKey::decode(bytes)?),
        "expire_key" => shown(ExpireKey::decode(bytes)?),
        "raft_log_key" => shown(key::decode_raft_log(bytes)?),
        "raft_state_key" => shown(key::decode_raft_state(bytes)?),
        "region_key" => shown(key::decode_region(bytes)?),
        "metadata" => shown(Metadata::decode(bytes)?),
        "header" => shown(metadata::decode_header(bytes)?),
        "v1" => shown(v1::decode_value(bytes)?),
        "score" => shown(double::decode_value(bytes)?),
        "log_id" => shown(LogId::decode(bytes)?),
        "vote" => shown(Vote::decode(bytes)?),
        "membership" => shown(Membership::decode(bytes)?),
        "entry" => shown(Entry::decode(&Bytes::copy_from_slice(bytes))?),
        "descriptor" => shown(Descriptor::decode(bytes)?),
        "applied" => shown(Applied::decode(bytes)?),
        "replica" => shown(Replica::decode(bytes)?),
        "slot_stats" => shown(SlotStats::decode(bytes)?),
        "slot_stats_key" => shown(key::decode_slot_stats(bytes)?),
        "manifest" => shown(Manifest::decode(bytes)?),
        "synced_note" => shown(SyncedNote::decode(bytes)?),
        "marker" => shown(Marker::decode(bytes)?),
        "default_key" => shown(key::decode_default(bytes)?),
        "identity" => shown(Identity::decode(bytes)?),
        "format_version" => shown(neokv_encoding::identity::format_version(bytes)?),
        other => Err(format!("no format {other}").into()),
    }
}

fn explain(args: &mut Args<'_>) -> Output {
    let what = text(args)?;
    let family = text(args)?;
    let family = Family::from_name(family).ok_or_else(|| format!("no family {family}"))?;
    let first = hex(args)?;
    if what == "key" {
        return Ok(render::text(&explain::key(family, &first), &first));
    }
    let value = hex(args)?;
    Ok(render::text(&explain::value(family, &first, &value), &value))
}

fn guess(bytes: &[u8]) -> Output {
    let mut out = String::new();
    for reading in explain::guess(bytes) {
        let problem = reading.problems().next().and_then(|span| span.problem.as_deref());
        let problem = problem.map(|problem| format!(", but {problem}")).unwrap_or_default();
        writeln!(out, "{}: {} bits{problem}", reading.what, reading.evidence)?;
    }
    Ok(out)
}
