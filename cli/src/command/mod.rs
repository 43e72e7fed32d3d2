//! The commands: each file makes one typed answer per command.

pub mod decode;
pub mod dump_key;
pub mod encode;
pub mod explain;
pub mod raft;
pub mod region;
pub mod slot;
pub mod store;

use crate::args::{Args, Command, Raft, Region};
use crate::error::{CliError, Exit};
use crate::output::print;
use crate::source::Source;
use crate::world::World;

/// Runs the command of `args` and prints its answer.
///
/// # Errors
/// There is no answer: wrong bytes, no store, no such Region, a closed stream.
pub fn run(args: &Args, world: &mut World<'_>) -> Result<Exit, CliError> {
    match &args.command {
        Command::Explain(explain) => print(&explain::explain(explain, world)?, None, args, world),
        Command::Decode(decode) => print(&decode::decode(decode, world)?, None, args, world),
        Command::Encode(encode) => print(&encode::encode(encode, world)?, None, args, world),
        Command::Slot(slot) => print(&slot::slot(slot, world)?, None, args, world),
        Command::DumpKey(dump) => {
            let key = dump.user.key.read("KEY", world)?;
            let source = Source::open(&args.dir, world.now_ms)?;
            print(&dump_key::dump_key(dump, key, &source)?, Some(&source.header), args, world)
        }
        Command::Raft(command) => {
            let source = Source::open(&args.dir, world.now_ms)?;
            match command {
                Raft::Log(log) => {
                    print(&raft::log(log, &source)?, Some(&source.header), args, world)
                }
                Raft::State { region } => {
                    print(&raft::state(*region, &source)?, Some(&source.header), args, world)
                }
            }
        }
        Command::Region(command) => {
            let source = Source::open(&args.dir, world.now_ms)?;
            match command {
                Region::List => print(&region::list(&source), Some(&source.header), args, world),
                Region::Show { id } => {
                    print(&region::show(*id, &source)?, Some(&source.header), args, world)
                }
            }
        }
        Command::Store => {
            let source = Source::open(&args.dir, world.now_ms)?;
            print(&store::store(&source), Some(&source.header), args, world)
        }
    }
}
