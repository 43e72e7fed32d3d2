//! HELP of the commands whose second word chooses what they do: CLIENT, CLUSTER, COMMAND, CONFIG.

use std::borrow::Cow;

use neokv_resp::Reply;

use super::declare::SessionCx;
use super::{Args, CommandResult, args};
use crate::error::CommandError;

/// The reply to HELP of the container that the first word names, laid out as Redis does.
pub fn subcommand_help(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let container = cx.commands.lookup(args::get(args, 0)?).ok_or(CommandError::Syntax)?;
    let head = format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        container.name.to_ascii_uppercase()
    );
    let texts = container.subcommands.iter().flat_map(|subcommand| subcommand.help);
    let texts = texts.chain(&["HELP", "    Prints this help."]);
    let mut lines = vec![Reply::Simple(Cow::Owned(head))];
    lines.extend(texts.map(|line| Reply::Simple(Cow::Borrowed(*line))));
    Ok(Reply::Array(lines))
}
