//! INFO and CONFIG: what the server is doing, and how it is configured.
//!
//! INFO is a list of sections ([`sections`]), each a pure function of an [`InfoSource`]: the node's
//! facts at one instant and its settings. CONFIG ([`config`]) answers from the settings, which do
//! not change while the server runs.
//!
//! ```text
//! INFO                    the sections that are marked default
//! INFO all | everything   every section
//! INFO raft clients       the named ones, in the order of the table; unknown names are ignored
//! ```
//!
//! Fields that Redis has and that mean something here keep Redis's names, so that monitoring for
//! Redis works: a dashboard that plots `used_memory` needs no change. Fields that would only
//! pretend (fork times, replication backlog) are absent.

pub mod config;
mod sections;

use neokv_resp::Reply;

pub use self::sections::{InfoSource, SECTIONS, Section, render};
use super::declare::{SessionCx, commands};
use super::{Args, Command, CommandResult, args};

/// INFO. CONFIG is in [`mod@config`].
pub const COMMANDS: &[Command] = commands! { Server;
    "info", -1, Session(info), [Loading Stale], "1.0.0", "O(1)",
        "Get information and statistics about the server",
        arguments: &[string("section").optional().multiple()],
        history: &[("7.0.0", "Added support for taking multiple section arguments.")],
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        categories: &["@dangerous"];
};

fn info(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let facts = cx.host.facts();
    let source =
        InfoSource { facts: &facts, settings: cx.host.settings(), identity: cx.host.identity() };
    Ok(Reply::Verbatim("txt", render(&source, args::rest(args, 1)).into()))
}
