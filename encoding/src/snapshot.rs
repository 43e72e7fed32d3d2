//! What a snapshot of a Region consists of. The manifest is the content of the `INSTALL` file and
//! of the message that ends the transfer.
//!
//! ```text
//! manifest  version 1 · descriptor … · applied …
//!           · files (count 4, each: family (length 1 · name …) · rows 8 · size 8 · checksum 4)
//! ```
//!
//! Descriptor and applied record are the stored ones ([`crate::region`]), byte for byte, from the
//! same state as the rows in the files. The manifest has a version of its own: stores of two
//! releases exchange it.

use crate::{
    error::DecodeError,
    family::Family,
    layout::{self, Field, Reader, Result, Trace, evidence},
    raft,
    region::{self, Applied, Descriptor},
};

/// Version byte of the manifest.
const VERSION: u8 = 1;

const VERSION_FIELD: &Field =
    &Field::new("version", "stores of two releases exchange it").evidence(evidence::tag);
const DESCRIPTOR: &Field = &Field::new("descriptor", "the Region as of the applied entry");
const APPLIED: &Field = &Field::new("applied", "the state that the files hold");
const LENGTH: &Field = &Field::new("length", "bytes of the name").evidence(evidence::small);
const NAME: &Field = &Field::new("name", "families are known by name, as in RocksDB");
const FILES: &Field = &Field::new("files", "the rows, in order");
const COUNT: &Field = &Field::new("count", "number of items that follow").evidence(evidence::small);
const FILE: &Field = &Field::new("file", "rows of one family, sorted");
const FAMILY: &Field = &Field::new("family", "where the rows belong");
const ROWS: &Field = &Field::new("rows", "rows in the file").evidence(evidence::small);
const SIZE: &Field = &Field::new("size", "bytes of the file").evidence(evidence::small);
const CHECKSUM: &Field = &Field::new("checksum", "CRC-32C of the whole file");

/// One file of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Family of its rows.
    pub family: Family,
    /// Rows in it.
    pub rows: u64,
    /// Size in bytes.
    pub size: u64,
    /// CRC-32C of all of it.
    pub checksum: u32,
}

/// What a snapshot consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The Region as of the applied entry.
    pub descriptor: Descriptor,
    /// The state that the files hold.
    pub applied: Applied,
    /// The files, in order.
    pub files: Vec<File>,
}

impl Manifest {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.descriptor.encode());
        out.extend_from_slice(&self.applied.encode());
        out.extend_from_slice(&raft::count(self.files.len()).to_be_bytes());
        for file in &self.files {
            let name = file.family.name();
            out.extend(u8::try_from(name.len()));
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&file.rows.to_be_bytes());
            out.extend_from_slice(&file.size.to_be_bytes());
            out.extend_from_slice(&file.checksum.to_be_bytes());
        }
        out
    }

    /// The inverse of [`Manifest::encode`].
    ///
    /// # Errors
    /// Bytes that no encoder writes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Manifest, DecodeError> {
        layout::decode(bytes, "manifest", read)
    }
}

pub(crate) fn read<T: Trace>(r: &mut Reader<'_, T>) -> Result<Manifest> {
    r.tag(VERSION_FIELD, |version| (version == VERSION).then_some(()))?;
    let descriptor = r.group(DESCRIPTOR, region::read_descriptor)?;
    let applied = r.group(APPLIED, region::read_applied)?;
    let files = r.group(FILES, |r| {
        let mut files = Vec::new();
        for _ in 0..r.u32(COUNT)? {
            files.push(r.group(FILE, read_file)?);
        }
        Ok(files)
    })?;
    Ok(Manifest { descriptor, applied, files })
}

fn read_file<T: Trace>(r: &mut Reader<'_, T>) -> Result<File> {
    let name = r.group(FAMILY, |r| {
        let length = r.u8(LENGTH)?;
        r.bytes(NAME, usize::from(length))
    })?;
    let family = std::str::from_utf8(name).ok().and_then(Family::from_name);
    let family = family.filter(|family| Family::DATA.contains(family));
    let why = "only families of users' data travel in snapshots";
    let family = family.ok_or(DecodeError::Invalid { what: "family", why })?;
    Ok(File { family, rows: r.u64(ROWS)?, size: r.u64(SIZE)?, checksum: r.u32(CHECKSUM)? })
}
