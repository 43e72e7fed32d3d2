//! Queues that are full, messages that are too large, lanes that hold nobody else up.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::{Peer, client, echo, message, serve, settings, vote};
use crate::transport::grpc::frame;
use crate::transport::grpc::lane::Lane;
use crate::transport::grpc::queue::Queue;
use crate::transport::{Message, MessageKind, Transport, TransportError};

fn chunk(bytes: usize) -> Message {
    message(MessageKind::SnapshotChunk, vec![b'x'; bytes])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_snapshot_holds_up_no_vote() {
    let peer = Peer::new();
    let mut narrow = settings(2);
    // The server soon stops reading, so the chunks back up to the client's queue.
    (narrow.bytes_in_progress, narrow.window_bytes) = (1 << 16, 1 << 16);
    let server = serve(narrow, &peer).await;
    let mut sender = settings(1);
    sender.queue_calls = 100_000;
    let transport = client(sender, server.address());
    let chunks: Vec<_> = (0..200).map(|_| transport.call(2, chunk(1 << 18))).collect();
    let chunks = tokio::spawn(join_all(chunks));
    while peer.received.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    for number in 0..200 {
        let vote = vote(&number.to_string());
        let expected = echo(&vote);
        assert_eq!(transport.call(2, vote).await, Ok(expected));
    }
    assert!(!chunks.is_finished());
    // No more than the first frame is taken in; the rest waits at the client.
    assert!(peer.received.load(Ordering::Relaxed) <= 203);
    peer.chunks.add_permits(200);
    let failed = chunks.await.unwrap().into_iter().filter(Result::is_err).count();
    assert_eq!(failed, 0);
    transport.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_lane_fails_at_once_and_the_others_do_not() {
    let peer = Peer::new();
    let server = serve(settings(2), &peer).await;
    let mut sender = settings(1);
    (sender.queue_calls, sender.calls_in_flight) = (4, 2);
    let transport = client(sender, server.address());
    let mut calls = vec![tokio::spawn(transport.call(2, chunk(1)))];
    calls.push(tokio::spawn(transport.call(2, chunk(1))));
    while peer.received.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    // Two are in flight; four may wait.
    calls.extend((0..4).map(|_| tokio::spawn(transport.call(2, chunk(1)))));
    let full = transport.call(2, chunk(1)).now_or_never().unwrap().unwrap_err().to_string();
    assert!(full.contains("4 calls") && full.contains("snapshot lane"), "{full}");
    transport.call(2, vote("passes")).await.unwrap();
    // A caller that gives up makes room.
    calls.pop().unwrap().abort();
    let again = loop {
        let call = transport.call(2, chunk(1));
        tokio::task::yield_now().await;
        let mut call = Box::pin(call);
        match call.as_mut().now_or_never() {
            None => break call,
            Some(outcome) => assert!(outcome.is_err()),
        }
    };
    peer.chunks.add_permits(10);
    assert!(again.await.is_ok());
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    transport.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_queue_is_bounded_in_bytes_and_takes_one_large_call() {
    let mut small = settings(1);
    small.queue_bytes = 1000;
    let queue = Queue::new(Arc::new(small), 2, Lane::Snapshot);
    let large = queue.enqueue(chunk(5000)).unwrap();
    assert!(matches!(queue.enqueue(chunk(1)), Err(TransportError::Unreachable { .. })));
    drop(large);
    let _one = queue.enqueue(chunk(500)).unwrap();
    assert!(queue.enqueue(chunk(500)).is_err());
    let _two = queue.enqueue(chunk(300)).unwrap();
}

#[tokio::test]
async fn frames_hold_what_waits_up_to_their_bounds() {
    let mut narrow = settings(1);
    narrow.frame_calls = 3;
    narrow.frame_bytes = 2 * frame::weight(&Bytes::from_static(&[0; 100]));
    let queue = Queue::new(Arc::new(narrow), 2, Lane::Snapshot);
    let sizes = [10, 10, 10, 10, 100, 100, 100, 900, 1];
    let tickets: Vec<_> = sizes.iter().map(|bytes| queue.enqueue(chunk(*bytes)).unwrap()).collect();
    let connection = queue.attempt();
    assert!(queue.next_frame(connection).now_or_never().is_none(), "it is not connected yet");
    queue.up(u64::MAX);
    let mut frames = Vec::new();
    while let Some(frame) = queue.next_frame(connection).now_or_never() {
        frames.push(frame.unwrap().iter().map(|call| call.body.len()).collect::<Vec<_>>());
    }
    let expected: [&[usize]; 5] = [&[10, 10, 10], &[10, 100], &[100, 100], &[900], &[1]];
    assert_eq!(frames, expected);
    // The connection ends: its calls have failed, and it gets no other.
    queue.down(queue.unreachable("cut"));
    for ticket in tickets {
        assert_eq!(ticket.outcome().await, Err(queue.unreachable("cut")));
    }
    assert_eq!(queue.next_frame(connection).await, None);
    assert!(queue.enqueue(chunk(1)).is_err());
    let next = queue.attempt();
    queue.up(u64::MAX);
    let _ticket = queue.enqueue(chunk(7)).unwrap();
    let frame = queue.next_frame(next).await.unwrap();
    assert_eq!((frame.len(), frame[0].number), (1, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_the_limit_of_either_end_are_refused() {
    let peer = Peer::new();
    peer.chunks.add_permits(100);
    let mut small = settings(2);
    small.message_bytes = 1000;
    let server = serve(small, &peer).await;
    let mut sender = settings(1);
    sender.message_bytes = 2000;
    let transport = client(sender, server.address());
    let refused = |outcome: Result<Bytes, TransportError>, limit: &str| match outcome {
        Err(TransportError::Refused { store: 2, why }) => assert!(why.contains(limit), "{why}"),
        other => panic!("{other:?}"),
    };
    refused(transport.call(2, chunk(2001)).await, "2001 bytes: 2000 are allowed");
    // The first call waits for the connection; only then is the limit of the other end known.
    refused(transport.call(2, chunk(1001)).await, "1001 bytes: 1000 are allowed");
    transport.call(2, chunk(1000)).await.unwrap();
    refused(transport.call(2, chunk(1001)).now_or_never().unwrap(), "1000 are allowed");
    assert_eq!(peer.received.load(Ordering::Relaxed), 1);
    transport.stop().await;
    server.stop().await;
}
