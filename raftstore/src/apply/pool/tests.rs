//! Where short jobs run.

use std::sync::mpsc;

use neokv_encoding::family::Family;
use neokv_engine::Options;

use super::*;

/// Writes a row of its own, and tells the name of the thread that has done it.
struct Tells {
    row: usize,
    tell: Option<mpsc::Sender<String>>,
}

impl Job for Tells {
    fn stage<'e>(&mut self, engine: &'e Engine) -> Option<Part<'e>> {
        let mut batch = engine.batch();
        batch.put(Family::Subkey, self.row.to_be_bytes(), b"value");
        Some(Part { batch, entries: 1, bytes: 1 })
    }

    fn written(&mut self, _: &Engine, outcome: &Result<(), NotWritten>) {
        assert!(outcome.is_ok());
    }

    fn answer(&mut self) {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.tell.take().unwrap().send(name).unwrap();
    }

    fn is_over(&self) -> bool {
        self.tell.is_none()
    }
}

struct Fixture {
    pool: ApplyPool,
    tell: mpsc::Sender<String>,
    told: mpsc::Receiver<String>,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(&dir.path().join("db"), &Options::default()).unwrap();
        let pool = ApplyPool::start(1, &engine, 1 << 20).unwrap();
        let (tell, told) = mpsc::channel();
        Fixture { pool, tell, told, _dir: dir }
    }

    /// Hands in so many short jobs before anything else runs, on a runtime that runs what is to
    /// follow if `goes_on`. Returns the names of the threads that have done them.
    fn run(&self, is_short_here: bool, jobs: usize, goes_on: bool) -> Vec<String> {
        // The thread must sleep, or it takes what it finds.
        for queue in self.pool.queues.iter() {
            while !queue.is_asleep() {
                thread::yield_now();
            }
        }
        let lane = self.pool.lane(1).with_short_here(is_short_here);
        let _another_region = self.pool.lane(2);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for row in 0..jobs {
                let tell = Some(self.tell.clone());
                lane.send_short(Box::new(Tells { row, tell })).unwrap();
            }
            // A task that is spawned behind another one runs behind it, and so on: enough of them,
            // and all is done that the runtime does.
            for _ in 0..usize::from(goes_on) * 10 {
                tokio::spawn(tokio::task::yield_now()).await.unwrap();
            }
        });
        drop(runtime);
        self.told.iter().take(jobs).collect()
    }
}

fn here() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

#[test]
fn a_short_job_needs_no_thread_where_no_heartbeat_waits() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(true, 1, true), [here()]);
    assert_eq!(fixture.run(true, 1, true), [here()]);
    assert_eq!(fixture.run(false, 1, true), ["apply-0"]);
}

#[test]
fn a_short_job_of_the_only_region_is_done_when_it_was_handed_in() {
    let fixture = Fixture::new();
    let lane = fixture.pool.lane(1).with_short_here(true);
    let tell = Some(fixture.tell.clone());
    lane.send_short(Box::new(Tells { row: 0, tell })).unwrap();
    assert_eq!(fixture.told.try_recv(), Ok(here()));
}

#[test]
fn short_jobs_of_several_regions_are_for_the_thread() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(true, 3, true), ["apply-0"; 3]);
}

#[test]
fn what_a_runtime_that_ends_has_not_done_is_for_the_thread() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(true, 1, false), ["apply-0"]);
}
