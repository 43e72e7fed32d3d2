//! Work that blocks on the disk, away from the threads that keep heartbeats alive.

use std::io;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` on a thread that may block, and waits for it. On a runtime of one thread, which only
/// tests that step through a history use, it runs at once: there nothing else runs meanwhile, and
/// every run repeats the one before.
///
/// # Errors
///
/// The work panicked, or the runtime is ending.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::from)
}
