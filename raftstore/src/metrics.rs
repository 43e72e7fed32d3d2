//! Metrics, declared once: the names here are the names in the exporter, in the documentation and
//! in dashboards.
//!
//! Values are recorded through the [`metrics`] facade: without a recorder they cost next to
//! nothing.

use std::time::Duration;

/// How a metric's values move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Many values of which quantiles are kept.
    Distribution,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name, with the unit last.
    pub name: &'static str,
    /// Kind.
    pub kind: MetricKind,
    /// What it means, in one sentence.
    pub help: &'static str,
}

/// Declares the constants and the table from one list.
macro_rules! declare {
    ($($id:ident, $name:literal, $kind:ident, $help:literal;)*) => {
        $(const $id: &str = $name;)*
        /// Every metric of this crate.
        pub const METRICS: &[Metric] =
            &[$(Metric { name: $name, kind: MetricKind::$kind, help: $help },)*];
    };
}

declare! {
    LOG_WRITES, "neokv_raft_log_writes_total", Counter,
        "Batches of the log writer, one fsync each with sync always.";
    LOG_OPS, "neokv_raft_log_operations_total", Counter,
        "Appends, votes, truncations and purges in those batches.";
    LOG_WRITE_SECONDS, "neokv_raft_log_write_seconds", Distribution,
        "Time to write (and sync) one batch.";
    LOG_BYTES, "neokv_raft_log_bytes", Gauge, "Approximate bytes of log that the Regions hold.";
    STALLED, "neokv_raft_log_stalled", Gauge, "1 while the disk is full and writes are refused.";
    PURGES, "neokv_raft_log_purges_total", Counter, "Purges of applied log entries.";
    ENTRIES, "neokv_raft_entries_proposed_total", Counter, "Log entries proposed.";
    COMMANDS, "neokv_raft_commands_proposed_total", Counter, "Commands in those entries.";
    QUEUE_BYTES, "neokv_raft_queue_bytes", Gauge, "Bytes that wait for entries.";
    REFUSED, "neokv_raft_proposals_refused_total", Counter,
        "Submissions refused before they reached the log.";
    UNKNOWN, "neokv_raft_proposals_unknown_total", Counter,
        "Submissions whose outcome is unknown.";
    LEFT_OUT, "neokv_raft_commands_left_out_total", Counter,
        "Commands left out of an entry that reached its bounds, and proposed again.";
    MISROUTED, "neokv_raft_commands_misrouted_total", Counter,
        "Commands that were routed by an outdated shape of their Region, and routed again.";
    APPLIED, "neokv_raft_entries_applied_total", Counter, "Log entries applied.";
    APPLY_WRITES, "neokv_raft_apply_writes_total", Counter,
        "Engine writes that applied them; one may hold entries of several Regions.";
    APPLY_SECONDS, "neokv_raft_apply_seconds", Distribution,
        "Time to prepare and make one of those writes.";
    PANICS, "neokv_raft_panics_total", Counter,
        "Panics in the work of Regions; above 0 the program has a defect and a Region has stopped.";
    REGIONS, "neokv_raft_regions", Gauge, "Regions with a replica on this store.";
    STOPPED, "neokv_raft_regions_stopped", Gauge, "Regions that have stopped after a failure.";
    SNAPSHOTS_SENT, "neokv_raft_snapshots_sent_total", Counter, "Snapshots sent to peers.";
    SNAPSHOTS_INSTALLED, "neokv_raft_snapshots_installed_total", Counter, "Snapshots installed.";
    TRANSPORT_CALLS, "neokv_raft_transport_calls_total", Counter,
        "Messages sent to other stores.";
    TRANSPORT_FRAMES, "neokv_raft_transport_frames_total", Counter,
        "Frames in which they were sent.";
    TRANSPORT_BYTES, "neokv_raft_transport_bytes_total", Counter, "Bytes of those messages.";
    TRANSPORT_RECEIVED, "neokv_raft_transport_received_total", Counter,
        "Messages received from other stores.";
    TRANSPORT_RECEIVED_BYTES, "neokv_raft_transport_received_bytes_total", Counter,
        "Bytes of the messages received.";
    TRANSPORT_CONNECTED, "neokv_raft_transport_connected_total", Counter,
        "Connections made to other stores.";
    TRANSPORT_FAILED, "neokv_raft_transport_failed_total", Counter,
        "Connections to other stores that failed, at once or later.";
    TRANSPORT_REFUSED, "neokv_raft_transport_refused_total", Counter,
        "Callers refused: of another cluster or version, or looking for another store.";
    TRANSPORT_FULL, "neokv_raft_transport_full_total", Counter,
        "Messages not sent because too much waited for the same store.";
    CLOCK_OFFSET, "neokv_raft_clock_offset_seconds", Gauge,
        "Seconds by which the wall clock is ahead of the clock that decides expiry.";
}

pub(crate) fn log_write(took: Duration, operations: usize) {
    metrics::counter!(LOG_WRITES).increment(1);
    metrics::counter!(LOG_OPS).increment(operations as u64);
    metrics::histogram!(LOG_WRITE_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn proposed(commands: usize, queue_bytes: usize) {
    metrics::counter!(ENTRIES).increment(1);
    metrics::counter!(COMMANDS).increment(commands as u64);
    metrics::gauge!(QUEUE_BYTES).set(queue_bytes as f64);
}

pub(crate) fn refused() {
    metrics::counter!(REFUSED).increment(1);
}

pub(crate) fn unknown(submissions: usize) {
    metrics::counter!(UNKNOWN).increment(submissions as u64);
}

pub(crate) fn misrouted(commands: usize) {
    metrics::counter!(MISROUTED).increment(commands as u64);
}

pub(crate) fn panicked() {
    metrics::counter!(PANICS).increment(1);
}

pub(crate) fn log_bytes(bytes: u64) {
    metrics::gauge!(LOG_BYTES).set(bytes as f64);
}

pub(crate) fn clock_offset(ms: i64) {
    metrics::gauge!(CLOCK_OFFSET).set(ms as f64 / 1000.0);
}

pub(crate) fn left_out(commands: usize) {
    metrics::counter!(LEFT_OUT).increment(commands as u64);
}

pub(crate) fn applied(took: Duration, entries: usize) {
    metrics::counter!(APPLIED).increment(entries as u64);
    metrics::counter!(APPLY_WRITES).increment(1);
    metrics::histogram!(APPLY_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn stalled(full: bool) {
    metrics::gauge!(STALLED).set(if full { 1.0 } else { 0.0 });
}

pub(crate) fn regions(all: usize, stopped: usize) {
    metrics::gauge!(REGIONS).set(all as f64);
    metrics::gauge!(STOPPED).set(stopped as f64);
}

pub(crate) fn snapshot_sent() {
    metrics::counter!(SNAPSHOTS_SENT).increment(1);
}

pub(crate) fn snapshot_installed() {
    metrics::counter!(SNAPSHOTS_INSTALLED).increment(1);
}

pub(crate) fn transport_sent(calls: usize, bytes: usize) {
    metrics::counter!(TRANSPORT_CALLS).increment(calls as u64);
    metrics::counter!(TRANSPORT_FRAMES).increment(1);
    metrics::counter!(TRANSPORT_BYTES).increment(bytes as u64);
}

pub(crate) fn transport_received(calls: usize, bytes: usize) {
    metrics::counter!(TRANSPORT_RECEIVED).increment(calls as u64);
    metrics::counter!(TRANSPORT_RECEIVED_BYTES).increment(bytes as u64);
}

pub(crate) fn transport_connected() {
    metrics::counter!(TRANSPORT_CONNECTED).increment(1);
}

pub(crate) fn transport_failed() {
    metrics::counter!(TRANSPORT_FAILED).increment(1);
}

pub(crate) fn transport_refused() {
    metrics::counter!(TRANSPORT_REFUSED).increment(1);
}

pub(crate) fn transport_full() {
    metrics::counter!(TRANSPORT_FULL).increment(1);
}

pub(crate) fn purged() {
    metrics::counter!(PURGES).increment(1);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert!(
                metric.name.starts_with("neokv_raft_") && metric.help.ends_with('.'),
                "{}",
                metric.name
            );
            assert_eq!(
                metric.kind == MetricKind::Counter,
                metric.name.ends_with("_total"),
                "{}",
                metric.name
            );
        }
    }
}
