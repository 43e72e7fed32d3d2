//! What precedes the files of a snapshot: as the body of `SnapshotBegin`, and as the content of an
//! `INSTALL` file.
//!
//! ```text
//!   version u8 = 1 · region u64 · bytes applied · bytes descriptor · 0 | 1 · bytes stats
//!   · count u32 · count × (bytes family name · rows u64 · size u64 · CRC-32C u32)
//! ```
//!
//! The records are the stored ones, byte for byte.

use std::path::Path;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::region::{Applied, Descriptor};
use neokv_engine::transfer::SlotFile;

use crate::transport::TransportError;
use crate::transport::wire::{Reader, Writer};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The Region.
    pub(crate) region: u64,
    /// Applied state inside the snapshot.
    pub(crate) applied: Applied,
    /// The Region as of that state.
    pub(crate) descriptor: Descriptor,
    /// The state machine's record, if it keeps one.
    pub(crate) stats: Option<Bytes>,
    /// The files, in order.
    pub(crate) files: Vec<FileInfo>,
}

/// One file of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileInfo {
    /// Family of its rows.
    pub(crate) family: Family,
    /// Rows.
    pub(crate) rows: u64,
    /// Size in bytes.
    pub(crate) bytes: u64,
    /// CRC-32C of all of it.
    pub(crate) checksum: u32,
}

impl FileInfo {
    /// The file at a path.
    pub(crate) fn at(&self, path: &Path) -> SlotFile {
        let FileInfo { family, rows, bytes, checksum } = *self;
        SlotFile { family, path: path.to_path_buf(), rows, bytes, checksum }
    }
}

impl From<&SlotFile> for FileInfo {
    fn from(file: &SlotFile) -> FileInfo {
        FileInfo {
            family: file.family,
            rows: file.rows,
            bytes: file.bytes,
            checksum: file.checksum,
        }
    }
}

impl Header {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::new();
        out.u64(self.region).bytes(&self.applied.encode()).bytes(&self.descriptor.encode());
        match &self.stats {
            None => out.u8(0),
            Some(stats) => out.u8(1).bytes(stats),
        };
        out.u32(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        for file in &self.files {
            out.bytes(file.family.name().as_bytes())
                .u64(file.rows)
                .u64(file.bytes)
                .u32(file.checksum);
        }
        out.finish()
    }

    pub(crate) fn decode(body: Bytes) -> Result<Header, TransportError> {
        let garbled = |why: &dyn std::fmt::Display| TransportError::Garbled(why.to_string());
        let mut from = Reader::new(body)?;
        let region = from.u64()?;
        let applied = Applied::decode(&from.bytes()?).map_err(|error| garbled(&error))?;
        let descriptor = Descriptor::decode(&from.bytes()?).map_err(|error| garbled(&error))?;
        let stats = if from.flag()? { Some(from.bytes()?) } else { None };
        let mut files = Vec::new();
        for _ in 0..from.u32()? {
            let name = from.bytes()?;
            let family = std::str::from_utf8(&name).ok().and_then(Family::from_name);
            let family = family.filter(|family| Family::DATA.contains(family));
            let family = family.ok_or_else(|| garbled(&"a file of no data family"))?;
            files.push(FileInfo {
                family,
                rows: from.u64()?,
                bytes: from.u64()?,
                checksum: from.u32()?,
            });
        }
        from.finish()?;
        if descriptor.id != region {
            return Err(garbled(&"descriptor of another region"));
        }
        Ok(Header { region, applied, descriptor, stats, files })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use neokv_encoding::raft::{LogId, Membership, Peer, PeerRole};
    use neokv_encoding::region::{Epoch, RegionState};
    use neokv_encoding::slot::SlotRange;
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        let log_id = Some(LogId { term: 2, index: 9 });
        let membership = Membership {
            log_id,
            configs: vec![BTreeSet::from([1, 2])],
            nodes: BTreeMap::from([(1, 11), (2, 12)]),
        };
        Header {
            region: 7,
            applied: Applied { log_id, membership, clock: 99 },
            descriptor: Descriptor {
                id: 7,
                slots: SlotRange::ALL,
                epoch: Epoch { version: 1, conf_ver: 1 },
                peers: vec![Peer { id: 1, store: 11, role: PeerRole::Voter }],
                state: RegionState::Normal,
            },
            stats: Some(Bytes::from_static(b"stats")),
            files: vec![FileInfo {
                family: Family::Subkey,
                rows: 3,
                bytes: 1234,
                checksum: 0xdead_beef,
            }],
        }
    }

    #[test]
    fn survives_and_truncations_do_not() {
        let bytes = header().encode();
        assert_eq!(Header::decode(bytes.clone()).unwrap(), header());
        for length in 0..bytes.len() {
            assert!(Header::decode(bytes.slice(..length)).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn files_of_bookkeeping_families_are_refused() {
        let mut header = header();
        header.files[0].family = Family::Region;
        assert!(Header::decode(header.encode()).is_err());
    }

    proptest! {
        #[test]
        fn decoding_survives_anything(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Header::decode(Bytes::from(bytes));
        }
    }
}
