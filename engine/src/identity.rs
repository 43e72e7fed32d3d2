//! Whose directory this is.
//!
//! Two records answer that. They are checked in this order, so that a wrong directory is refused
//! before anything in it changes:
//!
//! 1. **The file `NEOKV`** beside RocksDB's files. It is read before RocksDB is asked, and whoever
//!    writes to the store holds a lock on it. A directory with other content and without this file
//!    is not ours.
//! 2. **The identity record** in family `default`: cluster id, store id, format version. It is
//!    written once, when the store joins its cluster, and compared at every start: a disk that was
//!    moved to another machine, or a copied directory, must not pass for another store.

use neokv_encoding::FORMAT_VERSION;
use neokv_encoding::family::Family;
use neokv_encoding::identity::Identity;
use neokv_encoding::key::IDENTITY;

use crate::engine::{Durability, Engine};
use crate::error::{EngineError, Result};
use crate::marker;

/// The identity that the store was given, or `None` before it joined a cluster.
///
/// # Errors
/// The record is damaged, or of another format version.
pub fn read(engine: &Engine) -> Result<Option<Identity>> {
    let record = engine.get(Family::Default, IDENTITY)?;
    record.map(|bytes| marker::decode_identity(engine.dir(), &bytes)).transpose()
}

/// Gives a new store its identity, or checks that an existing one has it. Returns whether the store
/// is new.
///
/// # Errors
/// The directory belongs to another store or cluster, or has another format version.
pub fn establish(engine: &Engine, cluster_id: u64, store_id: u64) -> Result<bool> {
    match read(engine)? {
        Some(found) if (found.cluster_id, found.store_id) == (cluster_id, store_id) => Ok(false),
        Some(found) => Err(EngineError::ForeignStore {
            found_cluster: found.cluster_id,
            found_store: found.store_id,
            cluster: cluster_id,
            store: store_id,
        }),
        None => {
            let identity = Identity { format_version: FORMAT_VERSION, cluster_id, store_id };
            let mut batch = engine.log_batch();
            batch.put(Family::Default, IDENTITY, identity.encode());
            engine.write_log(batch, Durability::Synced)?;
            Ok(true)
        }
    }
}
