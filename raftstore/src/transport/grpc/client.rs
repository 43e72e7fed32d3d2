//! The sending end: one task for every lane, which connects, sends and hands answers out.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status, Streaming};

use super::address::Addresses;
use super::backoff::Backoff;
use super::frame;
use super::lane::Lane;
use super::proto::stores_client::StoresClient;
use super::proto::{Calls, Request, Response, request, response};
use super::queue::Queue;
use super::settings::GrpcSettings;
use super::socket::{Socket, Sockets};
use super::tls::{self, GrpcError};
use crate::metrics;
use crate::random::SplitMix64;
use crate::transport::{Message, Transport, TransportError};

/// A [`Transport`] over gRPC. Clones share it.
#[derive(Clone)]
pub struct GrpcTransport(Arc<Inner>);

struct Inner {
    common: Arc<Common>,
    runtime: Handle,
    lanes: Mutex<Lanes>,
}

/// What the tasks of all lanes use.
struct Common {
    settings: Arc<GrpcSettings>,
    addresses: Arc<dyn Addresses>,
    tls: Option<ClientTlsConfig>,
    sockets: Sockets,
}

#[derive(Default)]
struct Lanes {
    queues: BTreeMap<(u64, Lane), Queue>,
    /// They end with the transport.
    tasks: JoinSet<()>,
    is_stopped: bool,
}

impl GrpcTransport {
    /// A transport that finds stores by `addresses`. It connects when it is first used. Its tasks
    /// run on the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// If the certificates cannot be read or used.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(
        settings: GrpcSettings,
        addresses: Arc<dyn Addresses>,
    ) -> Result<GrpcTransport, GrpcError> {
        let tls = tls::client(&settings)?;
        let (settings, sockets) = (Arc::new(settings), Sockets::new());
        let common = Common { settings, addresses, tls, sockets };
        // Certificates that cannot be used are found here, and not at the first connection.
        common.endpoint("localhost:1").map_err(|error| GrpcError::Certificates(text_of(&error)))?;
        let (runtime, lanes) = (Handle::current(), Mutex::new(Lanes::default()));
        Ok(GrpcTransport(Arc::new(Inner { common: Arc::new(common), runtime, lanes })))
    }

    /// Ends all connections. Calls in flight fail, and so do all that come later. Returns when no
    /// task of the transport is left.
    pub async fn stop(&self) {
        let mut tasks = {
            let mut lanes = self.0.lanes.lock();
            lanes.is_stopped = true;
            lanes.queues.values().for_each(Queue::stop);
            std::mem::take(&mut lanes.tasks)
        };
        tasks.shutdown().await;
        self.0.common.sockets.stop().await;
    }

    /// The queue of a lane, whose task is started with it.
    fn queue(&self, store: u64, lane: Lane) -> Queue {
        let Inner { common, runtime, lanes } = &*self.0;
        let mut lanes = lanes.lock();
        let Lanes { queues, tasks, is_stopped } = &mut *lanes;
        let queue = queues.entry((store, lane)).or_insert_with(|| {
            let queue = Queue::new(Arc::clone(&common.settings), store, lane);
            if *is_stopped {
                queue.stop();
            } else {
                let common = Arc::clone(common);
                let connection = Connection { common, store, lane, queue: queue.clone() };
                tasks.spawn_on(connection.keep(), runtime);
            }
            queue
        });
        queue.clone()
    }
}

impl Transport for GrpcTransport {
    fn call(
        &self,
        store: u64,
        message: Message,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let ticket = self.queue(store, Lane::of(&message)).enqueue(message);
        Box::pin(async move { ticket?.outcome().await })
    }
}

impl std::fmt::Debug for GrpcTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcTransport")
            .field("store", &self.0.common.settings.store)
            .field("sockets", &self.0.common.sockets.open())
            .finish_non_exhaustive()
    }
}

impl Common {
    /// How to reach an address.
    fn endpoint(&self, address: &str) -> Result<Endpoint, tonic::transport::Error> {
        let settings = &self.settings;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
            .connect_timeout(settings.connect_timeout)
            .initial_stream_window_size(settings.window_bytes)
            .initial_connection_window_size(settings.window_bytes)
            .http2_keep_alive_interval(settings.keepalive_interval)
            .keep_alive_timeout(settings.keepalive_timeout)
            .keep_alive_while_idle(true);
        match &self.tls {
            Some(tls) => endpoint.tls_config(tls.clone()),
            None => Ok(endpoint),
        }
    }
}

/// Makes the connections of one lane, one after the other.
struct Connection {
    common: Arc<Common>,
    store: u64,
    lane: Lane,
    queue: Queue,
}

impl Connection {
    /// Connects whenever somebody wants that, with pauses between attempts.
    async fn keep(self) {
        let settings = &self.common.settings;
        let random = SplitMix64::from_entropy();
        let mut backoff = Backoff::new(settings.backoff_min, settings.backoff_max, random);
        let mut last = None;
        loop {
            self.queue.wanted().await;
            let connection = self.queue.attempt();
            let mut held = Duration::ZERO;
            let why = match self.open(connection).await {
                Ok(answers) => {
                    last = None;
                    let since = Instant::now();
                    let why = self.receive(answers).await;
                    held = since.elapsed();
                    why
                }
                Err(why) => why,
            };
            // Said once, however often it is tried.
            if last.as_ref() != Some(&why) {
                tracing::warn!(store = self.store, lane = %self.lane, %why, "not connected");
                last = Some(why.clone());
            }
            metrics::transport_failed();
            self.queue.down(why);
            // One that ends as soon as it is there is as bad as one that never comes.
            if held > backoff.longest() {
                backoff.reset();
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Connects and exchanges the first words. From then on calls are sent.
    async fn open(&self, connection: u64) -> Result<Streaming<Response>, TransportError> {
        let Common { settings, addresses, .. } = &*self.common;
        let address = addresses
            .address(self.store)
            .ok_or_else(|| self.queue.unreachable("its address is not known"))?;
        let greeted = tokio::time::timeout(settings.connect_timeout, async {
            let channel = self.connect(&address).await?;
            self.greet(channel, connection).await
        });
        let greeted = greeted.await.unwrap_or_else(|_| {
            let limit = settings.connect_timeout;
            Err(self.queue.unreachable(format!("no connection to {address} within {limit:?}")))
        });
        let (answers, message_bytes) = greeted?;
        metrics::transport_connected();
        tracing::info!(store = self.store, lane = %self.lane, address, "connected");
        self.queue.up(message_bytes);
        Ok(answers)
    }

    async fn connect(&self, address: &str) -> Result<Channel, TransportError> {
        let failed = |error: tonic::transport::Error| {
            self.queue.unreachable(format!("{address}: {}", text_of(&error)))
        };
        let sockets = self.common.sockets.clone();
        let connector = Connector { address: address.to_owned(), sockets };
        let endpoint = self.common.endpoint(address).map_err(failed)?;
        endpoint.connect_with_connector(connector).await.map_err(failed)
    }

    /// The first words; returns the stream of answers, and the largest message that the server
    /// takes.
    async fn greet(
        &self,
        channel: Channel,
        connection: u64,
    ) -> Result<(Streaming<Response>, u64), TransportError> {
        let settings = &self.common.settings;
        let hello = request::Content::Hello(frame::hello(settings, self.store));
        let frames = stream::unfold(self.queue.clone(), move |queue| async move {
            let calls = queue.next_frame(connection).await?;
            Some((request::Content::Calls(Calls { calls }), queue))
        });
        let contents = stream::once(async { hello }).chain(frames);
        let requests = contents.map(|content| Request { content: Some(content) });
        let mut client =
            StoresClient::new(channel).max_decoding_message_size(settings.largest_frame());
        let answers = client.lane(requests).await.map_err(|status| self.ended(&status))?;
        let mut answers = answers.into_inner();
        let first = answers.message().await.map_err(|status| self.ended(&status))?;
        match first.and_then(|response| response.content) {
            Some(response::Content::Welcome(welcome)) => Ok((answers, welcome.message_bytes)),
            _ => Err(self.queue.unreachable("it did not say welcome")),
        }
    }

    /// Hands answers out until the connection ends; returns why.
    async fn receive(&self, mut answers: Streaming<Response>) -> TransportError {
        loop {
            let content = match answers.message().await {
                Ok(Some(response)) => response.content,
                Ok(None) => return self.queue.unreachable("it has ended the connection"),
                Err(status) => return self.ended(&status),
            };
            let Some(response::Content::Answers(frame)) = content else {
                return self.queue.unreachable("it sent something else than answers");
            };
            let answers = frame.answers.into_iter();
            self.queue.answered(answers.map(|answer| (answer.number, frame::outcome(answer))));
        }
    }

    /// What a status means for callers.
    fn ended(&self, status: &Status) -> TransportError {
        let store = self.store;
        match status.code() {
            // The first words did not fit.
            Code::FailedPrecondition => {
                TransportError::Refused { store, why: status.message().to_owned() }
            }
            _ => self.queue.unreachable(text_of(status)),
        }
    }
}

/// An error with all its causes. Those of the libraries say little without them.
fn text_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Opens sockets that can be closed from outside.
#[derive(Clone)]
struct Connector {
    address: String,
    sockets: Sockets,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Socket>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, std::io::Result<TokioIo<Socket>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Connector { address, sockets } = self.clone();
        Box::pin(async move {
            let io = TcpStream::connect(address).await?;
            sockets.adopt(io).map(TokioIo::new)
        })
    }
}
