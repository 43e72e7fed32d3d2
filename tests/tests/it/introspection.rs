//! What COMMAND tells about every command and subcommand that is served, compared with what
//! `redis-server` tells, field by field. Where the two differ on purpose, [`DIFFERENCES`] says why.

use std::collections::{BTreeMap, BTreeSet};

use neokv_resp::client::Value;
use neokv_tests::client::Connection;

use crate::support::{Both, ask, send, show, text};

/// The fields of COMMAND INFO in their order. The last one, the subcommands, are commands of their
/// own here.
const INFO_FIELDS: [&str; 9] = [
    "name",
    "arity",
    "flags",
    "first key",
    "last key",
    "step",
    "categories",
    "tips",
    "key specifications",
];

/// Long strings are rows of a fixed size: a part of one is read or written with its rows.
const CHUNKS: &str = "of a long string, the chunks that a command concerns are read or written";
/// Deleting drops one record, whatever it holds.
const ONE_RECORD: &str = "dropping a collection or a keyspace takes constant time";
/// Random elements are drawn by seeks in byte order.
const SEEKS: &str = "each element is found by a seek";
/// Lists are rows with an index, not linked nodes.
const INDEXED: &str = "elements of a list are found by their index";
/// Sorted sets are rows in order, without ranks.
const NO_RANKS: &str = "ranks are counted from the nearer end";
/// A command that clients of today send when they connect.
const NEWER: &str = "introduced after 7.0, served because clients send it when they connect";

/// Commands that differ on purpose: the command, the fields, the reason.
const DIFFERENCES: &[(&str, &[&str], &str)] = &[
    ("append", &["complexity"], CHUNKS),
    ("getrange", &["complexity"], CHUNKS),
    ("substr", &["complexity"], CHUNKS),
    ("setrange", &["complexity"], CHUNKS),
    ("del", &["complexity"], ONE_RECORD),
    ("unlink", &["complexity"], ONE_RECORD),
    ("flushdb", &["complexity"], ONE_RECORD),
    ("flushall", &["complexity"], ONE_RECORD),
    ("hrandfield", &["complexity"], SEEKS),
    ("spop", &["complexity"], SEEKS),
    ("srandmember", &["complexity"], SEEKS),
    ("lindex", &["complexity"], INDEXED),
    ("linsert", &["complexity"], INDEXED),
    ("lrange", &["complexity"], INDEXED),
    ("lset", &["complexity"], INDEXED),
    ("zrank", &["complexity"], NO_RANKS),
    ("zrevrank", &["complexity"], NO_RANKS),
    ("zrange", &["complexity"], NO_RANKS),
    ("zrevrange", &["complexity"], NO_RANKS),
    ("zremrangebyrank", &["complexity"], NO_RANKS),
    ("zcount", &["complexity"], NO_RANKS),
    ("zlexcount", &["complexity"], NO_RANKS),
    ("cluster|countkeysinslot", &["complexity"], "the keys of a slot are counted one by one"),
    ("client|setinfo", &["all"], NEWER),
    ("client|no-touch", &["all"], NEWER),
];

/// A description as fields with text, in which the order of sets does not count.
type Fields = BTreeMap<String, String>;

/// A value as text; sets and maps are sorted.
fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(canonical).collect::<Vec<_>>().join(" "),
        Value::Set(items) => {
            let items: BTreeSet<String> = items.iter().map(canonical).collect();
            format!("<{}>", items.into_iter().collect::<Vec<_>>().join(" "))
        }
        Value::Map(pairs) => {
            let pair = |(name, value): &(Value, Value)| (canonical(name), canonical(value));
            format!("{:?}", pairs.iter().map(pair).collect::<BTreeMap<_, _>>())
        }
        other => show(other),
    }
}

/// What COMMAND INFO and COMMAND DOCS tell about a command; `None` if it is not known.
fn describe(connection: &mut Connection, name: &str) -> Option<Fields> {
    let Value::Array(mut described) = send(connection, &format!("COMMAND INFO {name}")) else {
        panic!("COMMAND INFO {name} is no array")
    };
    let Value::Array(info) = described.remove(0) else { return None };
    assert_eq!(info.len(), INFO_FIELDS.len() + 1, "{name}");
    let info = INFO_FIELDS.iter().map(|field| (*field).to_owned()).zip(info.iter().map(canonical));
    let Value::Map(mut documents) = send(connection, &format!("COMMAND DOCS {name}")) else {
        panic!("COMMAND DOCS {name} is no map")
    };
    let Value::Map(document) = documents.remove(0).1 else { panic!("{name} has no document") };
    let document = document
        .iter()
        .map(|(field, value)| (text(field).to_owned(), canonical(value)))
        .filter(|(field, _)| field != "subcommands");
    Some(info.chain(document).collect())
}

/// The names of all commands and subcommands.
fn names(connection: &mut Connection) -> BTreeSet<String> {
    let Value::Array(names) = send(connection, "COMMAND LIST") else { panic!("no list") };
    names.iter().map(|name| text(name).to_owned()).collect()
}

#[test]
fn command_info_and_docs_are_those_of_redis() {
    let mut both = Both::start();
    for connection in [&mut both.neokv, &mut both.redis] {
        send(connection, "HELLO 3");
    }
    let mut wrong = Vec::new();
    let mut differing = BTreeSet::new();
    for name in names(&mut both.neokv) {
        let mine = describe(&mut both.neokv, &name).unwrap();
        let Some(theirs) = describe(&mut both.redis, &name) else {
            differing.insert((name, "all"));
            continue;
        };
        let fields: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
        for field in fields {
            let (mine, theirs) = (mine.get(field), theirs.get(field));
            if mine == theirs {
                continue;
            }
            let row = DIFFERENCES.iter().find(|(command, _, _)| *command == name);
            let known = row.and_then(|(_, known, _)| known.iter().find(|known| *known == field));
            match known {
                Some(known) => {
                    differing.insert((name.clone(), *known));
                }
                None => {
                    wrong.push(format!("{name}: {field}\n  is    {mine:?}\n  redis {theirs:?}"))
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let listed: BTreeSet<(String, &str)> = DIFFERENCES
        .iter()
        .flat_map(|(command, fields, _)| fields.iter().map(|field| ((*command).to_owned(), *field)))
        .collect();
    assert_eq!(differing, listed, "left: what differs; right: what DIFFERENCES lists");
}

/// One valid call of every command with keys, and more where the place of a key varies.
const CALLS: &[&str] = &[
    "APPEND a 1",
    "DECR a",
    "DECRBY a 1",
    "DEL a b",
    "EXISTS a b",
    "EXPIRE a 1",
    "EXPIREAT a 1",
    "EXPIRETIME a",
    "GET a",
    "GETDEL a",
    "GETEX a EX 1",
    "GETRANGE a 0 1",
    "GETSET a 1",
    "HDEL h f",
    "HEXISTS h f",
    "HGET h f",
    "HGETALL h",
    "HINCRBY h f 1",
    "HINCRBYFLOAT h f 1",
    "HKEYS h",
    "HLEN h",
    "HMGET h f g",
    "HMSET h f v",
    "HRANDFIELD h 1",
    "HSCAN h 0",
    "HSET h f v",
    "HSETNX h f v",
    "HSTRLEN h f",
    "HVALS h",
    "INCR a",
    "INCRBY a 1",
    "INCRBYFLOAT a 1",
    "LINDEX l 0",
    "LINSERT l BEFORE p v",
    "LLEN l",
    "LMOVE l m LEFT RIGHT",
    "LMPOP 2 l m LEFT",
    "LPOP l",
    "LPOS l v",
    "LPUSH l v",
    "LPUSHX l v",
    "LRANGE l 0 1",
    "LREM l 0 v",
    "LSET l 0 v",
    "LTRIM l 0 1",
    "MGET a b c",
    "MSET a 1 b 2",
    "MSETNX a 1 b 2",
    "PERSIST a",
    "PEXPIRE a 1",
    "PEXPIREAT a 1",
    "PEXPIRETIME a",
    "PSETEX a 1 v",
    "PTTL a",
    "RPOP l",
    "RPOPLPUSH l m",
    "RPUSH l v",
    "RPUSHX l v",
    "SADD s a",
    "SCARD s",
    "SDIFF s t",
    "SDIFFSTORE d s t",
    "SET a 1",
    "SET a 1 GET",
    "SETEX a 1 v",
    "SETNX a 1",
    "SETRANGE a 0 v",
    "SINTER s t",
    "SINTERCARD 2 s t LIMIT 1",
    "SINTERSTORE d s t",
    "SISMEMBER s a",
    "SMEMBERS s",
    "SMISMEMBER s a b",
    "SMOVE s t a",
    "SPOP s",
    "SRANDMEMBER s",
    "SREM s a",
    "SSCAN s 0",
    "STRLEN a",
    "SUBSTR a 0 1",
    "SUNION s t",
    "SUNIONSTORE d s t",
    "TOUCH a b",
    "TTL a",
    "TYPE a",
    "UNLINK a b",
    "ZADD z 1 m",
    "ZCARD z",
    "ZCOUNT z 0 1",
    "ZINCRBY z 1 m",
    "ZLEXCOUNT z - +",
    "ZMSCORE z m n",
    "ZPOPMAX z",
    "ZPOPMIN z",
    "ZRANGE z 0 1",
    "ZRANGEBYLEX z - +",
    "ZRANGEBYSCORE z 0 1",
    "ZRANK z m",
    "ZREM z m",
    "ZREMRANGEBYLEX z - +",
    "ZREMRANGEBYRANK z 0 1",
    "ZREMRANGEBYSCORE z 0 1",
    "ZREVRANGE z 0 1",
    "ZREVRANGEBYLEX z + -",
    "ZREVRANGEBYSCORE z 1 0",
    "ZREVRANK z m",
    "ZSCAN z 0",
    "ZSCORE z m",
];

#[test]
fn keys_of_calls_are_those_of_redis() {
    let mut both = Both::start();
    let mut called = BTreeSet::new();
    for call in CALLS {
        both.ask(&format!("COMMAND GETKEYS {call}"));
        both.ask(&format!("COMMAND GETKEYSANDFLAGS {call}"));
        called.insert(call.split(' ').next().unwrap().to_ascii_lowercase());
    }
    for call in ["GET", "PING a", "NOSUCH a", "LMPOP 9 l LEFT", "MSET a", "COMMAND GETKEYS GET a"] {
        both.ask(&format!("COMMAND GETKEYS {call}"));
    }
    let mut missing = Vec::new();
    for name in names(&mut both.neokv) {
        let info = ask(&mut both.neokv, &format!("COMMAND INFO {name}"));
        let has_keys = !info.contains("] 0 0 0 [") || info.contains("movablekeys");
        if has_keys && !called.contains(&name) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "no call in CALLS: {missing:?}");
}

/// What COMMAND LIST with a filter names is what Redis names, of those that are served.
#[test]
fn lists_by_category_and_pattern_are_those_of_redis() {
    let mut both = Both::start();
    let served = names(&mut both.neokv);
    let newer = |name: &String| matches!(name.as_str(), "client|setinfo" | "client|no-touch");
    let list = |connection: &mut Connection, filter: &str| -> BTreeSet<String> {
        let reply = send(connection, &format!("COMMAND LIST FILTERBY {filter}"));
        let Value::Array(names) = reply else { panic!("{filter}: {reply:?}") };
        names.iter().map(|name| text(name).to_owned()).collect()
    };
    let categories = [
        "keyspace",
        "read",
        "write",
        "set",
        "sortedset",
        "list",
        "hash",
        "string",
        "admin",
        "fast",
        "slow",
        "dangerous",
        "connection",
        "transaction",
        "scripting",
        "pubsub",
        "blocking",
    ];
    let mut filters: Vec<String> =
        categories.iter().map(|category| format!("ACLCAT {category}")).collect();
    filters.extend(["PATTERN z*", "PATTERN Config|*", "PATTERN *", "MODULE x"].map(str::to_owned));
    for filter in filters {
        let mut mine = list(&mut both.neokv, &filter);
        mine.retain(|name| !newer(name));
        let mut theirs = list(&mut both.redis, &filter);
        theirs.retain(|name| served.contains(name));
        assert_eq!(mine, theirs, "{filter}");
    }
}
