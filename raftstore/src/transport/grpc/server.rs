//! The receiving end: listens, checks who calls, and keeps one session for every stream.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::{Status, Streaming};

use super::frame;
use super::proto::stores_server::{Stores, StoresServer};
use super::proto::{Hello, Request, Response, request};
use super::session::Session;
use super::settings::GrpcSettings;
use super::socket::{Socket, Sockets};
use super::tls::{self, GrpcError};
use crate::metrics;
use crate::transport::Endpoint;

/// Serves an [`Endpoint`] over gRPC. It keeps the endpoint until it is stopped. Dropping it begins
/// a stop that nobody waits for.
#[derive(Debug)]
pub struct GrpcServer {
    address: SocketAddr,
    stop_timeout: Duration,
    stop: watch::Sender<bool>,
    sockets: Sockets,
    serving: JoinHandle<()>,
}

impl GrpcServer {
    /// Listens on an address, `host:port`; port 0 takes a free one. The tasks of the server run on
    /// the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on, or the certificates cannot be read or used.
    pub async fn start(
        address: &str,
        settings: GrpcSettings,
        endpoint: Arc<dyn Endpoint>,
    ) -> Result<GrpcServer, GrpcError> {
        let mut server = server(&settings);
        if let Some(tls) = tls::server(&settings)? {
            let unusable = |error: tonic::transport::Error| {
                GrpcError::Certificates(
                    std::error::Error::source(&error)
                        .map_or_else(|| error.to_string(), ToString::to_string),
                )
            };
            server = server.tls_config(tls).map_err(unusable)?;
        }
        let failed = |cause| GrpcError::Listen { address: address.to_owned(), cause };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = watch::channel(false);
        let (sockets, stop_timeout) = (Sockets::new(), settings.stop_timeout);
        let incoming = incoming(listener, sockets.clone(), settings.connections);
        let largest = settings.largest_frame();
        let handler = Handler { settings: Arc::new(settings), endpoint, stop: stopped.clone() };
        let service = StoresServer::new(handler).max_decoding_message_size(largest);
        let serving = tokio::spawn(async move {
            let until = ended(stopped);
            let served = server.serve_with_incoming_shutdown(service, incoming, until).await;
            if let Err(error) = served {
                tracing::error!(%error, "the transport's server has failed");
            }
        });
        Ok(GrpcServer { address, stop_timeout, stop, sockets, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells clients that the store stops, ends all connections, and returns when nothing of the
    /// server is left: its port is free, and it has let go of the endpoint.
    pub async fn stop(self) {
        let GrpcServer { stop_timeout, stop, sockets, mut serving, .. } = self;
        stop.send_replace(true);
        // In order first: the last words reach the clients.
        if tokio::time::timeout(stop_timeout, &mut serving).await.is_err() {
            sockets.stop().await;
            // Only a panic could have ended it otherwise.
            let _ = serving.await;
        }
        sockets.stop().await;
    }
}

/// The HTTP/2 part of the settings.
fn server(settings: &GrpcSettings) -> Server {
    Server::builder()
        .initial_stream_window_size(settings.window_bytes)
        .initial_connection_window_size(settings.window_bytes)
        .max_concurrent_streams(1)
        .http2_keepalive_interval(Some(settings.keepalive_interval))
        .http2_keepalive_timeout(Some(settings.keepalive_timeout))
}

async fn ended(mut stop: watch::Receiver<bool>) {
    // An error means that the server was dropped.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The connections that come in. Those above the limit are closed at once.
fn incoming(
    listener: TcpListener,
    sockets: Sockets,
    limit: usize,
) -> impl Stream<Item = std::io::Result<Socket>> {
    /// Without it, a process that may not open more files would try again and again.
    const PAUSE: Duration = Duration::from_millis(50);
    stream::unfold((listener, sockets), move |(listener, sockets)| async move {
        loop {
            let accepted = listener.accept().await.and_then(|(io, from)| {
                if sockets.open() < limit {
                    return sockets.adopt(io).map(Some);
                }
                tracing::warn!(%from, limit, "too many connections between stores");
                Ok(None)
            });
            match accepted {
                Ok(Some(socket)) => return Some((Ok(socket), (listener, sockets))),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection between stores was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    })
}

/// Takes streams in.
struct Handler {
    settings: Arc<GrpcSettings>,
    endpoint: Arc<dyn Endpoint>,
    stop: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Stores for Handler {
    type LaneStream = Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;

    async fn lane(
        &self,
        request: tonic::Request<Streaming<Request>>,
    ) -> Result<tonic::Response<Self::LaneStream>, Status> {
        let mut calls = request.into_inner();
        let limit = self.settings.connect_timeout;
        let hello = tokio::select! {
            hello = tokio::time::timeout(limit, hello(&mut calls)) => hello
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("nothing was said")))?,
            () = ended(self.stop.clone()) => {
                return Err(Status::unavailable(format!("store {} stops", self.settings.store)));
            }
        };
        frame::check(&self.settings, &hello).map_err(|why| {
            metrics::transport_refused();
            tracing::warn!(from = hello.from_store, %why, "another store is refused");
            Status::failed_precondition(why)
        })?;
        let (settings, endpoint) = (Arc::clone(&self.settings), Arc::clone(&self.endpoint));
        let session = Session::new(settings, endpoint, self.stop.clone(), calls);
        Ok(tonic::Response::new(Box::pin(session.responses())))
    }
}

/// The first words of a client.
async fn hello(calls: &mut Streaming<Request>) -> Result<Hello, Status> {
    match calls.message().await?.and_then(|request| request.content) {
        Some(request::Content::Hello(hello)) => Ok(hello),
        _ => Err(Status::invalid_argument("the first words must say who calls")),
    }
}
