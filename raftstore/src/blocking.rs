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

/// Runs `work` on a thread that may block, and does not wait for it. Outside of a runtime, and on
/// one of one thread, it runs at once.
pub(crate) fn in_background(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() != RuntimeFlavor::CurrentThread => {
            drop(handle.spawn_blocking(work));
        }
        _ => work(),
    }
}

/// Something that blocks on the disk when it is dropped, in hands that must not: dropped here, it
/// goes to a thread that may block.
#[derive(Debug)]
pub(crate) struct DroppedInBackground<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> DroppedInBackground<T> {
    pub(crate) fn new(value: T) -> Self {
        DroppedInBackground(Some(value))
    }

    /// Takes it out, by someone who may block.
    pub(crate) fn into_inner(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T: Send + 'static> Drop for DroppedInBackground<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            in_background(move || drop(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};

    use super::*;

    /// Tells on which thread it is dropped.
    struct Tells(mpsc::Sender<ThreadId>);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_blocks_is_dropped_elsewhere_unless_it_is_taken_out() {
        let (tell, told) = mpsc::channel();
        let here = thread::current().id();
        drop(DroppedInBackground::new(Tells(tell.clone())));
        assert_ne!(told.recv().unwrap(), here);
        drop(DroppedInBackground::new(Tells(tell)).into_inner());
        assert_eq!(told.recv().unwrap(), here);
    }
}
