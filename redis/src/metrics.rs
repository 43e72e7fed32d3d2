//! Prometheus metrics, declared once.
//!
//! Every metric is a row of [`METRICS`]: name, kind, help, and how to read it from [`Facts`]. A row
//! is what the endpoint describes, what the sampler publishes and what the documentation lists;
//! there is no second place.
//!
//! ```text
//! Facts ──(every second)──► METRICS rows ──► metrics recorder ──► http://METRICS-BIND/metrics
//! ```
//!
//! Names follow Prometheus' habits: `neokv_` first, the unit last, counters end in `_total`.
//! Metrics with a label (one series per command) are the rows of [`LABELLED`]. What happens too
//! often to be sampled (log writes, entries) is recorded by the Raft store itself and declared
//! there; [`declared`] joins the tables.

mod endpoint;

use std::net::SocketAddr;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use neokv_raftstore::metrics::{self as raft, MetricKind};
use tokio::net::TcpListener;

use crate::facts::Facts;

/// How often the recorder folds the values of distributions into their quantiles: without it they
/// would pile up until somebody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// One metric without labels.
pub struct Metric {
    /// Its name at the endpoint.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// One sentence.
    pub help: &'static str,
    /// Its value. Counters are whole numbers.
    pub read: fn(&Facts) -> u64,
}

/// One metric with one series per value of a label.
pub struct Labelled {
    /// Its name at the endpoint.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// The label's name.
    pub label: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Its series.
    pub read: fn(&Facts) -> Vec<(String, u64)>,
}

macro_rules! metrics_table {
    ($($name:literal, $kind:ident, $help:literal, $read:expr;)*) => {
        /// Every metric without labels.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: MetricKind::$kind,
            help: $help,
            read: $read,
        }),*];
    };
}

metrics_table! {
    "neokv_uptime_seconds", Gauge, "Time since the node was opened.", |f| f.uptime_seconds;
    "neokv_clients", Gauge, "Connections now.", |f| f.server.clients;
    "neokv_connections_total", Counter,
        "Connections accepted, those included that were then refused because of maxclients.",
        |f| f.server.connections;
    "neokv_connections_rejected_total", Counter, "Connections refused because of maxclients.",
        |f| f.server.rejected_connections;
    "neokv_commands_total", Counter, "Commands run.", |f| f.server.commands;
    "neokv_input_bytes_total", Counter, "Bytes received from clients.", |f| f.server.input_bytes;
    "neokv_output_bytes_total", Counter, "Bytes sent to clients.", |f| f.server.output_bytes;
    "neokv_error_replies_total", Counter, "Replies that were errors.", |f| f.server.error_replies;
    "neokv_expired_keys_total", Counter, "Expired keys that were removed.",
        |f| f.server.expired_keys;
    "neokv_keys", Gauge,
        "Keys in the Regions here, including expired ones that are not yet removed.", |f| f.keys;
    "neokv_keys_with_expiry", Gauge, "Keys with an expiry; an estimate when there are many.",
        |f| f.expires.count;
    "neokv_memory_allocated_bytes", Gauge,
        "Memory that the program has allocated, RocksDB included.",
        |f| f.memory.allocated;
    "neokv_memory_resident_bytes", Gauge, "Resident memory of the process.", |f| f.memory.rss;
    "neokv_disk_free_bytes", Gauge, "Free space on the disk under the data directory.",
        |f| f.disk.free;
    "neokv_disk_used_bytes", Gauge,
        "Size of the data files; the write-ahead log and snapshots are not included.",
        |f| f.disk.used;
    "neokv_disk_writes_refused", Gauge,
        "1 while writes are refused because the disk is nearly full.",
        |f| u64::from(f.disk.refusing);
    "neokv_raft_regions_leading", Gauge, "Regions that are led from this store.",
        |f| f.raft.leading;
    "neokv_raft_term", Gauge, "The largest term of the Regions here.", |f| f.raft.term;
    "neokv_raft_last_index", Gauge, "Last appended log index, added up over the Regions here.",
        |f| f.raft.last;
    "neokv_raft_committed_index", Gauge,
        "Last committed log index, added up over the Regions here.",
        |f| f.raft.committed;
    "neokv_raft_applied_index", Gauge, "Last applied log index, added up over the Regions here.",
        |f| f.raft.applied;
    "neokv_raft_purged_index", Gauge, "Last purged log index, added up over the Regions here.",
        |f| f.raft.purged;
    "neokv_raft_log_entries", Gauge, "Entries of log that the Regions here hold.",
        |f| f.raft.log_entries;
    "neokv_row_table_rows", Gauge, "Rows in memory.", |f| f.engine.rows.rows;
    "neokv_row_table_bytes", Gauge, "Memory for those rows.", |f| f.engine.rows.bytes;
    "neokv_row_table_limit_bytes", Gauge, "Memory beyond which rows are evicted.",
        |f| f.engine.rows.bytes_limit;
    "neokv_row_table_max_bytes", Gauge, "What that limit grows to at most.",
        |f| f.engine.rows.bytes_max;
    "neokv_row_table_dirty_bytes", Gauge, "Rows that are applied and not in RocksDB yet.",
        |f| f.engine.rows.dirty_bytes;
    "neokv_row_table_dirty_limit_bytes", Gauge, "Bytes of such rows beyond which apply waits.",
        |f| f.engine.rows.dirty_limit;
    "neokv_row_table_dirty_age_milliseconds", Gauge,
        "Time since the first write that RocksDB lacks; 0 if it has all.",
        |f| millis(f.engine.rows.oldest_dirty);
    "neokv_row_table_hits_total", Counter,
        "Look-ups of rows that were in memory, or were fetched together before.",
        |f| f.engine.rows.hits;
    "neokv_row_table_misses_total", Counter, "Look-ups that went to RocksDB one by one.",
        |f| f.engine.rows.misses;
    "neokv_row_table_evicted_total", Counter, "Rows evicted from memory.",
        |f| f.engine.rows.evicted;
    "neokv_write_behind_runs_total", Counter, "Times that rows were written to RocksDB.",
        |f| f.engine.rows.drains;
    "neokv_write_behind_failures_total", Counter,
        "Times that they could not be written; they stay in memory and are written again.",
        |f| f.engine.rows.failed_drains;
    "neokv_write_behind_rows_total", Counter,
        "Rows written to RocksDB, each once in a run however often it had changed.",
        |f| f.engine.rows.drained_rows;
    "neokv_write_behind_bytes_total", Counter, "Bytes of their keys and values.",
        |f| f.engine.rows.drained_bytes;
    "neokv_write_behind_microseconds_total", Counter, "Time that it took to write them.",
        |f| micros(f.engine.rows.drain_time);
    "neokv_write_behind_last_microseconds", Gauge, "Time that the last run took.",
        |f| micros(f.engine.rows.last_drain);
    "neokv_write_behind_waits_total", Counter,
        "Times that apply waited because too many rows were not in RocksDB yet.",
        |f| f.engine.rows.waits;
    "neokv_write_behind_wait_microseconds_total", Counter, "Time that apply waited for this.",
        |f| micros(f.engine.rows.wait_time);
    "neokv_rocksdb_memtable_bytes", Gauge, "Memory for writes that are not yet flushed.",
        |f| f.engine.memtable_bytes;
    "neokv_rocksdb_block_cache_bytes", Gauge, "Memory for blocks read from disk.",
        |f| f.engine.block_cache_bytes;
    "neokv_rocksdb_block_cache_pinned_bytes", Gauge, "Cached blocks that are in use.",
        |f| f.engine.block_cache_pinned_bytes;
    "neokv_rocksdb_table_reader_bytes", Gauge, "Memory for indexes and filters outside the cache.",
        |f| f.engine.table_reader_bytes;
    "neokv_rocksdb_block_cache_hits_total", Counter, "Block look-ups that the cache answered.",
        |f| f.engine.block_cache_hits;
    "neokv_rocksdb_block_cache_misses_total", Counter, "Block look-ups that went to a file.",
        |f| f.engine.block_cache_misses;
    "neokv_rocksdb_bloom_useful_total", Counter,
        "Look-ups that a bloom filter spared a read of a file.", |f| f.engine.bloom_useful;
    "neokv_rocksdb_wal_bytes_total", Counter, "Bytes appended to the write-ahead log.",
        |f| f.engine.wal_bytes;
    "neokv_rocksdb_wal_syncs_total", Counter, "Syncs of the write-ahead log.",
        |f| f.engine.wal_syncs;
    "neokv_rocksdb_flush_bytes_total", Counter, "Bytes that flushes wrote.",
        |f| f.engine.flush_bytes;
    "neokv_rocksdb_compaction_read_bytes_total", Counter, "Bytes that compactions read.",
        |f| f.engine.compaction_read_bytes;
    "neokv_rocksdb_compaction_write_bytes_total", Counter, "Bytes that compactions wrote.",
        |f| f.engine.compaction_write_bytes;
    "neokv_rocksdb_stall_microseconds_total", Counter,
        "Time that writers waited for flushes and compactions.", |f| f.engine.stall_micros;
    "neokv_rocksdb_stalls_total", Counter, "Times that writes began to be slowed down or stopped.",
        |f| f.engine.stalls;
    "neokv_rocksdb_running_flushes", Gauge, "Flushes that run now.", |f| f.engine.running_flushes;
    "neokv_rocksdb_running_compactions", Gauge, "Compactions that run now.",
        |f| f.engine.running_compactions;
    "neokv_rocksdb_open_snapshots", Gauge, "Open snapshots.", |f| f.engine.open_snapshots;
}

/// Every metric with a label.
pub const LABELLED: &[Labelled] = &[
    Labelled {
        name: "neokv_command_calls_total",
        kind: MetricKind::Counter,
        label: "command",
        help: "Calls by command.",
        read: |f| {
            f.server.command_stats.iter().map(|stat| (stat.name.to_owned(), stat.calls)).collect()
        },
    },
    Labelled {
        name: "neokv_command_microseconds_total",
        kind: MetricKind::Counter,
        label: "command",
        help: "Time from dispatch to reply by command; writes that ran together share it equally.",
        read: |f| {
            f.server
                .command_stats
                .iter()
                .map(|stat| (stat.name.to_owned(), stat.microseconds))
                .collect()
        },
    },
    Labelled {
        name: "neokv_errors_total",
        kind: MetricKind::Counter,
        label: "code",
        help: "Error replies by code.",
        read: |f| f.server.error_stats.clone(),
    },
    Labelled {
        name: "neokv_rocksdb_family_bytes",
        kind: MetricKind::Gauge,
        label: "family",
        help: "Size of the live files by column family.",
        read: |f| {
            f.engine
                .families
                .iter()
                .map(|stats| (stats.family.name().to_owned(), stats.live_file_bytes))
                .collect()
        },
    },
    Labelled {
        name: "neokv_rocksdb_family_keys",
        kind: MetricKind::Gauge,
        label: "family",
        help: "Estimated keys by column family.",
        read: |f| {
            f.engine
                .families
                .iter()
                .map(|stats| (stats.family.name().to_owned(), stats.keys))
                .collect()
        },
    },
];

/// The endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {address}: {why}")]
pub struct MetricsError {
    /// Where.
    pub address: SocketAddr,
    /// The operating system's reason.
    pub why: String,
}

/// Opens the endpoint and describes every metric. Once per process; it lives as long as the runtime
/// that this runs on.
///
/// # Errors
/// The address is taken or not ours, or a recorder is installed already.
pub async fn serve(address: SocketAddr) -> Result<(), MetricsError> {
    let wrong = |why: String| MetricsError { address, why };
    let listener = TcpListener::bind(address).await.map_err(|error| wrong(error.to_string()))?;
    let page =
        PrometheusBuilder::new().install_recorder().map_err(|error| wrong(error.to_string()))?;
    for metric in declared() {
        describe(metric);
    }
    tokio::spawn(endpoint::answer_all(listener, page.clone(), endpoint::EndpointLimits::default()));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            page.run_upkeep();
        }
    });
    Ok(())
}

/// A metric as the endpoint and the documentation list it.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// Its name at the endpoint.
    pub name: &'static str,
    /// How its values move.
    pub kind: MetricKind,
    /// One sentence.
    pub help: &'static str,
}

/// Every metric of the process, of all tables.
#[must_use]
pub fn declared() -> Vec<Declared> {
    let plain = METRICS.iter().map(|metric| Declared {
        name: metric.name,
        kind: metric.kind,
        help: metric.help,
    });
    let labelled = LABELLED.iter().map(|metric| Declared {
        name: metric.name,
        kind: metric.kind,
        help: metric.help,
    });
    let raft = raft::METRICS.iter().map(|metric| Declared {
        name: metric.name,
        kind: metric.kind,
        help: metric.help,
    });
    plain.chain(labelled).chain(raft).collect()
}

fn describe(metric: Declared) {
    match metric.kind {
        MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
        MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
        MetricKind::Distribution => metrics::describe_histogram!(metric.name, metric.help),
    }
}

/// Publishes the state that `facts` describes.
pub fn publish(facts: &Facts) {
    for metric in METRICS {
        let value = (metric.read)(facts);
        match metric.kind {
            MetricKind::Counter => metrics::counter!(metric.name).absolute(value),
            MetricKind::Gauge | MetricKind::Distribution => {
                metrics::gauge!(metric.name).set(float(value))
            }
        }
    }
    for metric in LABELLED {
        for (series, value) in (metric.read)(facts) {
            match metric.kind {
                MetricKind::Counter => {
                    metrics::counter!(metric.name, metric.label => series).absolute(value)
                }
                MetricKind::Gauge | MetricKind::Distribution => {
                    metrics::gauge!(metric.name, metric.label => series).set(float(value));
                }
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Gauges are floats. Above 2^53 the last digits are rounded, which no graph shows.
#[expect(clippy::cast_precision_loss, reason = "a gauge cannot hold more digits")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_rules_and_are_unique() {
        let mut seen = BTreeSet::new();
        for Declared { name, kind, help } in declared() {
            assert!(seen.insert(name), "{name} is declared twice");
            assert!(name.starts_with("neokv_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), kind == MetricKind::Counter, "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }

    #[test]
    fn every_row_is_published_with_its_help() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let page = recorder.handle();
        let mut facts = Facts { keys: 42, ..Facts::default() };
        facts.server.commands = 7;
        facts.server.error_stats = vec![("WRONGTYPE".to_owned(), 3)];
        metrics::with_local_recorder(&recorder, || {
            for metric in declared() {
                describe(metric);
            }
            publish(&facts);
        });
        let page = page.render();
        for metric in METRICS {
            assert!(
                page.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
                "{}",
                metric.name
            );
        }
        assert!(page.contains("\nneokv_keys 42\n"), "{page}");
        assert!(page.contains("\nneokv_commands_total 7\n"), "{page}");
        assert!(page.contains("\nneokv_errors_total{code=\"WRONGTYPE\"} 3\n"), "{page}");
    }

    /// `docs/metrics.md` lists what is declared; UPDATE_GOLDENFILES=1 rewrites it.
    #[test]
    fn the_documentation_lists_every_metric() {
        let mut page = String::from(
            "# Metrics\n\n`neokv --metrics-bind 127.0.0.1:9121` serves these under \
             `http://127.0.0.1:9121/metrics`.\n\n\
             | name | kind | meaning |\n| --- | --- | --- |\n",
        );
        for Declared { name, kind, help } in declared() {
            let kind = format!("{kind:?}").to_lowercase();
            page.push_str(&format!("| `{name}` | {kind} | {help} |\n"));
        }
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
            std::fs::write(&path, &page).expect("write the page");
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            page, written,
            "docs/metrics.md is out of date; UPDATE_GOLDENFILES=1 rewrites it"
        );
    }
}
