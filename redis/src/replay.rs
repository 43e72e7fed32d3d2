//! The state that the next start of a server would reach, for tools.
//!
//! Opens a directory as a server does, which finishes what a crash has interrupted, and applies
//! what the logs hold beyond the rows. The directory changes: it is a copy.

use std::path::Path;
use std::sync::Arc;

use neokv_engine::{Engine, EngineError, Options, identity};
use neokv_raftstore::{Replayed, StoreError};

use crate::machine::RedisMachine;

/// Why a log cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum ReplayError {
    /// The directory cannot be opened, read or written.
    Engine(#[from] EngineError),
    /// The records of the Regions cannot be read.
    Store(#[from] StoreError),
}

impl ReplayError {
    /// Whether bytes on the disk are wrong, and not the access to them.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            ReplayError::Engine(error) | ReplayError::Store(StoreError::Engine(error)) => {
                matches!(error, EngineError::Corruption { .. })
            }
            ReplayError::Store(error) => {
                matches!(error, StoreError::Record { .. } | StoreError::Missing { .. })
            }
        }
    }
}

/// Applies the logs in `dir`, and closes the store again.
///
/// # Errors
/// See [`ReplayError`]. What a single Region lacks is in its [`Replayed`].
pub fn replay(dir: &Path) -> Result<Vec<Replayed>, ReplayError> {
    let engine = Engine::open(dir, &Options { statistics: false, ..Options::default() })?;
    // A directory that no server has begun to use has no Regions either.
    let store = identity::read(&engine)?.map_or(0, |identity| identity.store_id);
    // What an entry may do is in the entry; the machine's own bounds are for new ones.
    let replayed = neokv_raftstore::replay(&engine, &Arc::new(RedisMachine::default()), store)?;
    engine.drain()?;
    Ok(replayed)
}
