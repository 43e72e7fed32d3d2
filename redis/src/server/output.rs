//! The replies that wait to be sent to a client.
//!
//! Replies are encoded one after the other into one buffer. It is sent with one system call when
//! the batch is done, or sooner if it grows. [`pressure`](super::pressure) tells what happens when
//! the client does not read.

use std::io;

use bytes::{Buf, BytesMut};
use neokv_resp::{Protocol, Reply};
use tokio::net::TcpStream;

use super::buffers;
use crate::stats::ConnectionStats;

/// The unsent replies of one connection.
#[derive(Default)]
pub struct Output {
    buffer: BytesMut,
}

impl Output {
    /// Unsent bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether everything has been sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Appends a reply.
    pub fn push(&mut self, reply: &Reply, protocol: Protocol) {
        reply.write(protocol, self.buffer());
    }

    /// The buffer, for callers that encode replies themselves.
    pub fn buffer(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers::take();
        }
        &mut self.buffer
    }

    /// Takes the buffer away, to append to it on another thread. Give it back with
    /// [`Output::restore`].
    #[must_use]
    pub fn lend(&mut self) -> BytesMut {
        std::mem::take(&mut self.buffer)
    }

    /// Takes back what was lent.
    pub fn restore(&mut self, buffer: BytesMut) {
        self.buffer = buffer;
    }

    /// Sends as much as the socket takes without waiting.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, stream: &TcpStream, stats: &mut ConnectionStats) -> io::Result<()> {
        while !self.buffer.is_empty() {
            match stream.try_write(&self.buffer) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    stats.sent(sent);
                    if sent == self.buffer.len() {
                        self.buffer.clear();
                    } else {
                        self.buffer.advance(sent);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the buffer back to the pool if nothing is unsent. Called before a wait.
    pub fn return_buffer(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() != 0 {
            buffers::give(std::mem::take(&mut self.buffer));
        }
    }
}
