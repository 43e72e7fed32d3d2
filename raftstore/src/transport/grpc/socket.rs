//! Sockets that can be closed from outside.
//!
//! HTTP/2 runs in tasks of the libraries, which end when their socket does. So whoever can close
//! every socket, and see that they are gone, can end those tasks:
//!
//! ```text
//!   Sockets::stop ── every Socket fails its next read or write ──▶ its task ends, the Socket drops
//!        ▲                                                                        │
//!        └──────────────────────────── the last one is gone ──────────────────────┘
//! ```

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::transport::server::Connected;

/// All sockets of a client or of a server. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Sockets(Arc<watch::Sender<bool>>);

impl Sockets {
    /// None yet.
    pub(super) fn new() -> Sockets {
        Sockets(Arc::new(watch::Sender::new(false)))
    }

    /// Takes a connection in, and sends what is written at once.
    pub(super) fn adopt(&self, io: TcpStream) -> io::Result<Socket> {
        io.set_nodelay(true)?;
        let mut stopped = self.0.subscribe();
        let stop = Box::pin(async move {
            // An error means that nobody is left who could stop it otherwise.
            let _ = stopped.wait_for(|stop| *stop).await;
        });
        Ok(Socket { io, stop, is_stopped: false })
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.0.receiver_count()
    }

    /// Closes all of them, and those to come; returns when they are gone.
    pub(super) async fn stop(&self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

/// One connection.
pub(super) struct Socket {
    io: TcpStream,
    stop: BoxFuture<'static, ()>,
    is_stopped: bool,
}

impl Socket {
    /// Fails once the sockets are stopped; wakes the task then.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.is_stopped = self.is_stopped || self.stop.as_mut().poll(cx).is_ready();
        if self.is_stopped {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "this store stops"));
        }
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl Connected for Socket {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_stop_ends_what_reads_and_waits_until_it_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let sockets = Sockets::new();
        let mut socket = sockets.adopt(listener.accept().await.unwrap().0).unwrap();
        assert_eq!(sockets.open(), 1);
        let reading = tokio::spawn(async move { socket.read_u8().await.unwrap_err().kind() });
        sockets.stop().await;
        assert_eq!((sockets.open(), reading.is_finished()), (0, true));
        assert_eq!(reading.await.unwrap(), io::ErrorKind::ConnectionAborted);
        // One that comes later is closed as well.
        let mut late = sockets.adopt(peer).unwrap();
        assert_eq!(late.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
