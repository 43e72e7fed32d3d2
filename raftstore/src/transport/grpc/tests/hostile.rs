//! Callers that do not speak as they should: none of them does the server any harm.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tonic::{Code, Status};

use super::{Peer, client, serve, settings, until_reached, vote};
use crate::random::SplitMix64;
use crate::transport::grpc::frame;
use crate::transport::grpc::proto::stores_client::StoresClient;
use crate::transport::grpc::proto::{
    Answer, Call, Calls, Hello, Request, Response, Welcome, request, response,
};
use crate::transport::{Transport, TransportError};

fn hello() -> Hello {
    frame::hello(&settings(1), 2)
}

fn calls(calls: Vec<Call>) -> request::Content {
    request::Content::Calls(Calls { calls })
}

/// What a server says to these frames before it ends the stream, and how it does.
async fn say(
    address: SocketAddr,
    contents: Vec<Option<request::Content>>,
) -> (Vec<Response>, Option<Status>) {
    let mut client = StoresClient::connect(format!("http://{address}")).await.unwrap();
    let requests = contents.into_iter().map(|content| Request { content });
    // The stream stays open behind them.
    let requests = stream::iter(requests).chain(stream::pending());
    let mut responses = match client.lane(requests).await {
        Ok(responses) => responses.into_inner(),
        Err(status) => return (Vec::new(), Some(status)),
    };
    let mut said = Vec::new();
    loop {
        match responses.message().await {
            Ok(Some(response)) => said.push(response),
            Ok(None) => return (said, None),
            Err(status) => return (said, Some(status)),
        }
    }
}

/// The answer to the only call on a stream.
async fn first_answer(address: SocketAddr, call: Call) -> Answer {
    let mut client = StoresClient::connect(format!("http://{address}")).await.unwrap();
    let contents = [request::Content::Hello(hello()), calls(vec![call])];
    let requests = stream::iter(contents.map(|content| Request { content: Some(content) }));
    let responses = client.lane(requests.chain(stream::pending())).await.unwrap();
    let mut responses = responses.into_inner();
    let welcome = responses.message().await.unwrap().unwrap();
    assert!(matches!(welcome.content, Some(response::Content::Welcome(_))), "{welcome:?}");
    let answers = responses.message().await.unwrap().unwrap();
    let Some(response::Content::Answers(frame)) = answers.content else { panic!("{answers:?}") };
    frame.answers[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_words_that_do_not_fit_end_the_call() {
    let peer = Peer::new();
    let server = serve(settings(2), &peer).await;
    let version = Hello { version: 2, ..hello() };
    for (first, code, why) in [
        (Some(request::Content::Hello(version)), Code::FailedPrecondition, "version 2"),
        (Some(calls(Vec::new())), Code::InvalidArgument, "who calls"),
        (None, Code::InvalidArgument, "who calls"),
    ] {
        let (said, status) = say(server.address(), vec![first]).await;
        let status = status.unwrap();
        assert!(said.is_empty() && status.code() == code, "{status}");
        assert!(status.message().contains(why), "{status}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_says_nothing_is_left() {
    let mut impatient = settings(2);
    impatient.connect_timeout = Duration::from_millis(20);
    let server = serve(impatient, &Peer::new()).await;
    let (said, status) = say(server.address(), Vec::new()).await;
    assert!(said.is_empty());
    assert_eq!(status.unwrap().code(), Code::DeadlineExceeded);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_than_calls_ends_the_stream() {
    let server = serve(settings(2), &Peer::new()).await;
    let hello = || Some(request::Content::Hello(hello()));
    for second in [None, hello()] {
        let (said, status) = say(server.address(), vec![hello(), second]).await;
        assert_eq!(said.len(), 1, "welcome");
        let status = status.unwrap();
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, "calls were expected")
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_an_unknown_kind_is_answered_alone() {
    let peer = Peer::new();
    let server = serve(settings(2), &peer).await;
    let unknown = Call { number: 5, kind: 99, ..Call::default() };
    let answer = first_answer(server.address(), unknown).await;
    assert_eq!(answer.number, 5);
    let why = "kind 99 is not known".to_owned();
    assert_eq!(frame::outcome(answer), Err(TransportError::Garbled(why)));
    assert_eq!(peer.received.load(Ordering::Relaxed), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_the_limit_ends_the_stream() {
    let mut small = settings(2);
    (small.message_bytes, small.frame_bytes) = (1000, 1000);
    let largest = small.largest_frame();
    let server = serve(small, &Peer::new()).await;
    let call = |bytes| Call { body: vec![0; bytes].into(), ..Call::default() };
    let contents = vec![Some(request::Content::Hello(hello())), Some(calls(vec![call(largest)]))];
    let (said, status) = say(server.address(), contents).await;
    let status = status.unwrap();
    assert_eq!((said.len(), status.code()), (1, Code::OutOfRange), "{status}");
    assert!(status.message().contains("too large"), "{status}");
    // A body over the limit in a frame below it is refused alone.
    let refused = frame::outcome(first_answer(server.address(), call(1001)).await).unwrap_err();
    assert!(matches!(refused, TransportError::Refused { store: 2, .. }), "{refused}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_are_closed_and_one_that_hangs_holds_up_no_stop() {
    let mut small = settings(2);
    (small.connections, small.stop_timeout) = (1, Duration::from_millis(10));
    let server = serve(small, &Peer::new()).await;
    let address = server.address();
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0, "it is closed");
    // The first one never says anything.
    server.stop().await;
    drop(std::net::TcpListener::bind(address).unwrap());
    let _ = first.read_to_end(&mut Vec::new()).await;
}

/// The bytes of a connection that opens a stream and sends `frame` as its first message.
async fn send_raw(address: SocketAddr, frame: &[u8]) -> Vec<u8> {
    let mut io = TcpStream::connect(address).await.unwrap();
    // The server may have hung up by now.
    let _ = io.write_all(frame).await;
    let _ = io.shutdown().await;
    let mut said = Vec::new();
    let _ = io.read_to_end(&mut said).await;
    said
}

/// A HTTP/2 frame: `length 3 · type · flags · stream 4 · payload`.
fn http2(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, stream]);
    frame.extend(payload);
    frame
}

/// A connection up to the message of a stream: the preface, SETTINGS, and HEADERS of a call.
fn opened() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(http2(4, 0, 0, &[]));
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/neokv.transport.Stores/Lane"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        // A literal that is not indexed, with a new name, neither of them compressed.
        headers.push(0);
        for text in [name, value] {
            headers.push(u8::try_from(text.len()).unwrap());
            headers.extend(text.bytes());
        }
    }
    bytes.extend(http2(1, 4, 1, &headers));
    bytes
}

/// A message of gRPC: `compressed u8 · length u32 · bytes`.
fn grpc(bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![0];
    message.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    message.extend(bytes);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_end_their_stream_and_nothing_else() {
    let server = serve(settings(2), &Peer::new()).await;
    let transport = client(settings(1), server.address());
    until_reached(&transport, 2).await;
    let mut random = SplitMix64::new(7);
    for round in 0..200 {
        let length = random.below(300);
        let bytes: Vec<u8> = (0..length).map(|_| random.next_u64().to_be_bytes()[0]).collect();
        let mut sent = match round % 4 {
            0 => Vec::new(),
            1 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            _ => opened(),
        };
        match round % 4 {
            2 => sent.extend(http2(0, 0, 1, &bytes)),
            3 => sent.extend(http2(0, 0, 1, &grpc(&bytes))),
            _ => sent.extend(bytes),
        }
        send_raw(server.address(), &sent).await;
    }
    // The stream that was there has not noticed, and others are taken.
    transport.call(2, vote("still there")).await.unwrap();
    let (said, _) = say(server.address(), vec![Some(request::Content::Hello(hello())), None]).await;
    assert!(matches!(&said[0].content, Some(response::Content::Welcome(Welcome { .. }))));
    transport.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_makes_no_sense_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut impatient = settings(1);
    impatient.connect_timeout = Duration::from_millis(200);
    let transport = client(impatient, listener.local_addr().unwrap());
    let call = transport.call(2, vote("hello?"));
    let nonsense = async {
        let (mut io, _) = listener.accept().await.unwrap();
        io.write_all(&Bytes::from(vec![0xFF; 4096])).await.unwrap();
        let _ = io.read_to_end(&mut Vec::new()).await;
    };
    let (outcome, ()) = tokio::join!(call, nonsense);
    let error = outcome.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { store: 2, .. }), "{error}");
    transport.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut impatient = settings(1);
    impatient.connect_timeout = Duration::from_millis(50);
    let transport = client(impatient, address);
    let error = transport.call(2, vote("hello?")).await.unwrap_err().to_string();
    assert!(error.contains(&format!("no connection to {address} within 50ms")), "{error}");
    transport.stop().await;
}

/// Carries bytes between a client and a server until it is told to lose them all, and says when it
/// does.
async fn relay(
    listener: TcpListener,
    server: SocketAddr,
    lose: oneshot::Receiver<()>,
    loses: oneshot::Sender<()>,
) {
    let (mut client, _) = listener.accept().await.unwrap();
    let mut server = TcpStream::connect(server).await.unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = lose => {
            loses.send(()).unwrap();
            // Both sockets stay open, and nobody reads them.
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_silently_gone_is_noticed() {
    let peer = Peer::new();
    let server = serve(settings(2), &peer).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut attentive = settings(1);
    attentive.keepalive_interval = Duration::from_millis(100);
    attentive.keepalive_timeout = Duration::from_millis(400);
    let transport = client(attentive, listener.local_addr().unwrap());
    let ((lose, told), (tell, loses)) = (oneshot::channel(), oneshot::channel());
    let relaying = tokio::spawn(relay(listener, server.address(), told, tell));
    transport.call(2, vote("before")).await.unwrap();
    lose.send(()).unwrap();
    loses.await.unwrap();
    // Only pings can find out: the call itself may take long.
    let error = transport.call(2, vote("after")).await.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { store: 2, .. }), "{error}");
    relaying.abort();
    transport.stop().await;
    server.stop().await;
}
