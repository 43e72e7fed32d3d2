//! The sections of INFO.
//!
//! A section is a row of [`SECTIONS`] and a function that writes its lines. The functions see
//! nothing but the [`InfoSource`], so that a test can hand them any state.

use std::fmt::{Display, Write};

use crate::REDIS_VERSION;
use crate::command::{Args, args};
use crate::config::{OptionValue, Settings};
use crate::facts::Facts;
use crate::identity::NodeIdentity;
use crate::process::usage::Memory;

/// What the sections are written from.
pub struct InfoSource<'a> {
    /// The node at one instant.
    pub facts: &'a Facts,
    /// The effective options.
    pub settings: &'a Settings,
    /// What this node is called.
    pub identity: &'a NodeIdentity,
}

/// One section.
pub struct Section {
    /// Its title; in lower case the word that INFO takes.
    pub title: &'static str,
    /// Whether INFO without arguments shows it.
    pub default: bool,
    write: fn(&InfoSource<'_>, &mut Lines),
}

/// All sections in the order in which they are shown.
pub const SECTIONS: &[Section] = &[
    Section { title: "Server", default: true, write: server },
    Section { title: "Clients", default: true, write: clients },
    Section { title: "Memory", default: true, write: memory },
    Section { title: "Persistence", default: true, write: persistence },
    Section { title: "Stats", default: true, write: stats },
    Section { title: "Replication", default: true, write: replication },
    Section { title: "CPU", default: true, write: cpu },
    Section { title: "Commandstats", default: false, write: commandstats },
    Section { title: "Errorstats", default: true, write: errorstats },
    Section { title: "Cluster", default: true, write: cluster },
    Section { title: "NeoKV", default: true, write: neokv },
    Section { title: "Raft", default: true, write: raft },
    Section { title: "RocksDB", default: false, write: rocksdb },
    Section { title: "Keyspace", default: true, write: keyspace },
];

/// The text of the named sections, of the default ones if none is named.
#[must_use]
pub fn render(source: &InfoSource<'_>, names: &Args) -> String {
    let named = |word: &str| names.iter().any(|name| args::is(name, word));
    let everything = named("all") || named("everything");
    let default = names.is_empty() || named("default");
    let mut lines = Lines(String::new());
    for section in SECTIONS {
        if everything || (default && section.default) || named(section.title) {
            lines.title(section.title);
            (section.write)(source, &mut lines);
        }
    }
    lines.0
}

/// The text so far. Writing to a string cannot fail.
struct Lines(String);

impl Lines {
    fn title(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\r\n" };
        let _infallible = write!(self.0, "{gap}# {title}\r\n");
    }

    fn put(&mut self, name: &str, value: impl Display) {
        let _infallible = write!(self.0, "{name}:{value}\r\n");
    }

    /// A number of bytes, and once more for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.put(name, bytes);
        self.put(&format!("{name}_human"), human(bytes));
    }
}

/// `1.06M` as Redis prints sizes.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn human(bytes: u64) -> String {
    let units = [("T", 1_u64 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match units.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn server(source: &InfoSource<'_>, out: &mut Lines) {
    let (config, facts, identity) = (&source.settings.config, source.facts, source.identity);
    out.put("redis_version", REDIS_VERSION);
    out.put("neokv_version", env!("CARGO_PKG_VERSION"));
    out.put("redis_mode", if config.cluster_mode { "cluster" } else { "standalone" });
    out.put("os", &identity.os);
    out.put("arch_bits", usize::BITS);
    out.put("multiplexing_api", "epoll");
    out.put("process_id", std::process::id());
    out.put("run_id", &identity.run);
    out.put("tcp_port", identity.port());
    out.put("server_time_usec", facts.time_usec);
    out.put("uptime_in_seconds", facts.uptime_seconds);
    out.put("uptime_in_days", facts.uptime_seconds / 86_400);
    out.put("executable", &identity.executable);
    out.put("config_file", &identity.config_file);
}

fn clients(source: &InfoSource<'_>, out: &mut Lines) {
    out.put("connected_clients", source.facts.server.clients);
    out.put("maxclients", source.settings.config.maxclients);
    out.put("blocked_clients", 0);
}

fn memory(source: &InfoSource<'_>, out: &mut Lines) {
    let memory = source.facts.memory;
    out.bytes("used_memory", memory.allocated);
    out.bytes("used_memory_rss", memory.rss);
    out.bytes("used_memory_peak", memory.peak);
    out.put(
        "used_memory_peak_perc",
        format_args!("{:.2}%", ratio(memory.allocated, memory.peak) * 100.0),
    );
    out.put("allocator_allocated", memory.allocated);
    out.put("allocator_active", memory.active);
    out.put("allocator_resident", memory.resident);
    out.bytes("total_system_memory", Memory::of_machine());
    out.bytes("maxmemory", 0);
    out.put("maxmemory_policy", "noeviction");
    out.put("row_table_rows", source.facts.engine.rows.rows);
    out.bytes("row_table", source.facts.engine.rows.bytes);
    out.bytes("row_table_limit", source.facts.engine.rows.bytes_limit);
    out.bytes("row_table_max", source.facts.engine.rows.bytes_max);
    out.put("mem_fragmentation_ratio", format_args!("{:.2}", ratio(memory.rss, memory.allocated)));
    out.put("mem_allocator", "jemalloc");
}

fn persistence(source: &InfoSource<'_>, out: &mut Lines) {
    let sync = source.settings.list.iter().find(|setting| setting.option.name == "sync");
    out.put("loading", 0);
    out.put("aof_enabled", 1);
    if let Some(OptionValue::Word(word)) = sync.map(|setting| &setting.value) {
        out.put("fsync_mode", word);
    }
    out.put("wal_bytes_written", source.facts.engine.wal_bytes);
    out.put("wal_syncs", source.facts.engine.wal_syncs);
    out.put("aof_last_write_status", if source.facts.disk.refusing { "err" } else { "ok" });
    let rows = &source.facts.engine.rows;
    out.bytes("write_behind_dirty", rows.dirty_bytes);
    out.bytes("write_behind_dirty_limit", rows.dirty_limit);
    out.put("write_behind_dirty_age_ms", rows.oldest_dirty.as_millis());
    out.put("write_behind_runs", rows.drains);
    out.put("write_behind_failures", rows.failed_drains);
    out.put("write_behind_rows", rows.drained_rows);
    out.put("write_behind_bytes", rows.drained_bytes);
    out.put("write_behind_usec", rows.drain_time.as_micros());
    out.put("write_behind_last_usec", rows.last_drain.as_micros());
    out.put("write_behind_waits", rows.waits);
    out.put("write_behind_wait_usec", rows.wait_time.as_micros());
}

fn stats(source: &InfoSource<'_>, out: &mut Lines) {
    let server = &source.facts.server;
    out.put("total_connections_received", server.connections);
    out.put("total_commands_processed", server.commands);
    out.put("total_net_input_bytes", server.input_bytes);
    out.put("total_net_output_bytes", server.output_bytes);
    out.put("rejected_connections", server.rejected_connections);
    out.put("expired_keys", server.expired_keys);
    out.put("evicted_keys", 0);
    out.put("row_table_hits", source.facts.engine.rows.hits);
    out.put("row_table_misses", source.facts.engine.rows.misses);
    out.put("row_table_evicted", source.facts.engine.rows.evicted);
    out.put("total_error_replies", server.error_replies);
}

/// One replica that leads itself: what Redis calls a master without replicas.
fn replication(source: &InfoSource<'_>, out: &mut Lines) {
    out.put("role", "master");
    out.put("connected_slaves", 0);
    out.put("master_failover_state", "no-failover");
    out.put("master_replid", &source.identity.node);
    out.put("master_repl_offset", source.facts.raft.applied);
}

fn cpu(source: &InfoSource<'_>, out: &mut Lines) {
    out.put("used_cpu_sys", format_args!("{:.6}", source.facts.cpu.system));
    out.put("used_cpu_user", format_args!("{:.6}", source.facts.cpu.user));
}

fn commandstats(source: &InfoSource<'_>, out: &mut Lines) {
    for stat in &source.facts.server.command_stats {
        let each = ratio(stat.microseconds, stat.calls);
        let (calls, usec, rejected, failed) =
            (stat.calls, stat.microseconds, stat.rejected, stat.failed);
        out.put(
            &format!("cmdstat_{}", stat.name),
            format_args!(
                "calls={calls},usec={usec},usec_per_call={each:.2},rejected_calls={rejected},\
                 failed_calls={failed}"
            ),
        );
    }
}

fn errorstats(source: &InfoSource<'_>, out: &mut Lines) {
    for (code, count) in &source.facts.server.error_stats {
        out.put(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn cluster(source: &InfoSource<'_>, out: &mut Lines) {
    out.put("cluster_enabled", u8::from(source.settings.config.cluster_mode));
}

fn neokv(source: &InfoSource<'_>, out: &mut Lines) {
    let (identity, disk) = (source.identity, source.facts.disk);
    out.put("neokv_version", env!("CARGO_PKG_VERSION"));
    out.put("cluster_id", format_args!("{:016x}", identity.cluster_id));
    out.put("store_id", identity.store_id);
    out.put("format_version", identity.format_version);
    out.put("data_directory", source.settings.config.dir.display());
    out.bytes("disk_free", disk.free);
    out.bytes("disk_used", disk.used);
    out.bytes("disk_reserve", disk.reserve);
    out.put("disk_writes_refused", u8::from(disk.refusing));
    out.put("expires_exact", u8::from(source.facts.expires.exact));
}

fn raft(source: &InfoSource<'_>, out: &mut Lines) {
    let raft = source.facts.raft;
    out.put("raft_regions", raft.regions);
    out.put("raft_regions_leading", raft.leading);
    out.put("raft_regions_stopped", raft.stopped);
    out.put("raft_term", raft.term);
    out.put("raft_last_index", raft.last);
    out.put("raft_committed_index", raft.committed);
    out.put("raft_applied_index", raft.applied);
    out.put("raft_purged_index", raft.purged);
    out.put("raft_log_entries", raft.log_entries);
    out.bytes("raft_log_bytes", raft.log_bytes);
}

fn rocksdb(source: &InfoSource<'_>, out: &mut Lines) {
    let engine = &source.facts.engine;
    out.bytes("rocksdb_memtables", engine.memtable_bytes);
    out.bytes("rocksdb_block_cache", engine.block_cache_bytes);
    out.bytes("rocksdb_table_readers", engine.table_reader_bytes);
    out.put("rocksdb_block_cache_hits", engine.block_cache_hits);
    out.put("rocksdb_block_cache_misses", engine.block_cache_misses);
    out.put("rocksdb_bloom_useful", engine.bloom_useful);
    out.put("rocksdb_wal_bytes", engine.wal_bytes);
    out.put("rocksdb_wal_syncs", engine.wal_syncs);
    out.put("rocksdb_flush_bytes", engine.flush_bytes);
    out.put("rocksdb_compaction_read_bytes", engine.compaction_read_bytes);
    out.put("rocksdb_compaction_write_bytes", engine.compaction_write_bytes);
    out.put("rocksdb_stall_microseconds", engine.stall_micros);
    out.put("rocksdb_write_stopped", u8::from(engine.write_stopped));
    out.put("rocksdb_running_flushes", engine.running_flushes);
    out.put("rocksdb_running_compactions", engine.running_compactions);
    out.put("rocksdb_orphans_dropped", engine.orphans.dropped_rows);
    for stats in &engine.families {
        let (keys, bytes, memory) = (stats.keys, stats.live_file_bytes, stats.memtable_bytes);
        out.put(
            &format!("rocksdb_family_{}", stats.family.name()),
            format_args!("estimated_keys={keys},file_bytes={bytes},memtable_bytes={memory}"),
        );
    }
}

fn keyspace(source: &InfoSource<'_>, out: &mut Lines) {
    let (keys, expires) = (source.facts.keys, source.facts.expires.count);
    if keys > 0 {
        out.put("db0", format_args!("keys={keys},expires={},avg_ttl=0", expires.min(keys)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use neokv_engine::RowStats;

    use super::*;
    use crate::config;
    use crate::facts::ExpiryFacts;
    use crate::stats::CommandCount;

    fn text(facts: &Facts, line: &str) -> String {
        let settings = config::defaults().expect("the table is consistent");
        let names: Vec<Bytes> =
            line.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        render(
            &InfoSource { facts, settings: &settings, identity: &NodeIdentity::default() },
            &names,
        )
    }

    fn titles(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("# ")).collect()
    }

    #[test]
    fn sections_are_chosen_as_redis_does() {
        let facts = Facts::default();
        let default: Vec<&str> = SECTIONS
            .iter()
            .filter(|section| section.default)
            .map(|section| section.title)
            .collect();
        let all: Vec<&str> = SECTIONS.iter().map(|section| section.title).collect();
        assert_eq!(titles(&text(&facts, "")), default);
        assert_eq!(titles(&text(&facts, "default")), default);
        assert_eq!(titles(&text(&facts, "ALL")), all);
        assert_eq!(titles(&text(&facts, "everything")), all);
        assert_eq!(
            titles(&text(&facts, "keyspace SERVER nonsense server")),
            ["Server", "Keyspace"]
        );
        assert_eq!(text(&facts, "nonsense"), "");
        assert!(titles(&text(&facts, "default commandstats")).contains(&"Commandstats"));
    }

    #[test]
    fn lines_end_and_sections_part_as_in_redis() {
        let text = text(&Facts::default(), "cpu cluster");
        assert_eq!(
            text,
            "# CPU\r\nused_cpu_sys:0.000000\r\nused_cpu_user:0.000000\r\n\r\n\
             # Cluster\r\ncluster_enabled:0\r\n"
        );
    }

    #[test]
    fn stock_clients_find_a_version_and_keys() {
        let facts =
            Facts { keys: 5, expires: ExpiryFacts { count: 2, exact: true }, ..Facts::default() };
        assert!(text(&facts, "server").contains("\r\nredis_version:7.0.15\r\n"));
        assert!(text(&facts, "keyspace").ends_with("db0:keys=5,expires=2,avg_ttl=0\r\n"));
        assert_eq!(text(&Facts::default(), "keyspace"), "# Keyspace\r\n");
    }

    #[test]
    fn commands_are_reported_with_their_mean() {
        let mut facts = Facts::default();
        let stat = CommandCount { name: "get", calls: 4, microseconds: 10, rejected: 1, failed: 2 };
        facts.server.command_stats.push(stat);
        assert!(text(&facts, "commandstats").ends_with(
            "cmdstat_get:calls=4,usec=10,usec_per_call=2.50,rejected_calls=1,failed_calls=2\r\n"
        ));
    }

    #[test]
    fn what_is_not_in_rocksdb_yet_is_reported_with_its_bound() {
        let mut facts = Facts::default();
        facts.engine.rows = RowStats {
            dirty_bytes: 1 << 20,
            dirty_limit: 64 << 20,
            oldest_dirty: Duration::from_millis(1500),
            drains: 3,
            last_drain: Duration::from_micros(250),
            waits: 2,
            hits: 9,
            ..RowStats::default()
        };
        let persistence = text(&facts, "persistence");
        for line in [
            "write_behind_dirty:1048576",
            "write_behind_dirty_human:1.00M",
            "write_behind_dirty_limit:67108864",
            "write_behind_dirty_age_ms:1500",
            "write_behind_runs:3",
            "write_behind_last_usec:250",
            "write_behind_waits:2",
        ] {
            assert!(persistence.contains(&format!("\r\n{line}\r\n")), "{line}: {persistence}");
        }
        assert!(text(&facts, "stats").contains("\r\nrow_table_hits:9\r\n"));
    }

    #[test]
    fn sizes_for_people() {
        let sizes: Vec<String> =
            [0, 1023, 1024, 1113904, 25_276_502_016].into_iter().map(human).collect();
        assert_eq!(sizes, ["0B", "1023B", "1.00K", "1.06M", "23.54G"]);
    }
}
