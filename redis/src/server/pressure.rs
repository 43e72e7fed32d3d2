//! What happens when a client does not read its replies.
//!
//! Redis buffers replies without limit. Pure backpressure, the obvious alternative, deadlocks with
//! a common habit of client libraries: they send a whole pipeline before they read the first reply,
//! so a server that stops reading until its replies are taken waits forever. So, above a high
//! water mark of unsent bytes, the connection *runs* nothing more, but goes on to *read*:
//!
//! ```text
//! unsent < high water     socket ──read──► input ──run──► output ──send──► socket
//! unsent >= high water    socket ──read──► input    ╳     output ──send──► socket
//! ```
//!
//! So a client can always finish sending. The server keeps what the client has sent, unsent replies
//! up to the high water mark, and one reply more. It keeps requests, not the replies to them, which
//! may be a thousand times as big.
//!
//! Two limits end a connection: its own bytes (`client-output-buffer-limit`), and those of all
//! connections together that hold more than the high water mark
//! ([`Context::buffered`](super::Context)). A client that has not authenticated ends at the high
//! water mark.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::connection::{CLOSE_TIMEOUT, CloseReason, Connection, ReadOutcome, WaitOutcome};

impl Connection {
    /// Called between commands, and between rounds of writes. Below the high water mark it returns
    /// at once; above it, it waits until the client has taken enough.
    #[inline]
    pub(super) async fn relieve(&mut self) -> Result<(), CloseReason> {
        if self.output.len() < self.context.limits.high_water {
            return Ok(());
        }
        self.wait_for_client().await
    }

    /// Called between replies that are known already. Above the high water mark it sends what the
    /// socket takes, without waiting.
    #[inline]
    pub(super) fn send_excess(&mut self) -> Result<(), CloseReason> {
        if self.output.len() < self.context.limits.high_water {
            return Ok(());
        }
        self.flush()?;
        self.check_buffers()
    }

    /// Sends replies and keeps the requests that arrive, until the client has taken enough.
    #[cold]
    async fn wait_for_client(&mut self) -> Result<(), CloseReason> {
        loop {
            self.send_excess()?;
            if self.output.len() < self.context.limits.high_water {
                return Ok(());
            }
            if self.client.is_closing() {
                return Err(CloseReason::Killed);
            }
            if self.read_some()? == ReadOutcome::Bytes {
                continue;
            }
            self.client.note(self.clock, self.last_command, self.input.len(), self.output.len());
            // A client that has closed its sending side and takes no replies for a while is gone.
            let timeout = if self.end_of_stream { CLOSE_TIMEOUT } else { Duration::MAX };
            match tokio::time::timeout(timeout, self.wait())
                .await
                .map_err(|_| CloseReason::Closed)?
            {
                WaitOutcome::Ready => {}
                WaitOutcome::Killed => return Err(CloseReason::Killed),
                WaitOutcome::Idle => return Err(CloseReason::Idle),
            }
        }
    }

    /// Brings this connection's share of the common limit up to date, and checks both limits.
    pub(super) fn check_buffers(&mut self) -> Result<(), CloseReason> {
        let limits = &self.context.limits;
        let mine = self.input.len() + self.output.len();
        let counted = if mine < limits.high_water { 0 } else { mine };
        if counted == self.buffered {
            return Ok(());
        }
        let total = self.context.account(self.buffered, counted);
        self.buffered = counted;
        if !self.session.authenticated && self.output.len() >= limits.high_water {
            return Err(CloseReason::Unread { bytes: self.output.len(), limit: limits.high_water });
        }
        // An argument that is still arriving has a limit of its own, the parser's.
        if self.output.len() > limits.output {
            return Err(CloseReason::Unread { bytes: self.output.len(), limit: limits.output });
        }
        if self.output.len() >= limits.high_water && mine > limits.output {
            return Err(CloseReason::Unread { bytes: mine, limit: limits.output });
        }
        if counted > 0 && total > limits.buffered {
            return Err(CloseReason::Unread { bytes: total, limit: limits.buffered });
        }
        Ok(())
    }

    /// Takes this connection out of the common limit, at its end.
    pub(super) fn release_buffers(&mut self) {
        self.context.account(self.buffered, 0);
        self.buffered = 0;
    }

    /// Counts a connection that ended because of these limits.
    pub(super) fn count_unread(&self) {
        self.context.stats.output_limit_closed.fetch_add(1, Ordering::Relaxed);
    }
}
