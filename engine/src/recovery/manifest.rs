//! Which logs RocksDB still needs.
//!
//! RocksDB deletes a log once every family has written what stood in it to data files. Before that
//! it notes in its MANIFEST the number of the first log that it still needs. The deletions follow
//! in any order, and a crash may come between two of them. Then an old log is left although newer
//! ones are gone, and what the newer ones held looks missing. RocksDB skips such a log, and so does
//! recovery.
//!
//! The MANIFEST has the format of a log ([`crate::wal`]); each record is an edit:
//!
//! ```text
//! edit:   fields ...
//! field:  tag varint · value
//! tag:    8193 database id, 1 comparator                length varint · bytes
//!         2, 9, 3 log, previous log, next file number   varint
//!         203 greatest number of a family               varint
//!         10 first log that is needed                   varint
//!         others follow
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::error::{EngineError, Result};
use crate::wal::{self, BLOCK, Fragment, HEADER, Part};

/// Bytes of an edit in which the fields stand that are read here.
const EDIT_BEGIN: usize = 256;

const FIRST_LOG: u64 = 10;

/// The number of the first log that RocksDB still needs; 0 if its files do not say. It may need
/// fewer: where the MANIFEST cannot be read to its end, what stands before that counts. Whether
/// such a MANIFEST is damaged is for RocksDB to say.
pub(super) fn first_log(dir: &Path) -> Result<u64> {
    let current = dir.join("CURRENT");
    let name = match fs::read_to_string(&current) {
        Ok(name) => name,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            return Ok(0);
        }
        Err(error) => return Err(EngineError::from_io(&current, error)),
    };
    let path = dir.join(name.trim_end());
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(EngineError::from_io(&path, error)),
    };
    let (mut edits, mut block) = (Edits::default(), Vec::with_capacity(BLOCK));
    loop {
        block.clear();
        file.by_ref()
            .take(BLOCK as u64)
            .read_to_end(&mut block)
            .map_err(|e| EngineError::from_io(&path, e))?;
        if block.is_empty() || !edits.block(&block) {
            return Ok(edits.first_log);
        }
    }
}

/// The edits read so far.
#[derive(Default)]
struct Edits {
    /// The beginning of the current edit.
    begin: Vec<u8>,
    first_log: u64,
}

impl Edits {
    /// Reads a block; `false` if what follows cannot be read.
    fn block(&mut self, block: &[u8]) -> bool {
        let mut rest = block;
        while rest.len() >= HEADER {
            // The number matters only in files that are overwritten, which a MANIFEST never is.
            let Fragment::Good { part, payload, length } = wal::fragment(rest, 0) else {
                return false;
            };
            if matches!(part, Part::Full | Part::First) {
                self.begin.clear();
            }
            let room = EDIT_BEGIN.saturating_sub(self.begin.len());
            self.begin.extend(payload.iter().take(room));
            if matches!(part, Part::Full | Part::Last) {
                // An older edit never names a later log, whatever the order of the edits.
                self.first_log = self.first_log.max(first_log_of(&self.begin).unwrap_or(0));
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        true
    }
}

/// The first log that is needed after an edit, if it says so.
fn first_log_of(edit: &[u8]) -> Option<u64> {
    let mut rest = edit;
    loop {
        match varint(&mut rest)? {
            FIRST_LOG => return varint(&mut rest),
            // The database id and the comparator: bytes behind their length.
            8193 | 1 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            // The other numbers that RocksDB writes before this one.
            2 | 3 | 9 | 203 => {
                varint(&mut rest)?;
            }
            _ => return None,
        }
    }
}

/// Takes a number off the front: seven bits a byte, the lowest first, the high bit on all but the
/// last.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_bytes::encode;

    /// A directory whose MANIFEST holds these bytes.
    fn dir(manifest: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("CURRENT"), "MANIFEST-000005\n").unwrap();
        fs::write(dir.path().join("MANIFEST-000005"), manifest).unwrap();
        dir
    }

    /// An edit with everything that may stand before the first log, and more behind it.
    const FULL: &[u8] =
        b"\x81\x40\x02id\x01\x03cmp\x02\x07\x09\0\x03\x0a\xcb\x01\x08\x0a\xac\x02\x04\x01";

    #[test]
    fn the_greatest_number_of_all_edits_counts() {
        assert_eq!(first_log_of(FULL), Some(300));
        assert_eq!(first_log_of(b"\x02\x07\x04\x01"), None, "another field ends the search");
        assert_eq!(first_log_of(b"\x02\x07\x0a\xac"), None, "cut inside the number");
        let edits = [&encode(1, None, b"\x0a\x07"), &encode(1, None, FULL)[..]].concat();
        let old = [&edits[..], &encode(1, None, b"\x0a\x09")].concat();
        assert_eq!(first_log(dir(&old).path()).unwrap(), 300);
        // An edit in two fragments, and one that the crash has cut.
        let (begin, end) = FULL.split_at(5);
        let split = [encode(2, None, begin), encode(4, None, end)].concat();
        assert_eq!(first_log(dir(&split).path()).unwrap(), 300);
        let torn = [&encode(1, None, b"\x0a\x07")[..], &encode(1, None, FULL)[..20]].concat();
        assert_eq!(first_log(dir(&torn).path()).unwrap(), 7);
    }

    #[test]
    fn without_a_manifest_every_log_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(first_log(dir.path()).unwrap(), 0);
        fs::write(dir.path().join("CURRENT"), "MANIFEST-000005\n").unwrap();
        assert_eq!(first_log(dir.path()).unwrap(), 0);
    }
}
