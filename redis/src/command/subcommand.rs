//! Commands whose second word chooses what they do: COMMAND, CONFIG, CLUSTER.
//!
//! Such a container declares a table of [`Subcommand`]s; [`dispatch`] checks the arity and calls,
//! and HELP, the text of an unknown subcommand and the last field of `COMMAND INFO` come from the
//! same table.

use std::borrow::Cow;

use neokv_resp::Reply;

use super::{Args, CommandError, Outcome, args};
use crate::server::SessionCx;

/// One subcommand of a container.
pub struct Subcommand {
    /// Container and subcommand in lower case, `config|get`.
    pub name: &'static str,
    /// Number of words including both names; negative: at least that many.
    pub arity: i32,
    /// Lines for HELP: the usage without the container's name, then what it does.
    pub help: &'static [&'static str],
    /// Its code. It gets all words, so that its own first argument has index 2.
    pub handler: fn(&mut SessionCx<'_>, &Args) -> Outcome,
}

impl Subcommand {
    /// The word after the container's name.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, word)| word)
    }

    fn fits(&self, args: &Args) -> bool {
        let least = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 { args.len() >= least } else { args.len() == least }
    }
}

/// Runs the subcommand that `args[1]` names. `container` is the container's name in lower case.
///
/// # Errors
/// The words that Redis uses for an unknown subcommand and a wrong arity, or the subcommand's own
/// error.
pub fn dispatch(
    container: &'static str,
    table: &'static [Subcommand],
    cx: &mut SessionCx<'_>,
    args: &Args,
) -> Outcome {
    let word = args::get(args, 1)?;
    if args::is(word, "help") {
        return if args.len() == 2 {
            Ok(help(container, table))
        } else {
            Err(wrong_arity(container, "help"))
        };
    }
    let Some(found) = table.iter().find(|subcommand| args::is(word, subcommand.word())) else {
        return Err(CommandError::unknown_subcommand(container, word));
    };
    if found.fits(args) {
        (found.handler)(cx, args)
    } else {
        Err(CommandError::WrongArity(found.name))
    }
}

fn wrong_arity(container: &str, word: &str) -> CommandError {
    CommandError::custom(format!("ERR wrong number of arguments for '{container}|{word}' command"))
}

/// The reply to HELP, laid out as Redis does.
fn help(container: &str, table: &[Subcommand]) -> Reply {
    let head = format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        container.to_ascii_uppercase()
    );
    let mut lines = vec![Reply::Simple(Cow::Owned(head))];
    let texts = table.iter().flat_map(|subcommand| subcommand.help.iter().copied());
    lines.extend(
        texts
            .chain(["HELP", "    Prints this help."])
            .map(|line| Reply::Simple(Cow::Borrowed(line))),
    );
    Reply::Array(lines)
}
