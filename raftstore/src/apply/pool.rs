//! The apply threads. A Region always uses the same one, so its entries stay in order without a
//! lock.
//!
//! A panic in a job ends the job, not the thread: the other Regions of the lane go on. The
//! caller that waits for the job is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::mailbox::{Inbox, Mailbox, Taken, mailbox};
use crate::panics::catch;

type Job = Box<dyn FnOnce() + Send>;

/// Why a job has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaneError {
    /// The store is ending.
    #[error("the apply thread has stopped")]
    Stopped,
    /// The job panicked, with this message.
    #[error("a defect of the program: {0}")]
    Panicked(String),
}

/// A fixed pool of threads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApplyPool {
    /// Empty: jobs run on the caller's thread.
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
            let handle =
                thread::Builder::new().name(format!("apply-{number}")).spawn(move || work(&jobs));
            handles.push(handle.map_err(|source| StoreError::Io {
                what: "starting an apply thread".into(),
                source,
            })?);
            queues.push(queue);
        }
        Ok(ApplyPool { queues: queues.into(), threads: Arc::new(Mutex::new(handles)) })
    }

    /// A pool without threads: jobs run where they are handed in.
    pub(crate) fn inline() -> ApplyPool {
        ApplyPool { queues: Arc::from([]), threads: Arc::default() }
    }

    /// The queue of a Region's thread.
    pub(crate) fn lane(&self, region: u64) -> Lane {
        let threads = u64::try_from(self.queues.len()).unwrap_or(u64::MAX).max(1);
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
    /// `None`: jobs run on the caller's thread.
    queue: Option<Mailbox<Job>>,
}

impl Lane {
    /// Runs `work` on the thread and waits for it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LaneError> {
        let guarded = move || catch(work).map_err(LaneError::Panicked);
        let Some(queue) = &self.queue else { return guarded() };
        let (done, wait) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = done.send(guarded());
        });
        queue.send(job).map_err(|_| LaneError::Stopped)?;
        wait.await.map_err(|_| LaneError::Stopped)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_job_and_not_the_thread() {
        let pool = ApplyPool::start(1).unwrap();
        let (one, other) = (pool.lane(1), pool.lane(2));
        let failed = one.run(|| panic!("number {}", 7)).await.map(|()| 0);
        assert!(matches!(failed, Err(LaneError::Panicked(text)) if text == "number 7"));
        assert_eq!(other.run(|| 5).await.unwrap(), 5);
        pool.stop();
        assert!(matches!(one.run(|| 1).await, Err(LaneError::Stopped)));
    }

    #[tokio::test]
    async fn without_threads_jobs_run_at_once() {
        let lane = ApplyPool::inline().lane(1);
        assert_eq!(lane.run(|| 5).await.unwrap(), 5);
        assert!(matches!(lane.run(|| panic!("x")).await, Err::<(), _>(LaneError::Panicked(_))));
    }
}
