//! The threads that run connections. Each is a loop of its own, with connections of its own.
//!
//! ```text
//! acceptor ──► the loop with the fewest connections
//!              loop 0: wait ─► read, run, write of each ready connection ─► wait …
//!              loop 1: the same, with others
//! ```
//!
//! One scheduler over all threads would share the work better: a thread without work takes tasks
//! from another one. But each thread that finds work then wakes a neighbour to look for more. For
//! clients that send one command at a time there is none, and waking in vain costs as much as
//! serving the command. So a connection stays where it began. What could hold a thread for long
//! runs on the blocking pool ([`reads`](super::reads)).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// How long the end waits for reads on the blocking pool.
const END: Duration = Duration::from_secs(2);

/// See the module.
pub struct Threads(Vec<Loop>);

/// One thread.
struct Loop {
    /// A runtime with one worker. `None` once it has ended.
    runtime: Option<Runtime>,
    /// Connections that it runs.
    connections: Arc<AtomicUsize>,
}

impl Threads {
    /// Starts so many threads; 0 starts one per core.
    ///
    /// # Errors
    /// The operating system's reason.
    pub fn start(count: usize) -> io::Result<Threads> {
        let count = match count {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        (0..count).map(|_| Loop::start()).collect::<io::Result<_>>().map(Threads)
    }

    /// Runs a connection on the thread that has the fewest.
    pub(super) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let fewest = self.0.iter().min_by_key(|one| one.connections.load(Ordering::Relaxed));
        if let Some(Loop { runtime: Some(runtime), connections }) = fewest {
            let counted = Counted::new(connections);
            runtime.spawn(async move {
                let _counted = counted;
                connection.await;
            });
        }
    }

    /// Cuts off the connections that are left and ends the threads. Waits for them, so not to be
    /// called on a thread of a runtime.
    pub(super) fn end(mut self) {
        let runtimes = self.0.iter_mut().filter_map(|one| one.runtime.take());
        runtimes.for_each(|runtime| runtime.shutdown_timeout(END));
    }
}

impl Loop {
    fn start() -> io::Result<Loop> {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("front").enable_all().build()?;
        Ok(Loop { runtime: Some(runtime), connections: Arc::default() })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let runtimes = self.0.iter_mut().filter_map(|one| one.runtime.take());
        runtimes.for_each(Runtime::shutdown_background);
    }
}

/// A connection, as it is counted.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(connections: &Arc<AtomicUsize>) -> Counted {
        connections.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(connections))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// The threads on which connections run, with the number of their connections.
    fn run(threads: &Threads, count: usize) -> BTreeMap<String, usize> {
        let (sender, ran) = mpsc::channel();
        for _ in 0..count {
            let sender = sender.clone();
            threads.spawn(async move {
                sender.send(thread::current().id()).unwrap();
                std::future::pending().await
            });
        }
        let mut by_thread = BTreeMap::new();
        for id in ran.iter().take(count) {
            *by_thread.entry(format!("{id:?}")).or_default() += 1;
        }
        by_thread
    }

    #[test]
    fn every_thread_has_as_many_connections() {
        let threads = Threads::start(3).unwrap();
        let by_thread = run(&threads, 30);
        assert_eq!(by_thread.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
        threads.end();
    }

    #[test]
    fn a_connection_that_has_ended_leaves_its_place_to_another() {
        let threads = Threads::start(2).unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (sender, first) = mpsc::channel();
        threads.spawn(async move {
            sender.send(thread::current().id()).unwrap();
            let _ = ended.await;
        });
        let first = format!("{:?}", first.recv().unwrap());
        assert!(!run(&threads, 1).contains_key(&first), "the other thread has none");
        end.send(()).unwrap();
        while threads.0.iter().all(|one| one.connections.load(Ordering::Relaxed) > 0) {
            thread::yield_now();
        }
        assert!(run(&threads, 1).contains_key(&first));
        threads.end();
    }

    #[test]
    fn what_is_left_at_the_end_is_cut_off() {
        let threads = Threads::start(1).unwrap();
        let (held, left) = mpsc::channel::<()>();
        threads.spawn(async move {
            let _held = held;
            std::future::pending().await
        });
        threads.end();
        assert_eq!(left.recv(), Err(mpsc::RecvError));
    }
}
