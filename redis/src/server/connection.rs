//! One connection, from its first bytes to its close.
//!
//! ```text
//!        ┌────────────────────────────────────────────────────────────┐
//!        ▼                                                            │
//!   run the batch ──► send what the socket takes ──► read ── nothing there? ── wait
//!        │                     │                       │                        │
//!    QUIT, protocol error   broken, limit          end of stream          killed, idle
//!        └──► send the rest ───┴───────────────────────┴────────────────────────┴──► closed
//! ```
//!
//! Each connection has a task of the runtime, which runs this loop. When it waits, it waits for
//! several events at once, and the first one ends the wait: bytes from the client, room in the
//! socket for unsent replies, CLIENT KILL, the stop of the server, the idle timeout.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use neokv_resp::Parser;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::gathered::GatheredWrites;
use super::output::Output;
use super::routing::{RouteWait, Router};
use super::{Context, buffers};
use crate::clients::Client;
use crate::identity;
use crate::session::Session;
use crate::stats::ConnectionStats;

/// Most bytes that are read at once.
const READ_MAX: usize = 256 << 10;

/// How long the last replies of a connection that ends may take to be sent.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum CloseReason {
    #[error("the client closed it")]
    Closed,
    #[error("its last reply was sent")]
    Finished,
    #[error("it was killed")]
    Killed,
    #[error("it was idle")]
    Idle,
    #[error("the server stops")]
    Stopping,
    #[error("it sent an HTTP request, perhaps a browser on behalf of a hostile page")]
    Http,
    #[error("a command failed in a way that lost the order of replies")]
    Panicked,
    #[error(
        "{bytes} bytes of replies and of requests behind them are kept for it, the limit is {limit}"
    )]
    Unread { bytes: usize, limit: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Everything about one connection. See the module.
pub(super) struct Connection {
    pub(super) context: Arc<Context>,
    pub(super) stream: TcpStream,
    pub(super) client: Arc<Client>,
    pub(super) session: Session,
    pub(super) parser: Parser,
    pub(super) input: BytesMut,
    pub(super) output: Output,
    /// The words of the command that is being run.
    pub(super) args: Vec<Bytes>,
    pub(super) writes: GatheredWrites,
    pub(super) router: Router,
    /// How long the commands of this batch have waited for their Regions.
    pub(super) wait: RouteWait,
    pub(super) stats: ConnectionStats,
    /// Rows read since the connection last yielded its thread.
    pub(super) rows_read: u32,
    /// When the last command ended, or the batch began.
    pub(super) clock: Instant,
    /// The last command's position in the table.
    pub(super) last_command: usize,
    /// Bytes to read at once. It grows while the client fills it.
    chunk: usize,
    timer: Option<Pin<Box<Sleep>>>,
    /// The client has closed its side: nothing more will come.
    pub(super) end_of_stream: bool,
    /// This connection's share of [`Context::buffered`].
    pub(super) buffered: usize,
}

/// What a read from the socket got.
#[derive(PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// Bytes.
    Bytes,
    /// Nothing yet.
    Nothing,
    /// Nothing ever again.
    End,
}

/// Why a wait ended.
pub(super) enum WaitOutcome {
    Ready,
    Killed,
    Idle,
}

/// Serves a connection until it ends.
pub async fn serve(context: Arc<Context>, stream: TcpStream, client: Arc<Client>) {
    let mut connection = Connection::new(context, stream, client);
    let reason = connection.run().await;
    connection.report(&reason);
    if !matches!(reason, CloseReason::Io(_) | CloseReason::Unread { .. }) {
        connection.flush_before_close().await;
    }
}

impl Connection {
    pub(super) fn new(context: Arc<Context>, stream: TcpStream, client: Arc<Client>) -> Connection {
        let needs_password = context.needs_password();
        let mut parser = Parser::new(context.limits.parser);
        parser.set_unauthenticated(needs_password);
        Connection {
            session: Session::new(client.clone(), needs_password, identity::random()),
            parser,
            input: BytesMut::new(),
            output: Output::default(),
            args: Vec::new(),
            writes: GatheredWrites::default(),
            router: Router::default(),
            wait: RouteWait::default(),
            stats: ConnectionStats::default(),
            rows_read: 0,
            clock: Instant::now(),
            last_command: usize::MAX,
            chunk: buffers::CAPACITY,
            timer: None,
            end_of_stream: false,
            buffered: 0,
            context,
            stream,
            client,
        }
    }

    async fn run(&mut self) -> CloseReason {
        loop {
            if let Err(reason) = self.turn().await {
                return reason;
            }
        }
    }

    /// One round of the loop: runs the commands that have arrived, sends the replies, and reads
    /// more.
    async fn turn(&mut self) -> Result<(), CloseReason> {
        self.run_batch().await?;
        self.flush()?;
        self.check_buffers()?;
        self.stats.flush(&self.context.stats);
        self.client.note(self.clock, self.last_command, self.input.len(), self.output.len());
        if self.session.closing {
            return Err(CloseReason::Finished);
        }
        // Other connections get the thread even if this client always sends more.
        tokio::task::coop::consume_budget().await;
        self.receive().await
    }

    /// Waits until bytes have arrived, and reads them. Unsent replies are sent meanwhile.
    async fn receive(&mut self) -> Result<(), CloseReason> {
        loop {
            if self.client.is_closing() {
                return Err(CloseReason::Killed);
            }
            match self.read_some()? {
                ReadOutcome::Bytes => return Ok(()),
                ReadOutcome::Nothing => {}
                ReadOutcome::End => return Err(CloseReason::Closed),
            }
            self.return_buffers();
            match self.wait().await {
                WaitOutcome::Ready => self.flush()?,
                WaitOutcome::Killed => return Err(CloseReason::Killed),
                WaitOutcome::Idle => return Err(CloseReason::Idle),
            }
        }
    }

    /// Sends as much as the socket takes now. A client that takes replies is not idle.
    pub(super) fn flush(&mut self) -> Result<(), CloseReason> {
        let before = self.output.len();
        self.output.flush(&self.stream, &mut self.stats)?;
        if self.output.len() < before {
            self.clock = Instant::now();
        }
        Ok(())
    }

    /// Reads what has arrived, without waiting.
    pub(super) fn read_some(&mut self) -> Result<ReadOutcome, CloseReason> {
        if self.end_of_stream {
            return Ok(ReadOutcome::End);
        }
        self.make_room();
        let room = self.input.capacity() - self.input.len();
        // The read is polled, not tried: after a read that did not fill its room, tokio knows that
        // nothing is left, which saves a system call per command. This poll wakes nobody: a wait
        // polls the stream again.
        let mut nobody = std::task::Context::from_waker(Waker::noop());
        match pin!(self.stream.read_buf(&mut self.input)).poll(&mut nobody) {
            Poll::Ready(Ok(0)) => {
                self.end_of_stream = true;
                Ok(ReadOutcome::End)
            }
            Poll::Ready(Ok(read)) => {
                self.stats.received(read);
                // It was filled: there may be more, so the next read asks for more.
                if read >= room {
                    self.chunk = (self.chunk * 2).min(READ_MAX);
                }
                Ok(ReadOutcome::Bytes)
            }
            Poll::Pending => Ok(ReadOutcome::Nothing),
            // A signal came in between. The caller reads again after a wait, which ends at once.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                Ok(ReadOutcome::Nothing)
            }
            Poll::Ready(Err(error)) => Err(error.into()),
        }
    }

    /// Makes room for the next read. For a large argument the room grows with the bytes that have
    /// arrived, never with the length that the client has announced.
    fn make_room(&mut self) {
        if self.input.capacity() == 0 && self.chunk == buffers::CAPACITY {
            self.input = buffers::take();
        }
        let there = self.input.len();
        let wanted = self.parser.wanted(&self.input);
        let room = if wanted > 0 {
            wanted.clamp(self.chunk / 2, self.chunk.max(there))
        } else {
            // The buffer may hold more bytes than are read at once.
            self.chunk.saturating_sub(there).max(self.chunk / 2)
        };
        self.input.reserve(room);
    }

    /// Gives empty buffers back, before a wait.
    fn return_buffers(&mut self) {
        self.output.return_buffer();
        if self.input.is_empty() {
            buffers::give(std::mem::take(&mut self.input));
            self.chunk = buffers::CAPACITY;
        }
    }

    /// Waits until there is something to read, or room to write while something is unsent.
    pub(super) async fn wait(&mut self) -> WaitOutcome {
        // A stream that has ended counts as readable forever.
        let (more, unsent) = (!self.end_of_stream, !self.output.is_empty());
        let idle = self.context.limits.idle;
        let (stream, client, clock, timer) =
            (&self.stream, &self.client, self.clock, &mut self.timer);
        poll_fn(|cx| {
            // CLIENT KILL, or the server stops.
            if client.poll_closing(cx.waker()) {
                return Poll::Ready(WaitOutcome::Killed);
            }
            // Both directions are polled, so that either wakes this task.
            let readable = more && stream.poll_read_ready(cx).is_ready();
            if readable || (unsent && stream.poll_write_ready(cx).is_ready()) {
                return Poll::Ready(WaitOutcome::Ready);
            }
            // The idle timeout, if there is one.
            while !idle.is_zero() {
                let timer = timer.get_or_insert_with(|| {
                    Box::pin(tokio::time::sleep_until((clock + idle).into()))
                });
                if timer.as_mut().poll(cx).is_pending() {
                    break;
                }
                // A command does not move the timer, which would cost time. When the timer fires,
                // the connection checks how long ago the last command was, and may set it again.
                if clock.elapsed() >= idle {
                    return Poll::Ready(WaitOutcome::Idle);
                }
                timer.as_mut().reset((clock + idle).into());
            }
            Poll::Pending
        })
        .await
    }

    /// Waits for `work`, but no longer than the connection lasts: CLIENT KILL ends the wait at
    /// once, and so does a connection that breaks; `work` is dropped then. A client that has closed
    /// only its sending side may still want the reply, so the wait goes on.
    pub(super) async fn while_open<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, CloseReason> {
        let mut work = pin!(work);
        let mut broken = pin!(self.stream.ready(Interest::ERROR));
        poll_fn(|cx| {
            // First, because most work is done at once.
            if let Poll::Ready(outcome) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(outcome));
            }
            if self.client.poll_closing(cx.waker()) && self.client.is_killed() {
                return Poll::Ready(Err(CloseReason::Killed));
            }
            broken
                .as_mut()
                .poll(cx)
                .map(|ready| Err(ready.err().map_or(CloseReason::Closed, CloseReason::Io)))
        })
        .await
    }

    /// Sends the last replies, for at most [`CLOSE_TIMEOUT`].
    async fn flush_before_close(&mut self) {
        let _gave_up = tokio::time::timeout(CLOSE_TIMEOUT, async {
            while !self.output.is_empty() {
                self.stream.writable().await?;
                self.output.flush(&self.stream, &mut self.stats)?;
            }
            io::Result::Ok(())
        })
        .await;
    }

    fn report(&self, reason: &CloseReason) {
        let (id, peer) = (self.client.id, self.client.peer);
        match reason {
            CloseReason::Unread { .. } => {
                self.count_unread();
                tracing::warn!(id, %peer, "connection closed: {reason}");
            }
            CloseReason::Http => tracing::warn!(id, %peer, "connection closed: {reason}"),
            CloseReason::Panicked => tracing::error!(id, %peer, "connection closed: {reason}"),
            _ => tracing::debug!(id, %peer, "connection closed: {reason}"),
        }
    }
}

impl Drop for Connection {
    /// Also runs when a handler panicked: the connection must not stay in the list.
    fn drop(&mut self) {
        self.release_buffers();
        self.stats.flush(&self.context.stats);
        self.context.clients.remove(self.client.id);
    }
}
