//! What a connection does whose Region has lost its majority, is led by another store, or is no
//! longer here. The tests run the connection themselves, so they know where it waits.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::poll;
use neokv_encoding::slot::slot_of;
use neokv_resp::client::{Decoder, Value, encode_command};
use tokio::net::{TcpListener, TcpStream};

use super::super::routing::Access;
use super::*;
use crate::command::table;
use crate::node::deployment::TopologySource;
use crate::node::{Deployment, Node};
use crate::testing::FixedTopology;
use crate::testing::stores::{TwoStores, inapplicable, settings};

/// One key for each Region.
const KEYS: [&str; 2] = ["key:0", "key:3"];

/// A test that takes longer has found something that waits for ever.
const FOR_EVER: Duration = Duration::from_secs(60);

/// A connection that nobody serves yet, and the client's end of it.
async fn connect(context: &Arc<Context>) -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (theirs, accepted) = tokio::join!(connecting, listener.accept());
    let (stream, peer) = accepted.unwrap();
    let local = stream.local_addr().unwrap();
    let client = context.clients.admit(usize::MAX, peer, local).unwrap();
    (Connection::new(Arc::clone(context), stream, client), theirs.unwrap())
}

/// Lets these commands arrive together, a line each.
fn arrive(connection: &mut Connection, lines: &[&str]) {
    for line in lines {
        encode_command(&line.split(' ').collect::<Vec<_>>(), &mut connection.input);
    }
}

/// The replies that wait to be sent, as text.
fn replies(connection: &mut Connection) -> Vec<String> {
    let (mut decoder, mut replies) = (Decoder::default(), Vec::new());
    let mut output: BytesMut = connection.output.lend();
    while let Some(reply) = decoder.next(&mut output).unwrap() {
        replies.push(match reply {
            Value::Integer(number) => number.to_string(),
            other => other.as_text().unwrap_or("nil").to_owned(),
        });
    }
    replies
}

/// Runs these commands as one batch and returns their replies.
async fn run(connection: &mut Connection, lines: &[&str]) -> Vec<String> {
    arrive(connection, lines);
    let ran = tokio::time::timeout(FOR_EVER, connection.run_batch()).await;
    ran.expect("it waits for ever").unwrap();
    replies(connection)
}

#[test]
fn the_keys_are_in_different_regions() {
    assert_eq!(KEYS.map(|key| slot_of(key.as_bytes()) < 8192), [true, false]);
}

#[tokio::test]
async fn a_read_without_its_majority_ends_with_an_error() {
    let stores = TwoStores::open().await;
    let context = Arc::clone(stores.node.context());
    let (mut connection, _theirs) = connect(&context).await;
    let [first, second] = KEYS;
    let set = [format!("SET {first} 1"), format!("SET {second} 2")];
    assert_eq!(run(&mut connection, &[&set[0], &set[1]]).await, ["OK", "OK"]);
    assert_eq!(run(&mut connection, &["DBSIZE"]).await, ["2"]);

    stores.cut();
    // No place on the blocking pool is free: whoever wants one before its majority has answered
    // waits for ever.
    let places = u32::try_from(context.blocking_reads.available_permits()).unwrap();
    let taken = context.blocking_reads.acquire_many(places).await.unwrap();
    let gets = [format!("GET {first}"), format!("GET {second}")];
    let lines = ["KEYS *", &gets[0], &gets[1], &gets[0], "DBSIZE"];
    let replies = run(&mut connection, &lines).await;
    drop(taken);
    let refusal = "TRYAGAIN region 1 is not ready to serve: its majority does not answer";
    // The Region that needs nobody else is read all the same.
    assert_eq!(replies, [refusal, refusal, "2", refusal, refusal]);

    drop((connection, context));
    stores.stop().await;
}

#[tokio::test]
async fn client_kill_ends_a_wait_for_a_majority_at_once() {
    let stores = TwoStores::open().await;
    let context = Arc::clone(stores.node.context());
    stores.cut();
    let key = KEYS[0];
    for line in [&format!("GET {key}"), "KEYS *", &format!("SET {key} v"), "FLUSHALL"] {
        let (mut connection, _theirs) = connect(&context).await;
        let client = Arc::clone(&connection.client);
        arrive(&mut connection, &[line]);
        let mut batch = pin!(connection.run_batch());
        assert!(poll!(&mut batch).is_pending(), "{line}");
        client.close();
        assert!(poll!(&mut batch).is_pending(), "{line}: a server that stops lets it finish");
        client.kill();
        let ended = poll!(&mut batch);
        assert!(matches!(ended, Poll::Ready(Err(CloseReason::Killed))), "{line}: {ended:?}");
    }
    drop(context);
    stores.stop().await;
}

/// Without an end the batch would answer the client that is gone.
#[tokio::test]
async fn a_connection_that_breaks_ends_a_wait_for_a_majority() {
    let stores = TwoStores::open().await;
    let context = Arc::clone(stores.node.context());
    stores.cut();
    let key = KEYS[0];
    for line in [&format!("GET {key}"), "KEYS *", &format!("SET {key} v"), "FLUSHALL"] {
        let (mut connection, theirs) = connect(&context).await;
        arrive(&mut connection, &[line]);
        let mut batch = pin!(connection.run_batch());
        assert!(poll!(&mut batch).is_pending(), "{line}");
        // The end of the process resets the connection.
        theirs.set_zero_linger().unwrap();
        drop(theirs);
        let ended = tokio::time::timeout(FOR_EVER, batch).await.expect("it waits for ever");
        assert!(matches!(ended, Err(CloseReason::Closed)), "{line}: {ended:?}");
    }
    drop(context);
    stores.stop().await;
}

/// Runs a read, `INFO` and `lines` as one batch and returns the replies to the last. INFO lets
/// others have the thread: by then the connection has a route to the Region, and `meanwhile`
/// happens.
async fn run_around(
    connection: &mut Connection,
    meanwhile: impl Future<Output = ()>,
    lines: &[&str],
) -> Vec<String> {
    arrive(connection, &["GET a", "INFO server"]);
    arrive(connection, lines);
    {
        let mut batch = pin!(connection.run_batch());
        assert!(poll!(&mut batch).is_pending());
        meanwhile.await;
        batch.await.unwrap();
    }
    replies(connection).split_off(2)
}

/// Destroys a Region and gives its slots to a new one, which is empty.
async fn replace(context: &Context, region: u64) {
    let mut descriptor = (*context.store.region(region).unwrap().descriptor()).clone();
    context.store.destroy(region).await.unwrap();
    descriptor.id += 1;
    descriptor.peers.iter_mut().for_each(|peer| peer.id += 1);
    let region = context.store.bootstrap(descriptor).await.unwrap();
    region.wait_serving().await.unwrap();
}

#[tokio::test]
async fn a_command_whose_region_is_destroyed_goes_to_the_one_that_owns_its_slot() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(settings(&dir, &[]), Deployment::standalone(1)).await.unwrap();
    let context = Arc::clone(node.context());
    let (mut connection, _theirs) = connect(&context).await;
    assert_eq!(run(&mut connection, &["SET a 1"]).await, ["OK"]);
    // The client notices only that the data is gone: no command is refused.
    let replies = run_around(&mut connection, replace(&context, 1), &["GET a", "DBSIZE"]).await;
    assert_eq!(replies, ["nil", "0"]);
    let replies = run_around(&mut connection, replace(&context, 2), &["SET a 2", "GET a"]).await;
    assert_eq!(replies, ["OK", "2"]);
    drop((connection, context));
    node.stop().await;
}

#[tokio::test]
async fn a_command_whose_slot_no_region_owns_any_more_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(settings(&dir, &[]), Deployment::standalone(1)).await.unwrap();
    let context = Arc::clone(node.context());
    let (mut connection, _theirs) = connect(&context).await;
    let destroyed = async { context.store.destroy(1).await.unwrap() };
    let lines = ["GET a", "SET a 2", "DBSIZE", "FLUSHALL"];
    let replies = run_around(&mut connection, destroyed, &lines).await;
    assert_eq!(replies, ["CLUSTERDOWN Hash slot not served"; 4]);
    drop((connection, context));
    node.stop().await;
}

#[tokio::test]
async fn a_command_whose_region_has_moved_to_another_store_is_sent_there() {
    let dir = tempfile::tempdir().unwrap();
    let topology: TopologySource = Box::new(|_, _| Arc::new(FixedTopology));
    let deployment = Deployment { topology, ..Deployment::standalone(1) };
    let node = Node::open(settings(&dir, &[]), deployment).await.unwrap();
    let context = Arc::clone(node.context());
    let (mut connection, _theirs) = connect(&context).await;
    let destroyed = async { context.store.destroy(1).await.unwrap() };
    let replies = run_around(&mut connection, destroyed, &["GET a", "SET a 2"]).await;
    let moved = format!("MOVED {} 10.0.0.7:6379", slot_of(b"a"));
    assert_eq!(replies, [moved.as_str(); 2]);
    drop((connection, context));
    node.stop().await;
}

/// A key of Region 1 in another slot than `key:0`.
const NEIGHBOUR: &str = "b";

#[tokio::test]
async fn a_follower_sends_every_command_to_its_leader_also_after_readonly_and_asking() {
    let stores = TwoStores::open().await;
    let context = Arc::clone(stores.node.context());
    let [first, second] = KEYS;
    let slots = [first, NEIGHBOUR].map(|key| slot_of(key.as_bytes()));
    assert!(slots[0] != slots[1] && slots[1] < 8192);
    stores.hand_over().await;

    let moved = slots.map(|slot| format!("MOVED {slot} 10.0.0.2:6379"));
    let (set, get) = (format!("SET {first} 1"), format!("GET {NEIGHBOUR}"));
    let here = format!("SET {second} 2");
    let expected = [
        (set.as_str(), moved[0].as_str()),
        (&get, &moved[1]),
        ("READONLY", "OK"),
        (&get, &moved[1]),
        (&set, &moved[0]),
        ("ASKING", "OK"),
        (&set, &moved[0]),
        // The other Region is led here.
        (&here, "OK"),
        ("READWRITE", "OK"),
        ("ASKING", "OK"),
        (&get, &moved[1]),
    ];
    let (mut connection, _theirs) = connect(&context).await;
    let replies = run(&mut connection, &expected.map(|(line, _)| line)).await;
    assert_eq!(replies, expected.map(|(_, reply)| reply));

    drop((connection, context));
    stores.stop().await;
}

/// The Regions themselves refuse these commands: the connection routed them when the store led.
#[tokio::test]
async fn commands_whose_leader_changes_are_sent_to_the_new_one_each_with_its_own_slot() {
    let stores = TwoStores::open().await;
    let context = Arc::clone(stores.node.context());
    let [first, _] = KEYS;
    let moved = |key: &str| format!("MOVED {} 10.0.0.2:6379", slot_of(key.as_bytes()));
    let sets = [format!("SET {first} 1"), format!("SET {NEIGHBOUR} 2")];
    let get = format!("GET {NEIGHBOUR}");
    let batches = [vec![sets[0].as_str(), &sets[1]], vec![&get]];
    let expected = [vec![moved(first), moved(NEIGHBOUR)], vec![moved(NEIGHBOUR)]];

    let mut connections = Vec::new();
    for _ in &batches {
        let (mut connection, theirs) = connect(&context).await;
        let words = [Bytes::from_static(b"get"), Bytes::from_static(first.as_bytes())];
        let (_, command) = table::find(&words).unwrap();
        let route = connection.router.route(&context, command, &words, Access::default());
        assert!(matches!(route, Ok(Route::One(_))));
        connections.push((connection, theirs));
    }
    stores.hand_over().await;
    for ((mut connection, _theirs), (batch, expected)) in
        connections.into_iter().zip(batches.iter().zip(expected))
    {
        assert_eq!(run(&mut connection, batch).await, expected);
    }
    drop(context);
    stores.stop().await;
}

#[tokio::test]
async fn asking_holds_for_one_command_also_if_that_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(settings(&dir, &[]), Deployment::standalone(1)).await.unwrap();
    let context = Arc::clone(node.context());
    let (mut connection, _theirs) = connect(&context).await;
    for (line, is_refused) in
        [("GET a", false), ("SET a 1", false), ("PING", false), ("GET", true), ("NONE", true)]
    {
        assert_eq!(run(&mut connection, &["ASKING"]).await, ["OK"]);
        assert!(connection.access().asking);
        let replies = run(&mut connection, &[line]).await;
        assert_eq!(replies[0].starts_with("ERR"), is_refused, "{line}: {replies:?}");
        assert!(!connection.access().asking, "{line}");
    }
    drop((connection, context));
    node.stop().await;
}

#[tokio::test]
async fn a_flush_reaches_all_regions_at_the_same_time() {
    let stores = TwoStores::open().await;
    let context = Arc::clone(stores.node.context());
    let (mut connection, _theirs) = connect(&context).await;
    let (set, get) = (format!("SET {} v", KEYS[1]), format!("GET {}", KEYS[1]));
    assert_eq!(run(&mut connection, &[&set]).await, ["OK"]);

    // The first Region does not answer; the second is empty all the same.
    stores.cut();
    let (mut flushing, _their_end) = connect(&context).await;
    arrive(&mut flushing, &["FLUSHALL"]);
    assert!(poll!(pin!(flushing.run_batch())).is_pending());
    let empty = async { while run(&mut connection, &[&get]).await != ["nil"] {} };
    tokio::time::timeout(FOR_EVER, empty).await.expect("the second waits for the first");

    drop((connection, flushing, context));
    stores.stop().await;
}

/// The outcome of one Region is unknown, the others are empty: that is neither done nor undone.
#[tokio::test]
async fn a_flush_that_is_done_in_part_says_once_that_its_outcome_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(settings(&dir, &[]), Deployment::standalone(2)).await.unwrap();
    let context = Arc::clone(node.context());
    let (mut connection, _theirs) = connect(&context).await;
    let sets = KEYS.map(|key| format!("SET {key} v"));
    assert_eq!(run(&mut connection, &[&sets[0], &sets[1]]).await, ["OK", "OK"]);

    // The second Region stops at an entry that stands before the flush in its queue.
    let region = context.store.region(2).unwrap();
    let fatal = region.propose_some(region.descriptor().epoch, vec![inapplicable(KEYS[1])]);
    let replies = run(&mut connection, &["FLUSHALL"]).await;
    assert!(fatal.await.is_err());
    let expected = "ERR outcome unknown: some regions may have done it, then: ";
    assert!(replies[0].starts_with(expected), "{replies:?}");
    assert_eq!(replies[0].matches("outcome unknown").count(), 1, "{replies:?}");
    let exists = format!("EXISTS {}", KEYS[0]);
    assert_eq!(run(&mut connection, &[&exists]).await, ["0"]);

    drop((region, connection, context));
    node.stop().await;
}
