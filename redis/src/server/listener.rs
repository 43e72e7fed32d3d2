//! Accepting connections, refusing too many, and ending them all.
//!
//! One task per address accepts. A connection beyond the limit gets one line and is closed: `-ERR
//! max number of clients reached`. When the process has no file descriptor left, the task pauses
//! before it tries again; meanwhile the connection waits in the kernel's queue.
//!
//! Accepted sockets have TCP_NODELAY (a reply must not wait for the next one) and inherit
//! keep-alive from the listening socket, so that the kernel detects peers that vanished without
//! closing.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::threads::Threads;
use super::{Context, connection};
use crate::clients::Client;

/// Connections that the kernel queues while they wait to be accepted.
const BACKLOG: u32 = 1024;
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// Which.
    pub address: SocketAddr,
    /// The operating system's reason.
    pub source: io::Error,
}

/// A server that accepts connections until it is stopped.
pub struct Server {
    context: Arc<Context>,
    port: u16,
    stop: watch::Sender<bool>,
    acceptors: Vec<JoinHandle<()>>,
    /// What runs the connections.
    threads: Arc<Threads>,
}

impl Server {
    /// Opens `port` on all `addresses` and begins to serve on `threads`. Port 0 takes a free one,
    /// the same on all addresses. Must be called inside a tokio runtime, which then accepts the
    /// connections.
    ///
    /// # Errors
    /// An address is taken or not one of this machine, or there is no address at all.
    pub async fn listen(
        context: Arc<Context>,
        addresses: &[IpAddr],
        port: u16,
        threads: Threads,
    ) -> Result<Server, ListenError> {
        let mut listeners = Vec::with_capacity(addresses.len());
        let mut port = port;
        for address in addresses {
            let address = SocketAddr::new(*address, port);
            let wrong = |source| ListenError { address, source };
            let listener = open(address).map_err(wrong)?;
            port = listener.local_addr().map_err(wrong)?.port();
            listeners.push(listener);
        }
        if listeners.is_empty() {
            let address = SocketAddr::from(([0, 0, 0, 0], port));
            return Err(ListenError {
                address,
                source: io::Error::other("no address to listen on"),
            });
        }
        let (stop, stopped) = watch::channel(false);
        let threads = Arc::new(threads);
        let accept = |listener| {
            let (context, threads) = (Arc::clone(&context), Arc::clone(&threads));
            tokio::spawn(accept(context, threads, listener, stopped.clone()))
        };
        let acceptors = listeners.into_iter().map(accept).collect();
        Ok(Server { context, port, stop, acceptors, threads })
    }

    /// The port, also if it was chosen by the kernel.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops: accepts no new connection, lets every connection finish the commands that it has
    /// received, and waits up to `timeout` for that. Returns how many connections were left then;
    /// they are cut off.
    pub async fn stop(self, timeout: Duration) -> usize {
        let _nobody_listens = self.stop.send(true);
        for acceptor in self.acceptors {
            let _panicked = acceptor.await;
        }
        self.context.clients.close_all();
        let _elapsed = tokio::time::timeout(timeout, self.context.clients.all_gone()).await;
        let left = self.context.clients.len();
        // The acceptors have ended, so nobody else has the threads. Connections that are cut off
        // may still hold the engine, so their end is waited for.
        if let Some(threads) = Arc::into_inner(self.threads) {
            let _panicked = tokio::task::spawn_blocking(move || threads.end()).await;
        }
        left
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(
    context: Arc<Context>,
    threads: Arc<Threads>,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => admit(&context, &threads, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Starts serving a connection, or refuses it.
fn admit(context: &Arc<Context>, threads: &Threads, stream: TcpStream, peer: SocketAddr) {
    context.stats.connections.fetch_add(1, Ordering::Relaxed);
    // The client may have gone already: the first read will tell.
    let _gone = stream.set_nodelay(true);
    let local = stream.local_addr().unwrap_or(peer);
    match context.clients.admit(context.limits.clients, peer, local) {
        Some(client) => threads.spawn(serve(Arc::clone(context), stream, client)),
        None => {
            context.stats.rejected_connections.fetch_add(1, Ordering::Relaxed);
            refuse(stream);
        }
    }
}

/// Serves a connection on the thread that this runs on: its socket wakes this one, and no longer
/// the thread that accepted it.
async fn serve(context: Arc<Context>, stream: TcpStream, client: Arc<Client>) {
    match stream.into_std().and_then(TcpStream::from_std) {
        Ok(stream) => connection::serve(context, stream, client).await,
        Err(error) => {
            tracing::warn!(id = client.id, %error, "a connection cannot be served");
            context.clients.remove(client.id);
        }
    }
}

/// Tells the client why it is refused. The send buffer of a new socket is empty, so one write sends
/// the line.
fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _gone = stream.write_all(b"-ERR max number of clients reached\r\n");
    }
}
