//! The apply threads. A Region always uses the same one, so its entries stay in order without a
//! lock.
//!
//! ```text
//! queue     Region 1: chunk    Region 5: chunk    Region 9: chunk
//! stage     rows               rows               rows             each sees its own Region only
//! write     └────────────────── one engine write ─────────────┘
//! written   memory, index      memory, index      memory, index
//! answer    replies            replies            replies          and again for those with a rest
//! ```
//!
//! What waits for a thread is written together, whatever Regions it belongs to. An engine write has
//! a cost of its own, and so has waking those who wait: a pipeline over many Regions pays both once
//! for each write instead of once for each Region. Nothing is held back: a chunk that finds the
//! thread idle goes alone.
//!
//! # Short jobs
//!
//! To wake a thread for one small entry costs more than to apply it. A store that stands alone
//! ([`Config::stands_alone`](crate::Config::stands_alone)) has no heartbeats that would wait. So
//! there Raft's thread does it. The only Region of the store has it done at once. Where there are
//! others, a task of Raft's runtime does it when the tasks that are ready now have run. If by then
//! several Regions have something to apply, the apply thread does it all: they share its write, and
//! threads work at the same time. A thread that is awake takes what it finds.
//!
//! A chunk that fails, or that has a defect, ends its own Region; the others of the write go on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use neokv_engine::{Batch, Engine, EngineError};
use parking_lot::Mutex;

use crate::error::StoreError;
use crate::mailbox::{Closed, Inbox, Mailbox, Taken, mailbox};
use crate::metrics;
use crate::panics::catch;
use crate::space::MayBeFull;

/// One Region's work for its apply thread: a number of writes, one after the other.
pub(crate) trait Job: Send {
    /// Prepares the next write. `None`: there is none; the job is over.
    fn stage<'e>(&mut self, engine: &'e Engine) -> Option<Part<'e>>;

    /// What was prepared is written, or is not: if it is, readers may see it now.
    fn written(&mut self, engine: &Engine, outcome: &Result<(), NotWritten>);

    /// Tells those who wait for what was written. Called for all jobs of a write in turn: threads
    /// that are woken by the first do not sleep again before the last.
    fn answer(&mut self);

    /// Whether nothing is left to do.
    fn is_over(&self) -> bool;
}

/// A job's part of a write.
pub(crate) struct Part<'e> {
    /// The rows.
    pub(crate) batch: Batch<'e>,
    /// How many log entries they come from.
    pub(crate) entries: usize,
    /// Bytes of memory that it takes, about.
    pub(crate) bytes: usize,
}

/// Why a write that was shared with other Regions has not been made. Nothing of it is kept.
#[derive(Clone, Debug)]
pub(crate) enum NotWritten {
    /// For want of space: the same write may be made later.
    Full,
    /// For another reason, in words.
    Failed(String),
}

impl From<EngineError> for NotWritten {
    fn from(error: EngineError) -> NotWritten {
        if error.is_full() { NotWritten::Full } else { NotWritten::Failed(error.to_string()) }
    }
}

/// A fixed pool of threads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApplyPool {
    writer: Writer,
    /// Empty: jobs run on the caller's thread.
    queues: Arc<[Queue]>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// Counts the lanes.
    lanes: Arc<()>,
}

type Queue = Mailbox<Box<dyn Job>>;

impl ApplyPool {
    /// Starts the threads. Each prepares parts of a write until they have `write_bytes`.
    pub(crate) fn start(
        threads: usize,
        engine: &Engine,
        write_bytes: usize,
    ) -> Result<ApplyPool, StoreError> {
        let writer = Writer::new(engine, write_bytes);
        let mut queues = Vec::new();
        let mut handles = Vec::new();
        for number in 0..threads.max(1) {
            let (queue, jobs) = mailbox();
            let writer = writer.clone();
            let handle = thread::Builder::new()
                .name(format!("apply-{number}"))
                .spawn(move || work(&writer, &jobs));
            handles.push(handle.map_err(|source| StoreError::Io {
                what: "starting an apply thread".into(),
                source,
            })?);
            queues.push(queue);
        }
        let threads = Arc::new(Mutex::new(handles));
        Ok(ApplyPool { writer, queues: queues.into(), threads, lanes: Arc::default() })
    }

    /// A pool without threads: jobs run where they are handed in.
    pub(crate) fn inline(engine: &Engine, write_bytes: usize) -> ApplyPool {
        let writer = Writer::new(engine, write_bytes);
        ApplyPool { writer, queues: Arc::from([]), threads: Arc::default(), lanes: Arc::default() }
    }

    /// A Region's way to its thread.
    pub(crate) fn lane(&self, region: u64) -> Lane {
        let threads = u64::try_from(self.queues.len()).unwrap_or(u64::MAX).max(1);
        let number = usize::try_from(region % threads).unwrap_or(0);
        let queue = self.queues.get(number).cloned();
        let lanes = Arc::clone(&self.lanes);
        Lane { queue, writer: self.writer.clone(), is_short_here: false, lanes }
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

/// One Region's way to its thread.
#[derive(Clone)]
pub(crate) struct Lane {
    /// `None`: jobs run on the caller's thread.
    queue: Option<Queue>,
    writer: Writer,
    /// Whether short jobs run on the caller's runtime.
    is_short_here: bool,
    lanes: Arc<()>,
}

impl Lane {
    /// The same way, on which short jobs run on the caller's runtime, or do not.
    pub(crate) fn with_short_here(self, is_short_here: bool) -> Lane {
        Lane { is_short_here, ..self }
    }

    /// Hands in a job that is soon done. See the module. [`Closed`]: as for [`send`](Self::send).
    pub(crate) fn send_short(&self, job: Box<dyn Job>) -> Result<(), Closed> {
        // It would wait for room on this thread.
        let is_here = self.is_short_here && self.writer.engine.has_room();
        let Some(queue) = self.queue.as_ref().filter(|_| is_here) else {
            return self.send(job);
        };
        // The pool has one and this lane: no other Region could share the write.
        if Arc::strong_count(&self.lanes) <= 2 {
            self.run(job);
            return Ok(());
        }
        if queue.leave(job)? {
            let stand_in = StandIn { queue: queue.clone(), writer: self.writer.clone() };
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                stand_in.work();
            });
        }
        Ok(())
    }

    /// Hands a job in. [`Closed`]: the store is ending, and the job was dropped.
    pub(crate) fn send(&self, job: Box<dyn Job>) -> Result<(), Closed> {
        if let Some(queue) = &self.queue {
            return queue.send(job);
        }
        self.run(job);
        Ok(())
    }

    /// Carries a job out on this thread.
    fn run(&self, job: Box<dyn Job>) {
        let mut jobs = VecDeque::from([job]);
        while !jobs.is_empty() {
            self.writer.write(&mut jobs);
        }
    }
}

/// Does a short job in place of a thread that sleeps.
struct StandIn {
    queue: Queue,
    writer: Writer,
}

impl StandIn {
    fn work(&self) {
        while let Some(job) = self.queue.take_single(|_| true) {
            let mut jobs = VecDeque::from([job]);
            while !jobs.is_empty() {
                self.writer.write(&mut jobs);
            }
        }
    }
}

impl Drop for StandIn {
    /// What is there still is for the thread: more than one job, or one that came too late. Or the
    /// runtime has ended before any work was done.
    fn drop(&mut self) {
        self.queue.wake();
    }
}

/// What a thread does.
fn work(writer: &Writer, inbox: &Inbox<Box<dyn Job>>) {
    let mut jobs = VecDeque::new();
    while inbox.take(&mut jobs, None) == Taken::Items {
        while !jobs.is_empty() {
            writer.write(&mut jobs);
            // What has come meanwhile goes with the rest of those that are not over.
            inbox.take_waiting(&mut jobs);
        }
    }
}

/// Makes one write out of the parts of many jobs.
#[derive(Clone)]
pub(crate) struct Writer {
    engine: Engine,
    write_bytes: usize,
}

impl Writer {
    /// A writer that prepares parts of a write until they have `write_bytes`.
    pub(crate) fn new(engine: &Engine, write_bytes: usize) -> Writer {
        Writer { engine: engine.clone(), write_bytes }
    }

    /// One write. Takes out the jobs that are over.
    pub(crate) fn write(&self, jobs: &mut VecDeque<Box<dyn Job>>) {
        // Before anything is prepared: it would be in memory already. What fails here fails again
        // when the write is made, and is reported there.
        let _ = self.engine.wait_for_room();
        let began = Instant::now();
        let (mut batches, mut writing) = (Vec::new(), Vec::new());
        let (mut bytes, mut entries) = (0, 0);
        while bytes < self.write_bytes
            && let Some(mut job) = jobs.pop_front()
        {
            if let Some(part) = job.stage(&self.engine) {
                bytes += part.bytes;
                entries += part.entries;
                batches.push(part.batch);
                writing.push(job);
            }
        }
        if batches.is_empty() {
            return;
        }
        // A panic here, too, must not end the thread: it serves other Regions.
        let outcome = match catch(move || self.engine.write_behind(batches)) {
            Ok(outcome) => outcome.map_err(NotWritten::from),
            Err(panic) => {
                metrics::panicked();
                Err(NotWritten::Failed(format!("a defect of the program: {panic}")))
            }
        };
        if outcome.is_ok() {
            metrics::applied(began.elapsed(), entries);
        }
        writing.iter_mut().for_each(|job| job.written(&self.engine, &outcome));
        for mut job in writing {
            job.answer();
            if !job.is_over() {
                jobs.push_back(job);
            }
        }
    }
}

#[cfg(test)]
mod tests;
