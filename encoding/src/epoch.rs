//! Which shape of a Region a request or an entry refers to.
//!
//! ```text
//! epoch   version 8 · conf_ver 8
//! ```
//!
//! `version` grows when the Region's range of slots changes (split, merge), `conf_ver` when its
//! peers do. A request to a Region names the epoch that its sender saw; log entries carry the
//! epoch that they were proposed under. Epochs are compared for equality, never for order: an
//! epoch from the future is as wrong as one from the past.

use std::fmt;

use crate::layout::{Field, Reader, Result, Trace, evidence};

const EPOCH: &Field = &Field::new("epoch", "which shape of the Region this was made for");
const VERSION: &Field =
    &Field::new("version", "grows with split and merge").evidence(evidence::small);
const CONF_VER: &Field = &Field::new("conf_ver", "grows with membership").evidence(evidence::small);

/// Which shape of a Region: compared for equality, never for order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Epoch {
    /// Grows with split and merge.
    pub version: u64,
    /// Grows with membership.
    pub conf_ver: u64,
}

impl Epoch {
    /// Bytes of an epoch.
    pub(crate) const BYTES: usize = 16;

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.conf_ver.to_be_bytes());
    }
}

/// `version-conf_ver`.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.version, self.conf_ver)
    }
}

pub(crate) fn read<T: Trace>(r: &mut Reader<'_, T>) -> Result<Epoch> {
    r.group(EPOCH, |r| Ok(Epoch { version: r.counter(VERSION)?, conf_ver: r.counter(CONF_VER)? }))
}
