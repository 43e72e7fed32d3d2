//! One Raft group: openraft, and the three traits by which it uses this crate.
//!
//! ```text
//!                       ┌───────────── openraft ─────────────┐
//!   log_store     ◀─────┤ RaftLogStorage, RaftLogReader        │   log::GroupLog, log::LogWriter
//!   state_machine ◀─────┤ RaftStateMachine                     │   apply::Applier
//!   network       ◀─────┤ RaftNetworkFactory, RaftNetworkV2    │   transport::Link
//!                       └──────────────────────────────────────┘
//! ```
//!
//! Everything above this module speaks to a group through [`Raft`].

mod log_store;
mod network;
mod state_machine;
#[cfg(test)]
mod suite;

use std::time::Duration;

pub(crate) use log_store::LogStore;
pub(crate) use network::{PeerConnections, Unlisted};
use openraft::SnapshotPolicy;
pub(crate) use state_machine::Adapter;

use crate::config::{Config, Execution};
use crate::error::StoreError;
use crate::types::TypeConfig;

/// A running group.
pub(crate) type Raft<M> = openraft::Raft<TypeConfig, Adapter<M>>;

/// The group's settings. `elect`: it may campaign from the start.
pub(crate) fn settings(
    config: &Config,
    region: u64,
    elect: bool,
) -> Result<openraft::Config, StoreError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let group = openraft::Config {
        cluster_name: format!("region-{region}"),
        heartbeat_interval: millis(config.heartbeat),
        heartbeat_min_interval: Some(0),
        election_timeout_min: millis(config.election_min),
        election_timeout_max: millis(config.election_max),
        install_snapshot_timeout: 600_000,
        max_payload_entries: 1024,
        replication_lag_threshold: 50_000,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        purge_batch_size: 1,
        api_channel_size: Some(4096),
        enable_tick: config.execution == Execution::Threads,
        enable_elect: elect,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    let failed =
        |error: openraft::ConfigError| StoreError::Group { region, why: error.to_string() };
    group.validate().map_err(failed)
}
