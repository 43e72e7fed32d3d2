//! Clients and servers over real sockets, with endpoints that do as they are told.

mod bounds;
mod certificates;
mod hostile;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;

use super::{AddressTable, GrpcServer, GrpcSettings, GrpcTransport};
use crate::random::SplitMix64;
use crate::transport::{Endpoint, Message, MessageKind, Transport, TransportError};

const CLUSTER: u64 = 0xC1;

/// Settings with short pauses.
fn settings(store: u64) -> GrpcSettings {
    let mut settings = GrpcSettings::new(CLUSTER, store);
    settings.backoff_min = Duration::from_millis(1);
    settings.backoff_max = Duration::from_millis(20);
    settings
}

/// Answers what a test says, and counts.
struct Peer {
    received: AtomicU64,
    /// Pieces of snapshots wait for a permit of it each.
    chunks: Semaphore,
}

impl Peer {
    fn new() -> Arc<Peer> {
        Arc::new(Peer { received: AtomicU64::new(0), chunks: Semaphore::new(0) })
    }
}

/// The body with everything that came beside it.
fn echo(message: &Message) -> Bytes {
    let Message { region, from, to, kind, body } = message;
    format!("{region} {from} {to} {} {}", kind.name(), String::from_utf8_lossy(body)).into()
}

impl Endpoint for Arc<Peer> {
    fn receive(&self, message: Message) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        let peer = Arc::clone(self);
        Box::pin(async move {
            match message.kind {
                MessageKind::SnapshotChunk => peer.chunks.acquire().await.unwrap().forget(),
                MessageKind::SnapshotOffer => {
                    return Err(TransportError::Refused { store: 2, why: "no room".to_owned() });
                }
                MessageKind::SnapshotEnd => {
                    return Err(TransportError::Garbled("no such session".to_owned()));
                }
                // Answers come in another order than their questions.
                _ => {
                    for _ in 0..SplitMix64::new(number).below(20) {
                        tokio::task::yield_now().await;
                    }
                }
            }
            Ok(echo(&message))
        })
    }
}

fn message(kind: MessageKind, body: impl Into<Bytes>) -> Message {
    Message { region: 7, from: 11, to: 12, kind, body: body.into() }
}

fn vote(text: &str) -> Message {
    message(MessageKind::Vote, text.to_owned())
}

async fn serve(settings: GrpcSettings, peer: &Arc<Peer>) -> GrpcServer {
    GrpcServer::start("127.0.0.1:0", settings, Arc::new(Arc::clone(peer))).await.unwrap()
}

/// A transport of store 1 that finds store 2 there.
fn client(settings: GrpcSettings, address: SocketAddr) -> GrpcTransport {
    let addresses = AddressTable::new();
    addresses.set(2, address);
    GrpcTransport::new(settings, Arc::new(addresses)).unwrap()
}

/// Calls until the store is reached.
async fn until_reached(transport: &GrpcTransport, store: u64) -> Bytes {
    loop {
        match transport.call(store, vote("are you there?")).await {
            Ok(answer) => return answer,
            Err(TransportError::Unreachable { .. }) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_match_their_questions_with_many_in_flight() {
    let peer = Peer::new();
    let server = serve(settings(2), &peer).await;
    let transport = client(settings(1), server.address());
    let kinds = [MessageKind::Vote, MessageKind::Append, MessageKind::TransferLeader];
    let calls = (0..3000u64).zip(kinds.into_iter().cycle()).map(|(number, kind)| {
        let body = Bytes::from(number.to_string());
        let message = Message { region: number, from: number + 1, to: number + 2, kind, body };
        let (expected, call) = (echo(&message), transport.call(2, message));
        async move { assert_eq!(call.await, Ok(expected)) }
    });
    join_all(calls).await;
    assert_eq!(peer.received.load(Ordering::Relaxed), 3000);
    transport.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_endpoint_travel_back() {
    let peer = Peer::new();
    let server = serve(settings(2), &peer).await;
    let transport = client(settings(1), server.address());
    let offered = transport.call(2, message(MessageKind::SnapshotOffer, "")).await;
    assert_eq!(offered, Err(TransportError::Refused { store: 2, why: "no room".to_owned() }));
    let ended = transport.call(2, message(MessageKind::SnapshotEnd, "")).await;
    assert_eq!(ended, Err(TransportError::Garbled("no such session".to_owned())));
    transport.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_belong_is_refused_and_told_why() {
    let peer = Peer::new();
    let server = serve(settings(2), &peer).await;
    let addresses = AddressTable::new();
    addresses.set(2, server.address());
    addresses.set(3, server.address());
    for (caller, store, expected) in [
        (GrpcSettings { cluster: 0xD2, ..settings(1) }, 2, "one of cluster d2"),
        (settings(1), 3, "this is store 2 and not store 3; check the address of store 3"),
        (settings(2), 2, "give each store an id of its own"),
    ] {
        let transport = GrpcTransport::new(caller, Arc::new(addresses.clone())).unwrap();
        for _ in 0..3 {
            let refused = transport.call(store, vote("let me in")).await.unwrap_err();
            let TransportError::Refused { why, store: by } = refused else { panic!("{refused}") };
            assert!(why.contains(expected) && by == store, "{why}");
        }
        transport.stop().await;
    }
    assert_eq!(peer.received.load(Ordering::Relaxed), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_found_again_where_it_is_now() {
    let peer = Peer::new();
    let addresses = AddressTable::new();
    let transport = GrpcTransport::new(settings(1), Arc::new(addresses.clone())).unwrap();
    let unknown = transport.call(2, vote("")).await.unwrap_err();
    assert_eq!(unknown.to_string(), "store 2 cannot be reached: its address is not known");
    for _ in 0..3 {
        let server = serve(settings(2), &peer).await;
        addresses.set(2, server.address());
        until_reached(&transport, 2).await;
        let address = server.address();
        server.stop().await;
        // Its port is free again.
        drop(std::net::TcpListener::bind(address).unwrap());
        let down = transport.call(2, vote("")).await.unwrap_err();
        assert!(matches!(&down, TransportError::Unreachable { store: 2, .. }), "{down}");
    }
    transport.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_store_is_down_calls_fail_at_once_and_say_why() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut patient = settings(1);
    patient.backoff_min = Duration::from_secs(3600);
    patient.backoff_max = Duration::from_secs(3600);
    let transport = client(patient, address);
    let first = transport.call(2, vote("")).await.unwrap_err();
    let text = first.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("refused"), "{text}");
    // The next attempt is far away: nothing waits for it.
    assert_eq!(transport.call(2, vote("")).now_or_never(), Some(Err(first)));
    transport.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_so_and_lets_everything_go() {
    let peer = Peer::new();
    let server = serve(settings(2), &peer).await;
    let transport = client(settings(1), server.address());
    let waiting = tokio::spawn(transport.call(2, message(MessageKind::SnapshotChunk, "")));
    while peer.received.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
    let ended = waiting.await.unwrap().unwrap_err();
    assert!(ended.to_string().contains("store 2 stops"), "{ended}");
    assert_eq!(Arc::strong_count(&peer), 1, "the server has let go of the endpoint");
    transport.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_fails_what_is_in_flight() {
    let peer = Peer::new();
    let server = serve(settings(2), &peer).await;
    let transport = client(settings(1), server.address());
    let waiting = tokio::spawn(transport.call(2, message(MessageKind::SnapshotChunk, "")));
    while peer.received.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    transport.stop().await;
    for ended in [waiting.await.unwrap(), transport.call(2, vote("")).await] {
        let ended = ended.unwrap_err().to_string();
        assert_eq!(ended, "store 2 cannot be reached: the transport of this store stops");
    }
    assert!(transport.call(9, vote("")).now_or_never().unwrap().is_err(), "a new lane as well");
    assert!(format!("{transport:?}").contains("sockets: 0"), "{transport:?}");
    server.stop().await;
}

/// Nothing is left on the runtime once both ends have stopped.
#[tokio::test(flavor = "multi_thread")]
async fn no_task_outlives_a_stop() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let peer = Peer::new();
    let server = serve(settings(2), &peer).await;
    let transport = client(settings(1), server.address());
    for kind in [MessageKind::Vote, MessageKind::Append] {
        transport.call(2, message(kind, "")).await.unwrap();
    }
    assert!(tasks() > before);
    transport.stop().await;
    server.stop().await;
    // A task that has dropped its socket is over as soon as it gives its thread back.
    while tasks() > before {
        tokio::task::yield_now().await;
    }
}
