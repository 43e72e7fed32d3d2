//! CLIENT: a connection's name and settings, and the list of all connections.
//!
//! Everything that Redis 7.0 has but PAUSE and UNPAUSE is answered, and SETINFO and NO-TOUCH of
//! 7.2, because client libraries send them on connecting. What would need a feature that is not
//! there says so: TRACKING can be switched off, not on, and UNBLOCK finds nobody blocked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use neokv_resp::{Reply, parse_integer};

use crate::clients::Client;
use crate::command::container::subcommand_help;
use crate::command::declare::{SessionCx, commands};
use crate::command::{Args, Command, CommandResult, args};
use crate::error::{CommandError, shown};
use crate::keyspace::ReplyLimit;
use crate::number;
use crate::session::ReplyMode;

/// CLIENT.
pub const COMMANDS: &[Command] = commands! { Connection;
    "client", -2, Container, [], "2.4.0", "Depends on subcommand.",
        "A container for client connection commands",
        subcommands: commands! { Connection;
            "client|caching", 3, Session(caching), [NoScript Loading Stale], "6.0.0", "O(1)",
                "Instruct the server about tracking or not keys in the next request",
                arguments: &[one_of("mode", &[token("YES"), token("NO")])],
                help: &[
                    "CACHING (YES|NO)",
                    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT \
                     modes.",
                ];
            "client|getname", 2, Session(get_name), [NoScript Loading Stale], "2.6.9", "O(1)",
                "Get the current connection name",
                help: &["GETNAME", "    Return the name of the current connection."];
            "client|getredir", 2, Session(get_redirect), [NoScript Loading Stale], "6.0.0", "O(1)",
                "Get tracking notifications redirection client ID if any",
                help: &[
                    "GETREDIR",
                    "    Return the client ID we are redirecting to when tracking is enabled.",
                ];
            "client|help", 2, Session(subcommand_help), [Loading Stale], "5.0.0", "O(1)",
                "Show helpful text about the different subcommands";
            "client|id", 2, Session(id), [NoScript Loading Stale], "5.0.0", "O(1)",
                "Returns the client ID for the current connection",
                help: &["ID", "    Return the ID of the current connection."];
            "client|info", 2, Session(info), [NoScript Loading Stale], "6.2.0", "O(1)",
                "Returns information about the current client connection.",
                tips: &["nondeterministic_output"],
                help: &["INFO", "    Return information about the current client connection."];
            "client|kill", -3, Session(kill), [Admin NoScript Loading Stale], "2.4.0",
                "O(N) where N is the number of client connections",
                "Kill the connection of a client",
                arguments: &[
                    one_of("filter", &[
                        string("ip:port").deprecated("2.8.12"),
                        one_of("new-format", &[
                            integer("client-id").after("ID").optional().since("2.8.12"),
                            one_of("normal_master_slave_pubsub", &[
                                token("NORMAL"), token("MASTER").since("3.2.0"), token("SLAVE"),
                                token("REPLICA").since("5.0.0"), token("PUBSUB")
                            ]).after("TYPE").optional().since("2.8.12"),
                            string("username").after("USER").optional(),
                            string("ip:port").after("ADDR").optional(),
                            string("ip:port").after("LADDR").optional().since("6.2.0"),
                            string("yes/no").after("SKIPME").optional()
                        ]).multiple()
                    ])
                ],
                history: &[
                    ("2.8.12", "Added new filter format."),
                    ("2.8.12", "`ID` option."),
                    ("3.2.0", "Added `master` type in for `TYPE` option."),
                    ("5.0.0", "Replaced `slave` `TYPE` with `replica`. `slave` still supported \
                     for backward compatibility."),
                    ("6.2.0", "`LADDR` option."),
                ],
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
                ];
            "client|list", -2, Session(list), [Admin NoScript Loading Stale], "2.4.0",
                "O(N) where N is the number of client connections",
                "Get the list of client connections",
                arguments: &[
                    one_of("normal_master_replica_pubsub", &[
                        token("NORMAL"), token("MASTER"), token("REPLICA"), token("PUBSUB")
                    ]).after("TYPE").optional().since("5.0.0"),
                    block("id", &[
                        integer("client-id").multiple()
                    ]).after("ID").optional().since("6.2.0")
                ],
                history: &[
                    ("2.8.12", "Added unique client `id` field."),
                    ("5.0.0", "Added optional `TYPE` filter."),
                    ("6.0.0", "Added `user` field."),
                    ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the \
                     optional `ID` filter."),
                    ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
                    ("7.0.3", "Added `ssub` field."),
                ],
                tips: &["nondeterministic_output"],
                help: &[
                    "LIST [options ...]",
                    "    Return information about client connections. Options:",
                    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
                    "      Return clients of specified type.",
                    "    * ID <id> [...]",
                    "      Return the clients with these IDs.",
                ];
            "client|no-evict", 3, Session(no_evict), [Admin NoScript Loading Stale], "7.0.0",
                "O(1)",
                "Set client eviction mode for the current connection",
                arguments: &[one_of("enabled", &[token("ON"), token("OFF")])],
                help: &[
                    "NO-EVICT (ON|OFF)",
                    "    Protect current client connection from eviction.",
                ];
            "client|no-touch", 3, Session(no_touch), [NoScript Loading Stale], "7.2.0", "O(1)",
                "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
                arguments: &[one_of("enabled", &[token("ON"), token("OFF")])],
                help: &[
                    "NO-TOUCH (ON|OFF)",
                    "    Will not touch LRU/LFU stats when this mode is on.",
                ];
            "client|reply", 3, Session(reply), [NoScript Loading Stale], "3.2.0", "O(1)",
                "Instruct the server whether to reply to commands",
                arguments: &[one_of("on_off_skip", &[token("ON"), token("OFF"), token("SKIP")])],
                help: &[
                    "REPLY (ON|OFF|SKIP)",
                    "    Control the replies sent to the current connection.",
                ];
            "client|setinfo", 4, Session(set_info), [NoScript Loading Stale], "7.2.0", "O(1)",
                "Sets information specific to the client or connection.",
                arguments: &[
                    one_of("attr", &[
                        string("libname").after("LIB-NAME"), string("libver").after("LIB-VER")
                    ])
                ],
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                help: &[
                    "SETINFO <option> <value>",
                    "    Set client meta attr. Options are LIB-NAME and LIB-VER.",
                ];
            "client|setname", 3, Session(set_name), [NoScript Loading Stale], "2.6.9", "O(1)",
                "Set the current connection name",
                arguments: &[string("connection-name")],
                help: &["SETNAME <name>", "    Assign the name <name> to the current connection."];
            "client|tracking", -3, Session(tracking), [NoScript Loading Stale], "6.0.0",
                "O(1). Some options may introduce additional complexity.",
                "Enable or disable server assisted client side caching support",
                arguments: &[
                    one_of("status", &[token("ON"), token("OFF")]),
                    integer("client-id").after("REDIRECT").optional(),
                    string("prefix").after("PREFIX").optional().multiple().multiple_token(),
                    token("BCAST").optional(), token("OPTIN").optional(),
                    token("OPTOUT").optional(), token("NOLOOP").optional()
                ],
                help: &[
                    "TRACKING OFF",
                    "    Control server assisted client side caching, which this server does not \
                     have.",
                ];
            "client|trackinginfo", 2, Session(tracking_info), [NoScript Loading Stale], "6.2.0",
                "O(1)",
                    "Return information about server assisted client side caching for the current \
                     connection",
                help: &["TRACKINGINFO", "    Report tracking status for the current connection."];
            "client|unblock", -3, Session(unblock), [Admin NoScript Loading Stale], "5.0.0",
                "O(log N) where N is the number of client connections",
                "Unblock a client blocked in a blocking command from a different connection",
                arguments: &[
                    integer("client-id"),
                    one_of("timeout_error", &[token("TIMEOUT"), token("ERROR")]).optional()
                ],
                help: &[
                    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
                    "    Unblock the specified blocked client.",
                ];
        };
};

fn caching(_: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Err(CommandError::custom(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
         OPTOUT mode enabled",
    ))
}

/// No client redirects to another: -1.
fn get_redirect(_: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Ok(Reply::Integer(-1))
}

fn id(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Ok(Reply::count(cx.session.client.id))
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
pub(super) fn rename(cx: &mut SessionCx<'_>, name: &Bytes) {
    cx.session.client.rename(|names| names.name = Bytes::copy_from_slice(name));
}

fn set_name(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let name = args::get(args, 2)?;
    check_text(name, "Client names")?;
    rename(cx, name);
    Ok(Reply::Ok)
}

fn get_name(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    let name = cx.session.client.names().name;
    Ok(if name.is_empty() { Reply::Nil } else { Reply::Bulk(name) })
}

fn no_evict(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let on = switch(args)?;
    cx.session.client.set_no_evict(on);
    Ok(Reply::Ok)
}

fn no_touch(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let on = switch(args)?;
    cx.session.client.set_no_touch(on);
    Ok(Reply::Ok)
}

fn set_info(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let (option, value) = (args::get(args, 2)?, args::get(args, 3)?);
    let copy = Bytes::copy_from_slice(value);
    if args::is(option, "lib-name") {
        check_text(value, "lib-name")?;
        cx.session.client.rename(|names| names.lib_name = copy);
    } else if args::is(option, "lib-ver") {
        check_text(value, "lib-ver")?;
        cx.session.client.rename(|names| names.lib_ver = copy);
    } else {
        let option = shown(option);
        return Err(CommandError::custom(format!("ERR Unrecognized option '{option}'")));
    }
    Ok(Reply::Ok)
}

/// ON or OFF as the third word.
fn switch(args: &Args) -> Result<bool, CommandError> {
    either(args::get(args, 2)?, "on", "off")
}

/// Whether a word is the first of two.
fn either(word: &[u8], one: &str, other: &str) -> Result<bool, CommandError> {
    if args::is(word, one) {
        Ok(true)
    } else if args::is(word, other) {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

fn info(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    let line = cx.host.clients().line(&cx.session.client, Instant::now(), Some("client|info"));
    Ok(Reply::Verbatim("txt", (line + "\n").into()))
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

fn list(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let clients = cx.host.clients();
    let chosen: Vec<Arc<Client>> = match args::rest(args, 2) {
        [] => clients.all(),
        [option, kind] if args::is(option, "type") => {
            if is_normal(kind)? {
                clients.all()
            } else {
                Vec::new()
            }
        }
        [option, ids @ ..] if args::is(option, "id") && !ids.is_empty() => {
            let id = |text: &Bytes| {
                number::integer(text).map_err(|_| CommandError::custom("ERR Invalid client ID"))
            };
            let ids = ids.iter().map(id).collect::<Result<Vec<_>, _>>()?;
            let known = ids.into_iter().filter_map(|id| clients.get(u64::try_from(id).ok()?));
            known.collect()
        }
        _ => return Err(CommandError::Syntax),
    };
    let now = Instant::now();
    let me = cx.session.client.id;
    // An id may be given a million times.
    let (mut text, mut limit) = (String::new(), ReplyLimit::new(cx.host.max_reply_bytes()));
    for client in &chosen {
        let line = clients.line(client, now, (client.id == me).then_some("client|list"));
        limit.add(line.len())?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(Reply::Verbatim("txt", text.into()))
}

/// Which clients CLIENT KILL means. All conditions must hold.
struct KillFilter<'a> {
    id: Option<u64>,
    peer: Option<&'a Bytes>,
    local: Option<&'a Bytes>,
    normal: bool,
    skip_me: bool,
}

impl<'a> KillFilter<'a> {
    fn parse(options: &'a Args) -> Result<KillFilter<'a>, CommandError> {
        let mut filter =
            KillFilter { id: None, peer: None, local: None, normal: true, skip_me: true };
        if !options.len().is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        for (option, value) in args::pairs(options, 0) {
            if args::is(option, "id") {
                let id =
                    parse_integer(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                let wrong = || CommandError::custom("ERR client-id should be greater than 0");
                filter.id = Some(id.ok_or_else(wrong)?);
            } else if args::is(option, "type") {
                filter.normal &= is_normal(value)?;
            } else if args::is(option, "addr") {
                filter.peer = Some(value);
            } else if args::is(option, "laddr") {
                filter.local = Some(value);
            } else if args::is(option, "user") {
                check_user(value)?;
            } else if args::is(option, "skipme") {
                filter.skip_me = either(value, "yes", "no")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(filter)
    }

    fn include(&self, client: &Client) -> bool {
        let at = |wanted: Option<&Bytes>, address: SocketAddr| {
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

fn kill(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    if let [_, _, address] = args {
        let filter =
            KillFilter { id: None, peer: Some(address), local: None, normal: true, skip_me: false };
        return match kill_all(cx, &filter) {
            0 => Err(CommandError::custom("ERR No such client")),
            _ => Ok(Reply::Ok),
        };
    }
    let filter = KillFilter::parse(args::rest(args, 2))?;
    Ok(Reply::count(kill_all(cx, &filter)))
}

/// Ends the connections that `filter` means, this one after its reply. Returns how many.
fn kill_all(cx: &mut SessionCx<'_>, filter: &KillFilter<'_>) -> u64 {
    let me = cx.session.client.id;
    let mut killed = 0u64;
    for client in cx.host.clients().all() {
        if !filter.include(&client) || (client.id == me && filter.skip_me) {
            continue;
        }
        // This connection ends after its reply.
        let first = if client.id == me {
            !std::mem::replace(&mut cx.session.closing, true)
        } else {
            client.kill()
        };
        killed += u64::from(first);
    }
    killed
}

fn reply(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let word = args::get(args, 2)?;
    let session = &mut *cx.session;
    if args::is(word, "on") {
        session.replies = ReplyMode::On;
    } else if args::is(word, "off") {
        session.replies = ReplyMode::Off;
    } else if args::is(word, "skip") {
        if session.replies != ReplyMode::Off {
            session.replies = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(Reply::Ok)
}

fn unblock(_: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    number::integer(args::get(args, 2)?)?;
    match args::rest(args, 3) {
        [] => Ok(Reply::Integer(0)),
        [word] if args::is(word, "timeout") || args::is(word, "error") => Ok(Reply::Integer(0)),
        [_] => Err(CommandError::custom("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => Err(CommandError::Syntax),
    }
}

fn tracking(_: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    if switch(args)? {
        return Err(CommandError::custom(
            "ERR client side caching is not supported by this server",
        ));
    }
    Ok(Reply::Ok)
}

fn tracking_info(_: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    let fields = [
        ("flags", Reply::Set(vec![Reply::bulk("off")])),
        ("redirect", Reply::Integer(-1)),
        ("prefixes", Reply::Array(Vec::new())),
    ];
    Ok(Reply::Map(fields.into_iter().map(|(field, value)| (Reply::bulk(field), value)).collect()))
}
