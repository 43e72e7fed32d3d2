//! The apply threads. A Region always uses the same one, so its entries stay in order without a
//! lock.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::mailbox::{Inbox, Mailbox, Taken, mailbox};

type Job = Box<dyn FnOnce() + Send>;

/// A fixed pool of threads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApplyPool {
    queues: Arc<[Mailbox<Job>]>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl ApplyPool {
    /// Starts the threads.
    pub(crate) fn start(threads: usize) -> Result<ApplyPool, StoreError> {
        let mut queues = Vec::new();
        let mut handles = Vec::new();
        for number in 0..threads.max(1) {
            let (queue, jobs) = mailbox();
            let handle = thread::Builder::new()
                .name(format!("apply-{number}"))
                .spawn(move || work(&jobs))
                .map_err(|source| StoreError::Io {
                    what: "starting an apply thread".into(),
                    source,
                })?;
            queues.push(queue);
            handles.push(handle);
        }
        Ok(ApplyPool { queues: queues.into(), threads: Arc::new(Mutex::new(handles)) })
    }

    /// The queue of a Region's thread.
    pub(crate) fn lane(&self, region: u64) -> Lane {
        let threads = self.queues.len().max(1) as u64;
        let number = usize::try_from(region % threads).unwrap_or(0);
        Lane { queue: self.queues.get(number).cloned() }
    }

    /// Ends the threads once their queues are empty.
    pub(crate) fn stop(&self) {
        self.queues.iter().for_each(Mailbox::close);
        let threads: Vec<JoinHandle<()>> = self.threads.lock().drain(..).collect();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// What a thread does.
fn work(inbox: &Inbox<Job>) {
    let mut jobs = VecDeque::new();
    while inbox.take(&mut jobs, None) == Taken::Items {
        jobs.drain(..).for_each(|job| job());
    }
}

/// One Region's way to its thread.
#[derive(Clone)]
pub(crate) struct Lane {
    queue: Option<Mailbox<Job>>,
}

impl Lane {
    /// Runs `work` on the thread and waits for it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (done, wait) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = done.send(work());
        });
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(job).map_err(|_| stopped())?;
        wait.await.map_err(|_| stopped())
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the apply thread has stopped")
}
