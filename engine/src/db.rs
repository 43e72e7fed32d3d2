//! The RocksDB handle with its column families resolved once.
//!
//! A family handle borrows from the database it belongs to. [`Db`] keeps both together, so that a
//! read costs a field access and not a look-up by name. It is always held in an `Arc`; the last
//! holder closes the database, which must not be a RocksDB thread (it would wait for itself): see
//! [`crate::Engine`] for how that is ruled out.

use std::sync::Arc;

use neokv_encoding::family::Family;
use rocksdb::{ColumnFamily, DB};
use self_cell::self_cell;

use crate::error::{EngineError, Result};
use crate::per_family::PerFamily;

/// The handles of the families.
type Handles<'a> = PerFamily<&'a ColumnFamily>;

self_cell!(
    /// The database and its family handles.
    pub(crate) struct Db {
        owner: DB,
        #[covariant]
        dependent: Handles,
    }
);

impl Db {
    /// Resolves the handles of a database that was opened with all families.
    pub(crate) fn resolve(db: DB) -> Result<Arc<Db>> {
        let cell = Db::try_new(db, |db| {
            let handle = |family: Family| {
                db.cf_handle(family.name()).ok_or_else(|| EngineError::Corruption {
                    file: None,
                    detail: format!("column family {} is missing", family.name()),
                })
            };
            PerFamily::try_from_fn(handle)
        })?;
        Ok(Arc::new(cell))
    }

    #[inline]
    pub(crate) fn raw(&self) -> &DB {
        self.borrow_owner()
    }

    #[inline]
    pub(crate) fn handle(&self, family: Family) -> &ColumnFamily {
        self.borrow_dependent().get(family)
    }
}
