//! `--replay`: the state that the next start of the server would reach, in a copy of the directory.
//!
//! ```text
//!  directory ──copied──► copy ──opened as by a server, logs applied──► copy ──► answers
//!      only read                  neokv_redis::replay                    removed at the end
//! ```

use std::path::Path;

use neokv_inspect::{Source, StoreCopy};

use crate::error::CliError;

/// Makes the copy and opens it. Also returns how many entries were applied.
///
/// # Errors
/// There is no store, a server runs on it, or it cannot be copied, opened or written.
pub fn open(dir: &Path, now_ms: u64) -> Result<(Source, u64), CliError> {
    let copy = StoreCopy::of(dir)?;
    let replayed = neokv_redis::replay::replay(copy.path());
    let replayed = replayed.map_err(|source| CliError::Replay { dir: dir.into(), source })?;
    let mut source = Source::of_copy(copy, now_ms)?;
    for region in &replayed {
        let (id, failed) = (region.region, region.failed.as_ref());
        source.problems.extend(
            failed.map(|why| format!("the log of Region {id} is not replayed to its end: {why}")),
        );
    }
    Ok((source, replayed.iter().map(|region| region.entries).sum()))
}
