//! The rows of the table: what is sent, against which Redis, and what ratio is to be reached.
//!
//! 64-byte values, a key space of a million; 50 clients, pipelines of 1 and 16. The requests are
//! chosen so that a round takes one to three seconds.

/// Which Redis a workload is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `--appendonly yes --appendfsync always`: every OK is on the disk.
    Durable,
    /// In memory alone.
    Memory,
}

impl Peer {
    /// How the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Durable => "always",
            Peer::Memory => "memory",
        }
    }
}

/// What `redis-benchmark` sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commands {
    /// One of its own tests, by the name behind `-t`.
    Test(&'static str),
    /// Always this command.
    Words(&'static [&'static str]),
}

/// A run of `redis-benchmark`.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What is sent.
    pub commands: Commands,
    /// Connections.
    pub clients: u32,
    /// How many commands a client sends at once.
    pub pipeline: u32,
    /// Commands of all clients together.
    pub requests: u32,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name, which `--only` takes.
    pub name: &'static str,
    /// What is measured.
    pub load: Load,
    /// What both servers are sent before, so that the commands find something.
    pub fill: Option<Load>,
    /// The Redis to compare with.
    pub peer: Peer,
    /// The ratio that NeoKV is meant to reach.
    pub target: f64,
}

/// The rows, in the order in which they run: RPOP takes what LPUSH has left, and the second GET
/// finds what the first one has.
pub const WORKLOADS: &[Workload] = &[
    Workload { load: from_clients(1, "set", 1, 4_000), target: 0.9, ..write("set", 1, 0) },
    write("set", 1, 50_000),
    write("set", 16, 250_000),
    read("get", from_clients(50, "get", 1, 100_000), Some(KEYS), 0.8),
    read("get", from_clients(50, "get", 16, 500_000), None, 0.5),
    write("incr", 1, 50_000),
    write("incr", 16, 250_000),
    write("hset", 1, 50_000),
    write("hset", 16, 250_000),
    write("lpush", 1, 50_000),
    write("lpush", 16, 250_000),
    write("rpop", 1, 50_000),
    write("rpop", 16, 250_000),
    write("sadd", 1, 50_000),
    write("sadd", 16, 250_000),
    write("zadd", 1, 50_000),
    write("zadd", 16, 250_000),
    read("lrange_100", LRANGE_100, Some(LIST), 0.8),
    write("mset", 1, 20_000),
    write("mset", 16, 40_000),
];

/// What GET finds: about two thirds of the key space. Its peer is not that of SET.
const KEYS: Load = from_clients(50, "set", 32, 1_000_000);

/// The first hundred elements of the list of LPUSH. The test of this name pushes a list of its own
/// before each run, which would count as a part of the interval that is measured.
const LRANGE_100: Load = Load {
    commands: Commands::Words(&["lrange", "mylist", "0", "99"]),
    clients: 50,
    pipeline: 1,
    requests: 40_000,
};

/// What LRANGE finds.
const LIST: Load = from_clients(50, "lpush", 16, 1_000);

/// A row of writes by 50 clients, compared with a Redis that is as durable.
const fn write(test: &'static str, pipeline: u32, requests: u32) -> Workload {
    Workload {
        name: test,
        load: from_clients(50, test, pipeline, requests),
        fill: None,
        peer: Peer::Durable,
        target: if pipeline == 1 { 0.85 } else { 1.0 },
    }
}

/// A row of reads, compared with a Redis that has its data in memory alone.
const fn read(name: &'static str, load: Load, fill: Option<Load>, target: f64) -> Workload {
    Workload { name, load, fill, peer: Peer::Memory, target }
}

const fn from_clients(clients: u32, test: &'static str, pipeline: u32, requests: u32) -> Load {
    Load { commands: Commands::Test(test), clients, pipeline, requests }
}

/// A count for runs of another size than the usual one.
#[expect(clippy::cast_possible_truncation, reason = "`as` keeps a count within its type")]
pub fn scaled(count: u32, scale: f64) -> u32 {
    (f64::from(count) * scale) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Peer, WORKLOADS, scaled};

    #[test]
    fn rows_differ_and_writes_are_compared_with_a_durable_redis() {
        let rows: BTreeSet<_> =
            WORKLOADS.iter().map(|row| (row.name, row.load.clients, row.load.pipeline)).collect();
        assert_eq!(rows.len(), WORKLOADS.len());
        for row in WORKLOADS {
            let is_read = matches!(row.name, "get" | "lrange_100");
            assert_eq!(row.peer == Peer::Memory, is_read, "{}", row.name);
            // What the first row of a name is filled with the second one finds.
            let is_filled =
                WORKLOADS.iter().any(|other| other.name == row.name && other.fill.is_some());
            assert_eq!(is_filled, is_read, "{}", row.name);
            assert!(row.load.requests > 0, "{}", row.name);
        }
    }

    #[test]
    fn rpop_finds_as_many_elements_as_it_takes() {
        let of = |name| {
            let rows = WORKLOADS.iter().filter(move |row| row.name == name);
            rows.map(|row| row.load.requests).sum::<u32>()
        };
        assert_eq!(of("lpush"), of("rpop"));
    }

    #[test]
    fn a_count_is_scaled_within_its_type() {
        assert_eq!(scaled(80_000, 0.001), 80);
        assert_eq!(scaled(80_000, 1.0), 80_000);
        assert_eq!(scaled(80_000, 1e9), u32::MAX);
    }
}
