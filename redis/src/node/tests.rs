//! A node whose store has several Regions, over a socket: what concerns all of them, or one of
//! them, or none.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::BytesMut;
use neokv_encoding::slot::{SlotRange, slot_of};
use neokv_raftstore::{ProposeError, SplitPlan};
use neokv_resp::client::{Decoder, Value, encode_command};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Deployment, Node, NodeError, failure};
use crate::server::Context;
use crate::testing::stores::{inapplicable, settings};

/// The first slots of the Regions, and their end.
const BOUNDS: [u16; 4] = [0, 5000, 11000, 16384];
/// One key for each Region.
const KEYS: [&str; 3] = ["key:0", "key:1", "key:3"];

/// A running node with one connection to it.
struct Fixture {
    node: Node,
    stream: TcpStream,
    input: BytesMut,
    dir: TempDir,
}

impl Fixture {
    /// Three Regions, and these further options.
    async fn start(options: &[&str]) -> Fixture {
        Fixture::open(tempfile::tempdir().unwrap(), options).await
    }

    async fn open(dir: TempDir, options: &[&str]) -> Fixture {
        let mut node = open(&dir, options, &ranges()).await.unwrap();
        let port = node.serve().await.unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Fixture { node, stream, input: BytesMut::new(), dir }
    }

    async fn stop(self) -> TempDir {
        drop(self.stream);
        self.node.stop().await;
        self.dir
    }

    /// Sends commands in one go, a line each, and returns their replies.
    async fn pipeline(&mut self, lines: &[&str]) -> Vec<Value> {
        let mut out = BytesMut::new();
        for line in lines {
            encode_command(&line.split(' ').collect::<Vec<_>>(), &mut out);
        }
        self.stream.write_all(&out).await.unwrap();
        let (mut decoder, mut replies) = (Decoder::default(), Vec::new());
        while replies.len() < lines.len() {
            match decoder.next(&mut self.input).unwrap() {
                Some(reply) => replies.push(reply),
                None => {
                    let read = self.stream.read_buf(&mut self.input).await.unwrap();
                    assert_ne!(read, 0, "the server has closed the connection");
                }
            }
        }
        replies
    }

    async fn call(&mut self, line: &str) -> Value {
        self.pipeline(&[line]).await.remove(0)
    }

    /// A call whose reply is the text or the number, as text.
    async fn text(&mut self, line: &str) -> String {
        match self.call(line).await {
            Value::Integer(number) => number.to_string(),
            other => other.as_text().unwrap_or("nil").to_owned(),
        }
    }

    /// Sets `key:0` up to so many keys, with values alike.
    async fn fill(&mut self, count: u32) -> BTreeSet<String> {
        let names: BTreeSet<String> = (0..count).map(|n| format!("key:{n}")).collect();
        let lines: Vec<String> = names.iter().map(|name| format!("SET {name} v")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for reply in self.pipeline(&lines).await {
            assert_eq!(reply, Value::Simple("OK".to_owned()));
        }
        names
    }

    async fn keys(&mut self) -> BTreeSet<String> {
        texts(self.call("KEYS *").await)
    }
}

/// The slots of the Regions.
fn ranges() -> Vec<SlotRange> {
    BOUNDS.windows(2).map(|ends| SlotRange { start: ends[0], end: ends[1] }).collect()
}

/// A node that does not serve yet. Its first start makes Regions of these ranges.
async fn open(dir: &TempDir, options: &[&str], ranges: &[SlotRange]) -> Result<Node, NodeError> {
    let first_ranges = ranges.to_vec();
    let deployment = Deployment { first_ranges, ..Deployment::standalone(1) };
    Node::open(settings(dir, options), deployment).await
}

/// The strings of an array.
fn texts(value: Value) -> BTreeSet<String> {
    let Value::Array(items) = value else { panic!("{value:?} is no array") };
    items.iter().map(|item| item.as_text().unwrap().to_owned()).collect()
}

#[test]
fn the_keys_are_in_different_regions() {
    let region = |key: &str| BOUNDS.partition_point(|start| *start <= slot_of(key.as_bytes())) - 1;
    assert_eq!(KEYS.map(region), [0, 1, 2]);
}

#[tokio::test]
async fn commands_about_the_whole_keyspace_concern_every_region() {
    let mut server = Fixture::start(&[]).await;
    assert_eq!(server.text("RANDOMKEY").await, "nil");
    let names = server.fill(300).await;
    assert_eq!(server.text("DBSIZE").await, "300");
    assert_eq!(server.keys().await, names);
    let mut drawn = BTreeSet::new();
    for _ in 0..60 {
        let name = server.text("RANDOMKEY").await;
        assert!(names.contains(&name), "{name}");
        let slot = slot_of(name.as_bytes());
        drawn.insert(BOUNDS.partition_point(|start| *start <= slot));
    }
    assert_eq!(drawn.len(), 3, "a key of every region is drawn at times");
    let info = server.text("INFO keyspace").await;
    assert!(info.contains("keys=300,"), "{info}");
    assert_eq!(server.text("FLUSHALL").await, "OK");
    assert_eq!(server.text("DBSIZE").await, "0");
    assert_eq!(server.text("FLUSHDB nonsense").await, "ERR syntax error");
    server.stop().await;
}

#[tokio::test]
async fn a_scan_goes_through_all_regions_once() {
    let mut server = Fixture::start(&[]).await;
    let names = server.fill(300).await;
    for options in ["", " COUNT 1", " COUNT 1000", " MATCH key:*"] {
        let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
        loop {
            let reply = server.call(&format!("SCAN {cursor}{options}")).await;
            let Value::Array(parts) = reply else { panic!("{reply:?}") };
            let [next, Value::Array(page)] = parts.as_slice() else { panic!("{parts:?}") };
            found.extend(page.iter().map(|name| name.as_text().unwrap().to_owned()));
            cursor = next.as_text().unwrap().to_owned();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), 300, "{options}: each key once");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), names, "{options}");
    }
    assert_eq!(server.text("SCAN x").await, "ERR invalid cursor");
    server.stop().await;
}

#[tokio::test]
async fn keys_of_one_command_must_be_in_one_region() {
    let mut server = Fixture::start(&[]).await;
    let crossing = "CROSSSLOT Keys in request don't hash to the same slot";
    let [first, second, _] = KEYS;
    assert_eq!(server.text(&format!("MSET {first} 1 {second} 2")).await, crossing);
    assert_eq!(server.text(&format!("MGET {first} {second}")).await, crossing);
    assert_eq!(server.text("DBSIZE").await, "0", "nothing of a refused command takes effect");
    assert_eq!(server.text("MSET {a}1 1 {a}2 2").await, "OK");
    // Two keys with different slots of one Region: allowed, unless the server speaks as a cluster
    // node.
    let near = (0..).map(|n| format!("near:{n}"));
    let near: Vec<String> = near.filter(|key| slot_of(key.as_bytes()) < 5000).take(2).collect();
    let line = format!("MSET {} 1 {} 2", near[0], near[1]);
    assert_eq!(server.text(&line).await, "OK");
    server.stop().await;
    let mut server = Fixture::start(&["--cluster-mode"]).await;
    assert_eq!(server.text(&line).await, crossing);
    assert_eq!(server.text("MSET {a}1 1 {a}2 2").await, "OK");
    server.stop().await;
}

/// Writes that follow each other travel together only if they go to the same Region.
#[tokio::test]
async fn a_pipeline_over_several_regions_is_answered_in_order() {
    let mut server = Fixture::start(&[]).await;
    let lines: Vec<String> = (0..200)
        .map(|n| {
            let key = KEYS[n % 3];
            if n % 7 == 0 { "DBSIZE".to_owned() } else { format!("RPUSH {key} {n}") }
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut lengths = [0; 3];
    for (n, reply) in server.pipeline(&lines).await.into_iter().enumerate() {
        let expected = if n % 7 == 0 {
            lengths.iter().filter(|length| **length > 0).count() as i64
        } else {
            lengths[n % 3] += 1;
            lengths[n % 3]
        };
        assert_eq!(reply, Value::Integer(expected), "command {n}: {}", lines[n]);
    }
    server.stop().await;
}

/// Together the replies are larger than the limit of the output, so they come in several rounds.
#[tokio::test]
async fn large_replies_of_several_regions_come_one_after_the_other_and_in_order() {
    let mut server = Fixture::start(&["--client-output-buffer-limit", "1mb"]).await;
    let value = |key: &str, n: usize| format!("{key}-{n}-").repeat(40_000);
    for key in KEYS {
        assert_eq!(server.text(&format!("SET {key} {}", value(key, 0))).await, "OK");
    }
    let rounds = (1..=4).flat_map(|n| KEYS.map(|key| (key, n)));
    let lines: Vec<String> =
        rounds.clone().map(|(key, n)| format!("GETSET {key} {}", value(key, n))).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for ((key, n), reply) in rounds.zip(server.pipeline(&lines).await) {
        assert_eq!(reply.as_text(), Some(value(key, n - 1).as_str()), "{key} {n}");
    }
    server.stop().await;
}

/// Splits the Region of a slot there, behind the back of all clients.
async fn split(context: &Context, slot: u16, child: u64) {
    // A child takes a moment to start.
    let region = loop {
        match context.store.region_of_slot(slot) {
            Some(region) => break region,
            None => tokio::task::yield_now().await,
        }
    };
    region.wait_serving().await.unwrap();
    let plan = SplitPlan { slot, child, child_peers: vec![child] };
    region.split(region.descriptor().epoch, plan).await.unwrap();
}

#[tokio::test]
async fn clients_do_not_notice_a_split() {
    let mut server = Fixture::start(&[]).await;
    let names: Vec<String> = (0..200).map(|n| format!("key:{n}")).collect();
    // Each round goes through every key twice, so that the order of effects shows.
    let lines: Vec<String> = names
        .iter()
        .chain(&names)
        .map(|name| format!("INCR {name}"))
        .chain(["GET key:7".to_owned(), "DBSIZE".to_owned()])
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let context = Arc::clone(server.node.context());
    let splits = tokio::spawn(async move {
        for (child, slot) in (10..).zip((500..16_000).step_by(690)) {
            split(&context, slot, child).await;
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
    });
    let mut rounds = 0;
    while !splits.is_finished() || rounds < 3 {
        let replies = server.pipeline(&lines).await;
        for (place, reply) in replies[..400].iter().enumerate() {
            let expected = 2 * rounds + if place < 200 { 1 } else { 2 };
            assert_eq!(*reply, Value::Integer(expected), "round {rounds}: {}", lines[place]);
        }
        assert_eq!(replies[400].as_text(), Some((2 * rounds + 2).to_string().as_str()));
        assert_eq!(replies[401], Value::Integer(200));
        rounds += 1;
    }
    splits.await.unwrap();
    let regions = server.node.context().store.regions().len();
    assert!(regions > 20, "{regions} regions after the splits");
    let names: BTreeSet<String> = names.into_iter().collect();
    assert_eq!(server.keys().await, names);
    assert_eq!(server.text("FLUSHALL").await, "OK");
    assert_eq!(server.text("DBSIZE").await, "0");
    server.stop().await;
}

#[tokio::test]
async fn a_scan_that_began_before_a_split_misses_nothing() {
    let mut server = Fixture::start(&[]).await;
    let names = server.fill(300).await;
    let (mut cursor, mut found, mut child) = ("0".to_owned(), BTreeSet::new(), 10);
    loop {
        let reply = server.call(&format!("SCAN {cursor} COUNT 10")).await;
        let Value::Array(parts) = reply else { panic!("{reply:?}") };
        let [next, page] = parts.as_slice() else { panic!("{parts:?}") };
        found.extend(texts(page.clone()));
        cursor = next.as_text().unwrap().to_owned();
        if cursor == "0" {
            break;
        }
        let slot = u16::try_from(child * 500 + 123).unwrap();
        if slot < 16_000 {
            split(server.node.context(), slot, child).await;
            child += 1;
        }
    }
    assert_eq!(found, names);
    server.stop().await;
}

/// Stops the Region of a key with an entry that it cannot apply; returns its id.
async fn stop_region(context: &Context, key: &'static str) -> u64 {
    let region = context.store.region_of_slot(slot_of(key.as_bytes())).unwrap();
    let error = region.propose(region.descriptor().epoch, vec![inapplicable(key)]).await.err();
    assert!(matches!(error, Some(ProposeError::Unknown { .. })), "{error:?}");
    region.wait_stopped().await;
    region.id()
}

#[tokio::test]
async fn a_flush_does_nothing_where_a_region_has_stopped() {
    let mut server = Fixture::start(&[]).await;
    for key in KEYS {
        assert_eq!(server.text(&format!("SET {key} v")).await, "OK");
    }
    let context = Arc::clone(server.node.context());
    stop_region(&context, KEYS[2]).await;
    let reply = server.text("FLUSHALL").await;
    assert!(reply.starts_with("CLUSTERDOWN region 3 has stopped: "), "{reply}");
    assert_eq!(server.text(&format!("EXISTS {}", KEYS[0])).await, "1");
    assert_eq!(server.text(&format!("EXISTS {}", KEYS[1])).await, "1");
    let info = server.text("INFO commandstats").await;
    let line = info.lines().find(|line| line.starts_with("cmdstat_flushall:")).unwrap();
    assert!(line.contains("calls=0,") && line.ends_with("rejected_calls=1,failed_calls=0"));
    drop(context);
    server.stop().await;
}

#[tokio::test]
async fn a_node_whose_region_has_stopped_says_so() {
    let mut server = Fixture::start(&[]).await;
    let context = Arc::clone(server.node.context());
    let id = stop_region(&context, KEYS[1]).await;
    let NodeError::RegionStopped { region, why } = server.node.failed().await else {
        panic!("another failure")
    };
    assert_eq!(region, id);
    assert!(why.contains("is not a write"), "{why}");
    let reply = server.text(&format!("SET {} v", KEYS[1])).await;
    assert!(reply.starts_with("CLUSTERDOWN") && reply.contains("has stopped"), "{reply}");
    assert_eq!(server.text(&format!("SET {} v", KEYS[0])).await, "OK", "others go on");
    drop(context);
    server.stop().await;
}

/// Whoever still holds it sees that it has stopped.
#[tokio::test]
async fn a_region_that_is_removed_has_not_failed() {
    let mut server = Fixture::start(&[]).await;
    let context = Arc::clone(server.node.context());
    let region = context.store.region_of_slot(slot_of(KEYS[1].as_bytes())).unwrap();
    context.store.destroy(region.id()).await.unwrap();
    assert!(region.stopped().is_some());
    assert_eq!(failure(&region), None);
    assert_eq!(server.text(&format!("SET {} v", KEYS[0])).await, "OK", "others go on");
    // The next one that stops has failed, and is the one that the node tells of.
    let id = stop_region(&context, KEYS[2]).await;
    let NodeError::RegionStopped { region: failed, .. } = server.node.failed().await else {
        panic!("another failure")
    };
    assert_eq!(failed, id);
    drop((context, region));
    server.stop().await;
}

#[tokio::test]
async fn cluster_tells_of_one_node_with_all_slots() {
    let mut server = Fixture::start(&["--cluster-mode"]).await;
    server.fill(100).await;
    let info = server.text("CLUSTER INFO").await;
    assert!(info.starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"), "{info}");
    let nodes = server.text("CLUSTER NODES").await;
    assert!(nodes.ends_with(" connected 0-16383\n"), "{nodes}");
    for key in KEYS {
        let slot = slot_of(key.as_bytes());
        assert_eq!(server.text(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).await, "1", "{key}");
        let reply = server.call(&format!("CLUSTER GETKEYSINSLOT {slot} 10")).await;
        assert_eq!(texts(reply), BTreeSet::from([key.to_owned()]));
    }
    assert_eq!(server.text("CLUSTER COUNTKEYSINSLOT 16384").await, "ERR Invalid slot");
    server.stop().await;
}

#[tokio::test]
async fn a_later_start_finds_the_regions_of_the_first() {
    let mut server = Fixture::start(&[]).await;
    let names = server.fill(50).await;
    let dir = server.stop().await;
    let mut server = Fixture::open(dir, &[]).await;
    assert_eq!(server.keys().await, names);
    let context = Arc::clone(server.node.context());
    let starts: Vec<u16> =
        context.topology.regions().iter().map(|region| region.slots.start).collect();
    assert_eq!(starts, BOUNDS[..3]);
    drop(context);
    server.stop().await;
}

/// A start that has made the first, the second or two of the Regions is killed; the next one cuts
/// the keyspace elsewhere.
#[tokio::test]
async fn a_first_start_that_was_killed_leaves_no_slot_without_a_region() {
    for made in [vec![0], vec![1], vec![0, 2]] {
        let dir = tempfile::tempdir().unwrap();
        let some: Vec<SlotRange> = made.iter().map(|place| ranges()[*place]).collect();
        open(&dir, &[], &some).await.unwrap().stop().await;
        let other = [0, 8000, 16384];
        let other: Vec<SlotRange> =
            other.windows(2).map(|ends| SlotRange { start: ends[0], end: ends[1] }).collect();
        let node = open(&dir, &[], &other).await.unwrap();
        let mut covered = 0;
        for region in node.context().topology.regions() {
            assert_eq!(region.slots.start, covered, "{made:?}");
            covered = region.slots.end;
        }
        assert_eq!(covered, SlotRange::ALL.end, "{made:?}");
        node.stop().await;
        // Nothing is missing any more.
        let mut server = Fixture::open(dir, &[]).await;
        let names = server.fill(100).await;
        assert_eq!(server.keys().await, names);
        server.stop().await;
    }
}

#[tokio::test]
async fn expired_keys_are_removed_in_every_region() {
    let mut server = Fixture::start(&["--expire-interval", "10ms"]).await;
    for key in KEYS {
        assert_eq!(server.text(&format!("SET {key} v PX 1")).await, "OK");
    }
    for _ in 0..500 {
        if server.text("DBSIZE").await == "0" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(server.text("DBSIZE").await, "0");
    server.stop().await;
}

/// A replica that joins has no slots until its snapshot is installed.
#[tokio::test]
async fn a_replica_that_joins_is_not_asked() {
    let mut server = Fixture::start(&[]).await;
    let names = server.fill(20).await;
    let store = Arc::clone(&server.node.context().store);
    let joining = store.create_empty(4, 40).await.unwrap();
    assert!(joining.descriptor().slots.is_empty());
    assert_eq!(server.text("DBSIZE").await, "20");
    assert_eq!(server.keys().await, names);
    assert!(server.text("CLUSTER INFO").await.starts_with("cluster_state:ok\r\n"));
    assert!(server.text("CLUSTER NODES").await.ends_with(" connected 0-16383\n"));
    assert_eq!(server.text("FLUSHALL").await, "OK");
    assert_eq!(server.text("DBSIZE").await, "0");
    drop((store, joining));
    server.stop().await;
}
