//! The newest state, for an answer that needs a single look-up.
//!
//! A look-up of one record sees one state without a snapshot, and GET, the busiest of all reads,
//! spares the cost of taking one. A string in chunks is several rows, though, which must be of one
//! state. So the handler says that it is going to read rows ([`Read::expect_rows`]), or begins to
//! walk over them, and is refused; the answer is then built again from a snapshot.

use std::cell::Cell;

use neokv_encoding::family::Family;
use neokv_engine::{Cursor, Direction, EngineError, KeyRange, Read, Slice};

/// Reads the newest state, and only by look-ups of single records.
pub struct Latest<'a> {
    read: &'a dyn Read,
    refused: Cell<bool>,
}

impl<'a> Latest<'a> {
    /// Look-ups in `read`.
    pub fn new(read: &'a dyn Read) -> Latest<'a> {
        Latest { read, refused: Cell::new(false) }
    }

    /// Whether more than look-ups was asked for. Then no answer built from this read counts.
    pub fn has_refused(&self) -> bool {
        self.refused.get()
    }

    fn refusal(&self) -> EngineError {
        self.refused.set(true);
        EngineError::BudgetExceeded
    }
}

impl Read for Latest<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>, EngineError> {
        self.read.get(family, key)
    }

    fn cursor(
        &self,
        _family: Family,
        _range: KeyRange,
        _direction: Direction,
    ) -> Result<Cursor<'_>, EngineError> {
        Err(self.refusal())
    }

    fn expect_rows(&self, _rows: u64) -> Result<(), EngineError> {
        Err(self.refusal())
    }
}
