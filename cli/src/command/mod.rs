//! The commands: each file makes one typed answer per command.

pub mod decode;
pub mod dump_key;
pub mod encode;
pub mod explain;
pub mod keys;
pub mod raft;
pub mod region;
pub mod slot;
pub mod store;

use neokv_inspect::Source;
use neokv_inspect::progress::Progress;

use crate::args::{Args, Command, Keys, Raft, Region};
use crate::environment::Environment;
use crate::error::{CliError, Exit};
use crate::output::header::Header;
use crate::output::{Answer, print};
use crate::replay;

/// What a store has none of before a server has run on it.
const NO_REGION: &str =
    "The store has no Region: the first one is made at the first start of a server.";

/// Runs the command of `args` and prints its answer.
///
/// # Errors
/// There is no answer: wrong bytes, no store, no such Region, a closed stream.
pub fn run(args: &Args, environment: &mut Environment<'_>) -> Result<Exit, CliError> {
    let options = &args.output;
    match &args.command {
        Command::Explain(explain) => {
            print(&explain::explain(explain, environment)?, None, options, environment)
        }
        Command::Decode(decode) => {
            print(&decode::decode(decode, environment)?, None, options, environment)
        }
        Command::Encode(encode) => {
            print(&encode::encode(encode, environment)?, None, options, environment)
        }
        Command::Slot(slot) => print(&slot::slot(slot, environment)?, None, options, environment),
        Command::DumpKey(dump) => {
            // Standard input is read before the store is opened: it may take its time.
            let user = dump.user.read(environment)?;
            answer(args, environment, |source| dump_key::dump_key(dump, user, source))
        }
        Command::Keys(Keys::List(list)) => {
            let query = keys::query(list, environment)?;
            answer(args, environment, |source| keys::list(&query, source))
        }
        Command::Raft(Raft::Log(log)) => answer(args, environment, |source| raft::log(log, source)),
        Command::Raft(Raft::State { region }) => {
            answer(args, environment, |source| raft::state(*region, source))
        }
        Command::Region(Region::List) => {
            answer(args, environment, |source| Ok(region::list(source)))
        }
        Command::Region(Region::Show { id }) => {
            answer(args, environment, |source| region::show(*id, source))
        }
        Command::Store => answer(args, environment, |source| Ok(store::store(source))),
    }
}

/// Opens the store and prints what `ask` finds in it.
fn answer<A: Answer>(
    args: &Args,
    environment: &mut Environment<'_>,
    ask: impl FnOnce(&Source) -> Result<A, CliError>,
) -> Result<Exit, CliError> {
    let (source, replayed) = if args.replay {
        let (source, entries) = replay::open(&args.dir, environment.now_ms)?;
        (source, Some(entries))
    } else {
        (Source::open(&args.dir, environment.now_ms)?, None)
    };
    let header = Header::new(&source, replayed);
    print(&ask(&source)?, Some(&header), &args.output, environment)
}

/// `2 entries, 1 of them known to be committed`: what of a log is not in the rows.
fn lag(progress: &Progress) -> String {
    let entries = match progress.lag() {
        0 => return "nothing".to_string(),
        1 => "1 entry".to_string(),
        more => format!("{more} entries"),
    };
    match progress.committed_lag() {
        0 => entries,
        known => format!("{entries}, {known} of them known to be committed"),
    }
}

/// A dash for what is not there.
fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_string(), |value| value.to_string())
}

/// A limit of the command line, where 0 is none.
fn limit(number: usize) -> usize {
    if number == 0 { usize::MAX } else { number }
}
