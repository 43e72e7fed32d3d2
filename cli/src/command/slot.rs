//! `slot`: which part of the key space a key belongs to.

use bytes::Bytes;
use neokv_encoding::slot::{hash_tag, slot_of};
use serde::Serialize;

use crate::args;
use crate::environment::Environment;
use crate::error::CliError;
use crate::output::Answer;
use crate::output::json::UserBytes;
use crate::output::table::{Overflow, Page, Row, Table};

/// Slots of keys.
#[derive(Debug, Serialize)]
pub struct Slots {
    keys: Vec<KeySlot>,
}

/// Slot of one key.
#[derive(Debug, Serialize)]
struct KeySlot {
    key: UserBytes,
    /// The part of the key that is hashed.
    hashed: UserBytes,
    slot: u16,
}

/// Computes the slots.
///
/// # Errors
/// Bytes that are not written as they should be.
pub fn slot(args: &args::Slot, environment: &mut Environment<'_>) -> Result<Slots, CliError> {
    let mut keys = Vec::new();
    for key in &args.keys {
        let key = key.read("KEY", environment)?;
        let hashed = UserBytes(Bytes::copy_from_slice(hash_tag(&key)));
        keys.push(KeySlot { slot: slot_of(&key), hashed, key: UserBytes(key) });
    }
    Ok(Slots { keys })
}

impl Answer for Slots {
    const SCHEMA: &'static str = "slot";

    fn page(&self, page: &mut Page) {
        let row = |key: &KeySlot| {
            Row::new(vec![key.slot.to_string(), key.hashed.to_string(), key.key.to_string()])
        };
        let rows = self.keys.iter().map(row).collect();
        page.table(&Table {
            titles: vec![">slot", "hashed", "key"],
            rows,
            overflow: Overflow::Cut,
        });
        page.blank();
        page.dim("CRC-16/XMODEM of the part in the first {…}, or of the whole key, modulo 16384.");
    }
}
