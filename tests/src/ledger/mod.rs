//! The ledger: what clients were promised, held against what a killed server still has.
//!
//! Every client sends an endless script of commands, pipelined, over one connection: counters, text
//! that grows, hashes, lists, sets, sorted sets, few keys and many, and commands that change
//! several keys at once. Commands of one connection take effect in order and exactly once, so
//! whatever the moment of the kill, the keyspace afterwards must be what some *prefix* of the
//! script leaves: no shorter than what was acknowledged, no longer than what was sent. After a lost
//! write, a repeated one, or half an MSET it is not:
//!
//! ```text
//! script   INCR APPEND LPUSH RPOP MSET SET | INCR APPEND LPUSH ...
//!          └───── acknowledged ─────┘ └─ sent, unanswered ─┘
//!                                    ▲ the prefix found after the restart ends somewhere here,
//!                                      and the next round goes on from there
//! ```
//!
//! Kills come at random moments: under load, and again while the server starts, before or after it
//! serves. Every start draws its settings: the usual ones, under which much is left to recover, or
//! small ones, under which rows are always being written to files and the log is always being
//! purged.
//!
//! The server has one Region: commands on several have no order among them.

mod found;
mod script;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use neokv_resp::client::Value;

use self::found::{Examiner, Extent};
use self::script::Script;
use crate::client::Connection;
use crate::process::Server;

/// Longest pipeline that a client sends before it waits.
const PIPELINE: usize = 48;
/// One round in so many is longer, so that more is left to recover.
const LONG_ROUND: u64 = 8;
/// A long round is longer by this factor.
const LONGER: u32 = 4;
/// A start is killed at most so many times in a row.
const STARTS_KILLED: u32 = 2;
/// Settings under which a server is always busy with writing rows to files and purging its log.
const BUSY: &[&str] = &[
    "--write-buffer",
    "16mb",
    "--row-table",
    "2mb",
    "--write-behind",
    "1mb",
    "--wal-limit",
    "4mb",
    "--raft-log-bytes",
    "1mb",
    "--raft-log-entries",
    "100",
];

/// How a crash test runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often the server is killed, at least.
    pub kills: u32,
    /// How many connections write at once.
    pub clients: u32,
    /// Seed of all choices.
    pub seed: u64,
    /// The longest time between the start of a load and its kill.
    pub longest: Duration,
    /// Further arguments of the server.
    pub arguments: Vec<String>,
}

/// What a crash test has found in order.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Kills under load.
    pub under_load: u32,
    /// Kills of a start, before the server served.
    pub before_serving: u32,
    /// Kills of a start that had just been done.
    pub after_serving: u32,
    /// Commands that were acknowledged before a kill, all found.
    pub acknowledged: u64,
    /// Commands that were sent and not answered; they may have happened or not.
    pub unanswered: u64,
    /// Unanswered commands that did happen.
    pub survived: u64,
    /// The longest time that a start took until the server served.
    pub longest_start: Duration,
}

impl Summary {
    /// All kills.
    pub fn kills(&self) -> u32 {
        self.under_load + self.before_serving + self.after_serving
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} kills ({} under load, {} during a start, {} right after one), {} commands \
             acknowledged and found, {} of {} unanswered ones found, longest start {:.2} s",
            self.kills(),
            self.under_load,
            self.before_serving,
            self.after_serving,
            self.acknowledged,
            self.survived,
            self.unanswered,
            self.longest_start.as_secs_f64()
        )
    }
}

/// The places in a client's script up to which commands were acknowledged and sent.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    acknowledged: u64,
    sent: u64,
}

/// Loads, kills, restarts and checks, as often as planned, and tells after each check how far it
/// is. An error describes the first promise that was broken.
pub fn run(plan: &Plan, mut tell: impl FnMut(&Summary)) -> io::Result<Summary> {
    let mut test = CrashTest::new(plan)?;
    while test.summary.kills() < plan.kills {
        let accounts = test.load_and_kill()?;
        test.start()?;
        let extent = Extent::Recent(test.random.u64(..));
        let found = test.examine(&accounts, extent)?;
        test.enter(&accounts, &found);
        test.places = found;
        tell(&test.summary);
    }
    // What the checks so far have not asked for, because it should not have changed.
    let accounts = test.places.iter().map(|place| Account { acknowledged: *place, sent: *place });
    test.examine(&accounts.collect::<Vec<_>>(), Extent::Whole)?;
    Ok(test.summary)
}

/// A crash test under way.
struct CrashTest<'a> {
    plan: &'a Plan,
    server: Server,
    random: fastrand::Rng,
    /// How far the server is in each client's script.
    places: Vec<u64>,
    /// How long the last start took.
    last_start: Duration,
    summary: Summary,
}

impl CrashTest<'_> {
    fn new(plan: &Plan) -> io::Result<CrashTest<'_>> {
        let arguments: Vec<&str> = plan.arguments.iter().map(String::as_str).collect();
        let began = Instant::now();
        Ok(CrashTest {
            plan,
            server: Server::neokv(&arguments)?,
            random: fastrand::Rng::with_seed(plan.seed),
            places: vec![0; usize::try_from(plan.clients).map_err(io::Error::other)?],
            last_start: began.elapsed(),
            summary: Summary::default(),
        })
    }

    /// Lets all clients write until the server is killed under them.
    fn load_and_kill(&mut self) -> io::Result<Vec<Account>> {
        let is_long = self.random.u64(..LONG_ROUND) == 0;
        let longest = self.plan.longest * if is_long { LONGER } else { 1 };
        let delay = self.part_of(longest);
        let killed = AtomicBool::new(false);
        let connect = |place| self.server.connect().map(|connection| (place, connection));
        let clients = self.places.iter().copied().map(connect).collect::<io::Result<Vec<_>>>()?;
        let accounts = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..)
                .zip(clients)
                .map(|(client, (place, connection))| {
                    let (random, killed) = (self.random.fork(), &killed);
                    let writer = Writer { script: Script { client }, random, killed };
                    scope.spawn(move || writer.write(connection, place))
                })
                .collect();
            // The kill comes after a random time. Nothing depends on how long that is.
            std::thread::sleep(delay);
            killed.store(true, Ordering::SeqCst);
            self.server.kill()?;
            writers
                .into_iter()
                .map(|writer| writer.join().map_err(|_| broken("a client panicked".into()))?)
                .collect::<io::Result<Vec<_>>>()
        })?;
        self.summary.under_load += 1;
        Ok(accounts)
    }

    /// Starts the server; in half of the cases kills it once or twice while it starts.
    fn start(&mut self) -> io::Result<()> {
        for _ in 0..self.random.u32(0..=STARTS_KILLED + 1).saturating_sub(1) {
            self.draw_settings();
            // Some come when it has just begun to serve, and finds that it starts again.
            let after = self.part_of(self.last_start * 5 / 4);
            if self.server.start_and_kill(after)? {
                self.summary.after_serving += 1;
            } else {
                self.summary.before_serving += 1;
            }
        }
        self.draw_settings();
        let began = Instant::now();
        self.server.restart()?;
        self.last_start = began.elapsed();
        self.summary.longest_start = self.summary.longest_start.max(self.last_start);
        Ok(())
    }

    /// Whether the next start is that of a busy server.
    fn draw_settings(&mut self) {
        let settings = if self.random.bool() { BUSY } else { &[] };
        let own = self.plan.arguments.iter().map(String::as_str);
        self.server.set_arguments(&settings.iter().copied().chain(own).collect::<Vec<_>>());
    }

    /// The length of each client's prefix that is there.
    fn examine(&self, accounts: &[Account], extent: Extent) -> io::Result<Vec<u64>> {
        let mut connection = self.server.connect()?;
        let clients = (0..).zip(accounts);
        let prefixes = clients.map(|(client, account)| {
            let (script, account) = (Script { client }, *account);
            Examiner { script, account, extent, connection: &mut connection }.prefix()
        });
        let prefixes: io::Result<Vec<u64>> = prefixes.collect();
        prefixes.map_err(|error| broken(format!("after {}: {error}", self.summary)))
    }

    fn enter(&mut self, accounts: &[Account], found: &[u64]) {
        for ((account, found), began) in accounts.iter().zip(found).zip(&self.places) {
            self.summary.acknowledged += account.acknowledged - began;
            self.summary.unanswered += account.sent - account.acknowledged;
            self.summary.survived += found - account.acknowledged;
        }
    }

    /// A random time up to this one.
    fn part_of(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.random.f64())
    }
}

fn broken(what: String) -> io::Error {
    io::Error::other(what)
}

/// A client that writes its script.
struct Writer<'a> {
    script: Script,
    random: fastrand::Rng,
    /// Whether the server is being killed.
    killed: &'a AtomicBool,
}

impl Writer<'_> {
    /// Writes from a place of the script until the connection breaks.
    fn write(mut self, mut connection: Connection, place: u64) -> io::Result<Account> {
        let mut account = Account { acknowledged: place, sent: place };
        loop {
            // Every second pipeline is a single command.
            let batch = if self.random.bool() { 1 } else { self.random.usize(1..=PIPELINE) };
            for _ in 0..batch {
                connection.queue(&self.script.command(account.sent));
                account.sent += 1;
            }
            if connection.flush().is_err() {
                return Ok(account);
            }
            for _ in 0..batch {
                match connection.receive() {
                    Ok(Value::Error(text)) if !self.killed.load(Ordering::SeqCst) => {
                        return Err(broken(format!("a write was refused: {text}")));
                    }
                    // An error in the moment of the kill is no acknowledgement, and neither is what
                    // follows it.
                    Ok(Value::Error(_)) | Err(_) => return Ok(account),
                    Ok(_) => account.acknowledged += 1,
                }
            }
        }
    }
}
