//! CLIENT: a connection's name and settings, and the list of all connections.
//!
//! Everything that Redis 7.0 has but PAUSE and UNPAUSE is answered, and SETINFO and NO-TOUCH of
//! 7.2, because client libraries send them on connecting. What would need a feature that is not
//! there says so: TRACKING can be switched off, not on, and UNBLOCK finds nobody blocked.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use neokv_resp::Reply;

use crate::command::error::shown;
use crate::command::subcommand::{Subcommand, dispatch};
use crate::command::{Args, CommandError, Outcome, args};
use crate::server::session::Replies;
use crate::server::{Client, SessionCx};

/// The subcommands of CLIENT.
pub const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "client|caching",
        arity: 3,
        help: &[
            "CACHING (YES|NO)",
            "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
        ],
        handler: |_, _| Err(CommandError::custom(NOT_TRACKING)),
    },
    Subcommand {
        name: "client|getredir",
        arity: 2,
        help: &[
            "GETREDIR",
            "    Return the client ID we are redirecting to when tracking is enabled.",
        ],
        handler: |_, _| Ok(Reply::Integer(-1)),
    },
    Subcommand {
        name: "client|getname",
        arity: 2,
        help: &["GETNAME", "    Return the name of the current connection."],
        handler: |cx, _| Ok(get_name(cx)),
    },
    Subcommand {
        name: "client|id",
        arity: 2,
        help: &["ID", "    Return the ID of the current connection."],
        handler: |cx, _| Ok(Reply::count(cx.session().client.id)),
    },
    Subcommand {
        name: "client|info",
        arity: 2,
        help: &["INFO", "    Return information about the current client connection."],
        handler: |cx, _| Ok(info(cx)),
    },
    Subcommand {
        name: "client|kill",
        arity: -3,
        help: &[
            "KILL <ip:port>",
            "    Kill connection made from <ip:port>.",
            "KILL <option> <value> [<option> <value> [...]]",
            "    Kill connections. Options are:",
            "    * ADDR <ip:port>",
            "      Kill connections made from the specified address",
            "    * LADDR <ip:port>",
            "      Kill connections made to specified local address",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Kill connections by type.",
            "    * USER <username>",
            "      Kill connections authenticated by <username>.",
            "    * SKIPME (YES|NO)",
            "      Skip killing current connection (default: yes).",
        ],
        handler: kill,
    },
    Subcommand {
        name: "client|list",
        arity: -2,
        help: &[
            "LIST [options ...]",
            "    Return information about client connections. Options:",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Return clients of specified type.",
            "    * ID <id> [...]",
            "      Return the clients with these IDs.",
        ],
        handler: list,
    },
    Subcommand {
        name: "client|reply",
        arity: 3,
        help: &["REPLY (ON|OFF|SKIP)", "    Control the replies sent to the current connection."],
        handler: reply,
    },
    Subcommand {
        name: "client|setinfo",
        arity: 4,
        help: &[
            "SETINFO <option> <value>",
            "    Set client meta attr. Options are LIB-NAME and LIB-VER.",
        ],
        handler: set_info,
    },
    Subcommand {
        name: "client|setname",
        arity: 3,
        help: &["SETNAME <name>", "    Assign the name <name> to the current connection."],
        handler: |cx, args| {
            let name = args::get(args, 2)?;
            check_text(name, "Client names")?;
            set_name(cx, name);
            Ok(Reply::Ok)
        },
    },
    Subcommand {
        name: "client|unblock",
        arity: -3,
        help: &["UNBLOCK <clientid> [TIMEOUT|ERROR]", "    Unblock the specified blocked client."],
        handler: |_, args| unblock(args),
    },
    Subcommand {
        name: "client|tracking",
        arity: -3,
        help: &[
            "TRACKING OFF",
            "    Control server assisted client side caching, which this server does not have.",
        ],
        handler: |_, args| tracking(args),
    },
    Subcommand {
        name: "client|trackinginfo",
        arity: 2,
        help: &["TRACKINGINFO", "    Report tracking status for the current connection."],
        handler: |_, _| Ok(tracking_info()),
    },
    Subcommand {
        name: "client|no-evict",
        arity: 3,
        help: &["NO-EVICT (ON|OFF)", "    Protect current client connection from eviction."],
        handler: |cx, args| {
            let on = switch(args)?;
            cx.session().client.set_no_evict(on);
            Ok(Reply::Ok)
        },
    },
    Subcommand {
        name: "client|no-touch",
        arity: 3,
        help: &["NO-TOUCH (ON|OFF)", "    Will not touch LRU/LFU stats when this mode is on."],
        handler: |cx, args| {
            let on = switch(args)?;
            cx.session().client.set_no_touch(on);
            Ok(Reply::Ok)
        },
    },
];

const NOT_TRACKING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled";

/// CLIENT.
pub(super) fn client(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    dispatch("client", SUBCOMMANDS, cx, args)
}

/// Checks that a name has no blanks and nothing unprintable, which would break the lines of CLIENT
/// LIST.
pub(super) fn check_text(text: &[u8], what: &str) -> Result<(), CommandError> {
    if text.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err(CommandError::custom(format!(
        "ERR {what} cannot contain spaces, newlines or special characters."
    )))
}

/// Sets the connection's name; the empty one removes it. The bytes are copied: an argument shares
/// the read buffer.
pub(super) fn set_name(cx: &mut SessionCx<'_>, name: &Bytes) {
    cx.session().client.rename(|names| names.name = Bytes::copy_from_slice(name));
}

fn get_name(cx: &mut SessionCx<'_>) -> Reply {
    let name = cx.session().client.names().name;
    if name.is_empty() { Reply::Nil } else { Reply::Bulk(name) }
}

fn set_info(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    let (option, value) = (args::get(args, 2)?, args::get(args, 3)?);
    let copy = Bytes::copy_from_slice(value);
    if args::is(option, "lib-name") {
        check_text(value, "lib-name")?;
        cx.session().client.rename(|names| names.lib_name = copy);
    } else if args::is(option, "lib-ver") {
        check_text(value, "lib-ver")?;
        cx.session().client.rename(|names| names.lib_ver = copy);
    } else {
        let option = shown(option);
        return Err(CommandError::custom(format!("ERR Unrecognized option '{option}'")));
    }
    Ok(Reply::Ok)
}

/// ON or OFF as the third word.
fn switch(args: &Args) -> Result<bool, CommandError> {
    let word = args::get(args, 2)?;
    if args::is(word, "on") {
        Ok(true)
    } else if args::is(word, "off") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

fn info(cx: &mut SessionCx<'_>) -> Reply {
    let line = cx.session().client.line(Instant::now(), Some("client|info"));
    Reply::Verbatim("txt", format!("{line}\n").into())
}

/// Whether clients of this type exist here. All are normal ones.
fn is_normal(name: &[u8]) -> Result<bool, CommandError> {
    if args::is(name, "normal") {
        return Ok(true);
    }
    if ["slave", "replica", "pubsub", "master"].iter().any(|known| args::is(name, known)) {
        return Ok(false);
    }
    let name = shown(name);
    Err(CommandError::custom(format!("ERR Unknown client type '{name}'")))
}

fn list(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    let clients = &cx.context().clients;
    let shown: Vec<Arc<Client>> = match args::rest(args, 2) {
        [] => clients.all(),
        [option, kind] if args::is(option, "type") => {
            if is_normal(kind)? {
                clients.all()
            } else {
                Vec::new()
            }
        }
        [option, ids @ ..] if args::is(option, "id") && !ids.is_empty() => {
            let mut found = Vec::new();
            for id in ids {
                let id =
                    args::integer(id).map_err(|_| CommandError::custom("ERR Invalid client ID"))?;
                found.extend(u64::try_from(id).ok().and_then(|id| clients.get(id)));
            }
            found
        }
        _ => return Err(CommandError::Syntax),
    };
    let now = Instant::now();
    let me = cx.session().client.id;
    let line =
        |client: &Arc<Client>| client.line(now, (client.id == me).then_some("client|list")) + "\n";
    Ok(Reply::Verbatim("txt", shown.iter().map(line).collect::<String>().into()))
}

/// Whom CLIENT KILL means. All conditions must hold.
struct Victims<'a> {
    id: Option<u64>,
    peer: Option<&'a Bytes>,
    local: Option<&'a Bytes>,
    normal: bool,
    spare_me: bool,
}

impl<'a> Victims<'a> {
    fn parse(options: &'a Args) -> Result<Victims<'a>, CommandError> {
        let mut victims =
            Victims { id: None, peer: None, local: None, normal: true, spare_me: true };
        if !options.len().is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        for (option, value) in args::pairs(options, 0) {
            if args::is(option, "id") {
                let id = args::integer(value)
                    .ok()
                    .and_then(|id| u64::try_from(id).ok())
                    .filter(|id| *id > 0);
                let wrong = || CommandError::custom("ERR client-id should be greater than 0");
                victims.id = Some(id.ok_or_else(wrong)?);
            } else if args::is(option, "type") {
                victims.normal &= is_normal(value)?;
            } else if args::is(option, "addr") {
                victims.peer = Some(value);
            } else if args::is(option, "laddr") {
                victims.local = Some(value);
            } else if args::is(option, "user") {
                check_user(value)?;
            } else if args::is(option, "skipme") {
                victims.spare_me = yes_or_no(value)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(victims)
    }

    fn include(&self, client: &Client) -> bool {
        let at = |wanted: Option<&Bytes>, address: std::net::SocketAddr| {
            wanted.is_none_or(|wanted| wanted == address.to_string().as_bytes())
        };
        self.normal
            && self.id.is_none_or(|id| id == client.id)
            && at(self.peer, client.peer)
            && at(self.local, client.local)
    }
}

fn check_user(name: &[u8]) -> Result<(), CommandError> {
    if name == b"default" {
        return Ok(());
    }
    Err(CommandError::custom(format!("ERR No such user '{}'", shown(name))))
}

fn yes_or_no(word: &[u8]) -> Result<bool, CommandError> {
    if args::is(word, "yes") {
        Ok(true)
    } else if args::is(word, "no") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

fn kill(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    if let [_, _, address] = args {
        let victims =
            Victims { id: None, peer: Some(address), local: None, normal: true, spare_me: false };
        return match kill_all(cx, &victims) {
            0 => Err(CommandError::custom("ERR No such client")),
            _ => Ok(Reply::Ok),
        };
    }
    let victims = Victims::parse(args::rest(args, 2))?;
    Ok(Reply::count(kill_all(cx, &victims)))
}

/// Ends the connections that `victims` means, this one after its reply. Returns how many.
fn kill_all(cx: &mut SessionCx<'_>, victims: &Victims<'_>) -> u64 {
    let me = cx.session().client.id;
    let mut killed = 0u64;
    for client in cx.context().clients.all() {
        if !victims.include(&client) || (client.id == me && victims.spare_me) {
            continue;
        }
        // This connection ends after its reply.
        let first = if client.id == me {
            !std::mem::replace(&mut cx.session().closing, true)
        } else {
            client.kill()
        };
        killed = killed.saturating_add(u64::from(first));
    }
    killed
}

fn reply(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    let word = args::get(args, 2)?;
    let session = cx.session();
    if args::is(word, "on") {
        session.replies = Replies::On;
    } else if args::is(word, "off") {
        session.replies = Replies::Off;
    } else if args::is(word, "skip") {
        if session.replies != Replies::Off {
            session.replies = Replies::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(Reply::Ok)
}

fn unblock(args: &Args) -> Outcome {
    args::integer(args::get(args, 2)?)?;
    match args::rest(args, 3) {
        [] => Ok(Reply::Integer(0)),
        [word] if args::is(word, "timeout") || args::is(word, "error") => Ok(Reply::Integer(0)),
        [_] => Err(CommandError::custom("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => Err(CommandError::Syntax),
    }
}

fn tracking(args: &Args) -> Outcome {
    if switch(args)? {
        return Err(CommandError::custom(
            "ERR client side caching is not supported by this server",
        ));
    }
    Ok(Reply::Ok)
}

fn tracking_info() -> Reply {
    let fields = [
        ("flags", Reply::Set(vec![Reply::bulk("off")])),
        ("redirect", Reply::Integer(-1)),
        ("prefixes", Reply::Array(Vec::new())),
    ];
    Reply::Map(fields.into_iter().map(|(field, value)| (Reply::bulk(field), value)).collect())
}
