//! Whose data directory this is.
//!
//! ```text
//! format_version 4 · cluster_id 8 · store_id 8
//! ```
//!
//! A record of family `default`, written when the directory is created and checked at every open,
//! before anything else is read: a directory of another format must not be misread, and one of
//! another store must not join a second time.
//!
//! The format version comes first, in every format, whatever follows it: [`format_version`]
//! reads it alone, so that a release can name a format that it does not know.

use crate::{
    error::DecodeError,
    layout::{self, Field, Off, Reader, Result, Trace, evidence},
};

const FORMAT_VERSION: &Field = &Field::new(
    "format version",
    "first in every format: a release must be able to name a format it does not know",
)
.evidence(evidence::small);
const CLUSTER_ID: &Field = &Field::new("cluster id", "a store never changes its cluster");
const STORE_ID: &Field =
    &Field::new("store id", "a copied directory must not join the cluster again")
        .evidence(evidence::small);

/// Whose data directory this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Format of everything in the directory; see [`crate::FORMAT_VERSION`].
    pub format_version: u32,
    /// The cluster.
    pub cluster_id: u64,
    /// The store.
    pub store_id: u64,
}

impl Identity {
    /// The record under [`crate::key::IDENTITY`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(20);
        out.extend_from_slice(&self.format_version.to_be_bytes());
        out.extend_from_slice(&self.cluster_id.to_be_bytes());
        out.extend_from_slice(&self.store_id.to_be_bytes());
        out
    }

    /// The inverse of [`Identity::encode`]. Does not check the format version.
    ///
    /// # Errors
    /// Other than 20 bytes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Identity, DecodeError> {
        layout::decode(bytes, "identity", read)
    }
}

/// The format version of an identity record, whatever its format.
///
/// # Errors
/// Fewer than four bytes.
pub fn format_version(bytes: &[u8]) -> std::result::Result<u32, DecodeError> {
    Reader::new(bytes, Off).u32(FORMAT_VERSION)
}

pub(crate) fn read<T: Trace>(r: &mut Reader<'_, T>) -> Result<Identity> {
    Ok(Identity {
        format_version: r.u32(FORMAT_VERSION)?,
        cluster_id: r.u64(CLUSTER_ID)?,
        store_id: r.u64(STORE_ID)?,
    })
}
