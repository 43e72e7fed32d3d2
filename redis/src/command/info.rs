//! INFO and CONFIG: what the server is doing, and how it was told to do it.
//!
//! INFO is a list of sections ([`sections`]), each a pure function of a [`Report`]: the node's
//! facts at one moment and its settings. CONFIG ([`config`]) answers from the settings, which do
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

mod config;
mod sections;

use neokv_resp::Reply;

pub use self::config::SUBCOMMANDS as CONFIG_SUBCOMMANDS;
pub use self::sections::{Report, SECTIONS, Section, render};
use super::subcommand::dispatch;
use super::{Args, Command, Flag, Group, Handler, KeySpec, Outcome, args};
use crate::node::report;
use crate::server::SessionCx;

/// INFO and CONFIG.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "info",
        arity: -1,
        flags: &[Flag::Loading, Flag::Stale, Flag::Dangerous],
        keys: KeySpec::None,
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Get information and statistics about the server",
        handler: Handler::Session(info),
    },
    Command {
        name: "config",
        arity: -2,
        flags: &[],
        keys: KeySpec::None,
        group: Group::Server,
        since: "2.0.0",
        complexity: "Depends on subcommand.",
        summary: "A container for server configuration commands",
        handler: Handler::Session(|cx, args| dispatch("config", CONFIG_SUBCOMMANDS, cx, args)),
    },
];

fn info(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    let names = args::rest(args, 1);
    let context = cx.context();
    let facts = report::facts(context);
    let text = render(
        &Report { facts: &facts, settings: &context.settings, names: &context.names },
        names,
    );
    Ok(Reply::Verbatim("txt", text.into()))
}
