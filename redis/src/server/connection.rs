//! The life of one connection.
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
//! A task of the runtime runs this for each connection. Waiting means waiting for all that can
//! happen at once: bytes from the client, room for replies that it did not take yet, CLIENT KILL
//! and the end of the server, and the idle timeout.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use neokv_resp::Parser;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::output::Output;
use super::pipeline::Writes;
use super::routing::Router;
use super::session::Session;
use super::stats::Meter;
use super::{Client, Context, buffers};

/// Most bytes that are read at once.
const READ_MAX: usize = 256 << 10;

/// How long a connection that ends may take to deliver its last replies.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
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
    pub(super) writes: Writes,
    pub(super) router: Router,
    pub(super) meter: Meter,
    /// Rows read on this thread since it was last left to others.
    pub(super) walked: u32,
    /// When the last command ended, or the batch began.
    pub(super) clock: Instant,
    /// The last command's position in the table.
    pub(super) last_command: usize,
    /// Bytes to read at once: grows while the client fills it.
    chunk: usize,
    timer: Option<Pin<Box<Sleep>>>,
    /// The client has said that it sends nothing more.
    pub(super) ended: bool,
    /// This connection's share of [`Context::held`].
    pub(super) held: usize,
}

/// What a read got.
#[derive(PartialEq, Eq)]
pub(super) enum Received {
    /// Bytes.
    Some,
    /// Nothing yet.
    Nothing,
    /// Nothing ever again.
    End,
}

/// What a wait ended with.
pub(super) enum Woken {
    Ready,
    Killed,
    Idle,
}

/// Serves a connection until it ends.
pub async fn serve(context: Arc<Context>, stream: TcpStream, client: Arc<Client>) {
    let mut connection = Connection::new(context, stream, client);
    let ended = connection.run().await;
    connection.report(&ended);
    if !matches!(ended, Ended::Io(_) | Ended::Unread { .. }) {
        connection.say_farewell().await;
    }
}

impl Connection {
    fn new(context: Arc<Context>, stream: TcpStream, client: Arc<Client>) -> Connection {
        let needs_password = context.needs_password();
        let mut parser = Parser::new(context.limits.parser);
        parser.set_stranger(needs_password);
        // The hasher's random keys are the one source of randomness that the standard library has.
        let seed = RandomState::new().hash_one(client.id);
        Connection {
            session: Session::new(client.clone(), needs_password, seed),
            parser,
            input: BytesMut::new(),
            output: Output::default(),
            args: Vec::new(),
            writes: Writes::default(),
            router: Router::default(),
            meter: Meter::default(),
            walked: 0,
            clock: Instant::now(),
            last_command: usize::MAX,
            chunk: buffers::CAPACITY,
            timer: None,
            ended: false,
            held: 0,
            context,
            stream,
            client,
        }
    }

    async fn run(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.turn().await {
                return ended;
            }
        }
    }

    /// Runs what has arrived, sends the replies, and gets more.
    async fn turn(&mut self) -> Result<(), Ended> {
        self.run_batch().await?;
        self.flush()?;
        self.account()?;
        self.meter.flush(&self.context.stats);
        self.client.note(self.clock, self.last_command, self.input.len(), self.output.len());
        if self.session.closing {
            return Err(Ended::Finished);
        }
        // A client that always has more to say must let others speak, too.
        tokio::task::coop::consume_budget().await;
        self.receive().await
    }

    /// Reads, waiting until there is something. Unsent replies leave meanwhile.
    async fn receive(&mut self) -> Result<(), Ended> {
        loop {
            if self.client.is_dismissed() {
                return Err(Ended::Killed);
            }
            match self.read_some()? {
                Received::Some => return Ok(()),
                Received::Nothing => {}
                Received::End => return Err(Ended::Closed),
            }
            self.rest();
            match self.wait().await {
                Woken::Ready => self.flush()?,
                Woken::Killed => return Err(Ended::Killed),
                Woken::Idle => return Err(Ended::Idle),
            }
        }
    }

    /// Sends what the socket takes now. A client that takes something is not idle.
    pub(super) fn flush(&mut self) -> Result<(), Ended> {
        let before = self.output.len();
        self.output.flush(&self.stream, &mut self.meter)?;
        if self.output.len() < before {
            self.clock = Instant::now();
        }
        Ok(())
    }

    /// Reads what is there.
    pub(super) fn read_some(&mut self) -> Result<Received, Ended> {
        if self.ended {
            return Ok(Received::End);
        }
        self.make_room();
        let room = self.input.capacity().saturating_sub(self.input.len());
        // Polled, not tried: after a read that got less than there was room for, tokio knows that
        // nothing is left, which saves a system call per command. Nobody is woken by this poll; who
        // waits polls the stream again.
        let mut nobody = std::task::Context::from_waker(Waker::noop());
        match pin!(self.stream.read_buf(&mut self.input)).poll(&mut nobody) {
            Poll::Ready(Ok(0)) => {
                self.ended = true;
                Ok(Received::End)
            }
            Poll::Ready(Ok(read)) => {
                self.meter.received(read);
                if read >= room {
                    self.chunk = self.chunk.saturating_mul(2).min(READ_MAX);
                }
                Ok(Received::Some)
            }
            Poll::Pending => Ok(Received::Nothing),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                Ok(Received::Nothing)
            }
            Poll::Ready(Err(error)) => Err(error.into()),
        }
    }

    /// Room for the next read. An announced argument makes it grow with what has arrived, never
    /// ahead of it.
    fn make_room(&mut self) {
        if self.input.capacity() == 0 && self.chunk == buffers::CAPACITY {
            self.input = buffers::take();
        }
        let there = self.input.len();
        let wanted = self.parser.wanted(&self.input);
        let room = if wanted > 0 {
            wanted.clamp(self.chunk / 2, self.chunk.max(there))
        } else {
            self.chunk.saturating_sub(there).max(self.chunk / 2)
        };
        self.input.reserve(room);
    }

    /// Before waiting: gives back what is not needed.
    fn rest(&mut self) {
        self.output.rest();
        if self.input.is_empty() {
            buffers::give(std::mem::take(&mut self.input));
            self.chunk = buffers::CAPACITY;
        }
    }

    /// Waits until there is something to read, or room to write while something is unsent.
    pub(super) async fn wait(&mut self) -> Woken {
        // A stream that has ended counts as readable for ever.
        let (more, unsent) = (!self.ended, !self.output.is_empty());
        let idle = self.context.limits.idle;
        let (stream, client, clock, timer) =
            (&self.stream, &self.client, self.clock, &mut self.timer);
        poll_fn(|cx| {
            if client.poll_dismissed(cx.waker()) {
                return Poll::Ready(Woken::Killed);
            }
            let readable = more && stream.poll_read_ready(cx).is_ready();
            if readable || (unsent && stream.poll_write_ready(cx).is_ready()) {
                return Poll::Ready(Woken::Ready);
            }
            while !idle.is_zero() {
                let timer = timer.get_or_insert_with(|| {
                    Box::pin(tokio::time::sleep_until((clock + idle).into()))
                });
                if timer.as_mut().poll(cx).is_pending() {
                    break;
                }
                // The timer is not moved with every command: when it fires, it looks how long ago
                // the last one was.
                if clock.elapsed() >= idle {
                    return Poll::Ready(Woken::Idle);
                }
                timer.as_mut().reset((clock + idle).into());
            }
            Poll::Pending
        })
        .await
    }

    /// Delivers the last replies, for a while.
    async fn say_farewell(&mut self) {
        let _gave_up = tokio::time::timeout(FAREWELL, async {
            while !self.output.is_empty() {
                self.stream.writable().await?;
                self.output.flush(&self.stream, &mut self.meter)?;
            }
            io::Result::Ok(())
        })
        .await;
    }

    fn report(&self, ended: &Ended) {
        let (id, peer) = (self.client.id, self.client.peer);
        match ended {
            Ended::Unread { .. } => {
                self.count_unread();
                tracing::warn!(id, %peer, "connection closed: {ended}");
            }
            Ended::Http => tracing::warn!(id, %peer, "connection closed: {ended}"),
            Ended::Panicked => tracing::error!(id, %peer, "connection closed: {ended}"),
            _ => tracing::debug!(id, %peer, "connection closed: {ended}"),
        }
    }
}

impl Drop for Connection {
    /// Also runs when a handler panicked: the connection must not stay in the list.
    fn drop(&mut self) {
        self.let_go();
        self.meter.flush(&self.context.stats);
        self.context.clients.remove(self.client.id);
    }
}
