//! Commands about the connection itself: PING, HELLO, AUTH, SELECT, CLIENT, RESET, QUIT and their
//! like.
//!
//! They read and change the [`Session`](crate::server::Session), never the keyspace, and answer
//! without leaving the connection's task. Two differ from Redis on purpose:
//!
//! * There is one database: SELECT knows only 0.
//! * READONLY, READWRITE and ASKING are accepted also without `--cluster-mode`, because clients
//!   that found CLUSTER working send them on their own.
//!
//! CLIENT is a file of its own, [`mod@client`].

pub mod client;

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use neokv_resp::{Protocol, Reply};

use super::error::shown;
use super::{Args, Command, CommandError, Flag, Group, Handler, KeySpec, Outcome, args};
use crate::server::{REDIS_VERSION, SessionCx};

pub use self::client::SUBCOMMANDS as CLIENT_SUBCOMMANDS;

/// What every command of this file has in common.
const fn declare(
    name: &'static str,
    arity: i32,
    flags: &'static [Flag],
    since: &'static str,
    summary: &'static str,
    handler: fn(&mut SessionCx<'_>, &Args) -> Outcome,
) -> Command {
    Command {
        name,
        arity,
        flags,
        keys: KeySpec::None,
        group: Group::Connection,
        since,
        complexity: "O(1)",
        summary,
        handler: Handler::Session(handler),
    }
}

const ANYTIME: &[Flag] = &[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth];
const CONTAINER: &[Flag] = &[Flag::NoScript, Flag::Loading, Flag::Stale];

/// The connection's commands.
pub const COMMANDS: &[Command] = &[
    declare("ping", -1, &[Flag::Fast], "1.0.0", "Ping the server", ping),
    declare(
        "echo",
        2,
        &[Flag::Loading, Flag::Stale, Flag::Fast],
        "1.0.0",
        "Echo the given string",
        echo,
    ),
    declare("hello", -1, ANYTIME, "6.0.0", "Handshake with Redis", hello),
    declare("auth", -2, ANYTIME, "1.0.0", "Authenticate to the server", auth),
    declare("quit", -1, ANYTIME, "1.0.0", "Close the connection", quit),
    declare("reset", 1, ANYTIME, "6.2.0", "Reset the connection", reset),
    declare(
        "select",
        2,
        &[Flag::Loading, Flag::Stale, Flag::Fast],
        "1.0.0",
        "Change the selected database for the current connection",
        select,
    ),
    declare(
        "client",
        -2,
        CONTAINER,
        "2.4.0",
        "A container for client connection commands",
        client::client,
    ),
    Command {
        group: Group::Cluster,
        ..declare(
            "readonly",
            1,
            &[Flag::Loading, Flag::Stale, Flag::Fast],
            "3.0.0",
            "Enables read queries for a connection to a cluster replica node",
            |cx, _| set_readonly(cx, true),
        )
    },
    Command {
        group: Group::Cluster,
        ..declare(
            "readwrite",
            1,
            &[Flag::Loading, Flag::Stale, Flag::Fast],
            "3.0.0",
            "Disables read queries for a connection to a cluster replica node",
            |cx, _| set_readonly(cx, false),
        )
    },
    Command {
        group: Group::Cluster,
        ..declare(
            "asking",
            1,
            &[Flag::Fast],
            "3.0.0",
            "Sent by cluster clients after an -ASK redirect",
            asking,
        )
    },
    Command {
        group: Group::Server,
        ..declare(
            "time",
            1,
            &[Flag::Loading, Flag::Stale, Flag::Fast],
            "2.6.0",
            "Return the current server time",
            |_, _| Ok(time()),
        )
    },
];

fn ping(_: &mut SessionCx<'_>, args: &Args) -> Outcome {
    match args {
        [_] => Ok(Reply::simple("PONG")),
        [_, message] => Ok(Reply::Bulk(message.clone())),
        _ => Err(CommandError::WrongArity("ping")),
    }
}

fn echo(_: &mut SessionCx<'_>, args: &Args) -> Outcome {
    Ok(Reply::Bulk(args::get(args, 1)?.clone()))
}

/// What HELLO asks for.
#[derive(Default)]
struct Handshake<'a> {
    protocol: Option<Protocol>,
    credentials: Option<(&'a Bytes, &'a Bytes)>,
    name: Option<&'a Bytes>,
}

impl<'a> Handshake<'a> {
    /// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
    fn parse(args: &'a Args) -> Result<Handshake<'a>, CommandError> {
        let mut handshake = Handshake::default();
        let Some(version) = args.get(1) else { return Ok(handshake) };
        handshake.protocol = Some(match args::integer(version) {
            Ok(2) => Protocol::Resp2,
            Ok(3) => Protocol::Resp3,
            Ok(_) => return Err(CommandError::custom("NOPROTO unsupported protocol version")),
            Err(_) => {
                return Err(CommandError::custom(
                    "ERR Protocol version is not an integer or out of range",
                ));
            }
        });
        let mut rest = args::rest(args, 2);
        loop {
            rest = match rest {
                [] => return Ok(handshake),
                [option, user, password, rest @ ..] if args::is(option, "auth") => {
                    handshake.credentials = Some((user, password));
                    rest
                }
                [option, name, rest @ ..] if args::is(option, "setname") => {
                    client::check_text(name, "Client names")?;
                    handshake.name = Some(name);
                    rest
                }
                [option, ..] => {
                    let option = shown(option);
                    return Err(CommandError::custom(format!(
                        "ERR Syntax error in HELLO option '{option}'"
                    )));
                }
            };
        }
    }
}

fn hello(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    let handshake = Handshake::parse(args)?;
    if let Some((user, password)) = handshake.credentials {
        authenticate(cx, user, password)?;
    }
    if !cx.session().authenticated {
        return Err(CommandError::custom(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> \
             option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = handshake.name {
        client::set_name(cx, name);
    }
    if let Some(protocol) = handshake.protocol {
        cx.session().set_protocol(protocol);
    }
    let mode = if cx.context().cluster_mode { "cluster" } else { "standalone" };
    let session = cx.session();
    let fields = [
        ("server", Reply::bulk("redis")),
        ("version", Reply::bulk(REDIS_VERSION)),
        ("proto", Reply::Integer(i64::from(session.protocol.version()))),
        ("id", Reply::count(session.client.id)),
        ("mode", Reply::bulk(mode)),
        ("role", Reply::bulk("master")),
        ("modules", Reply::Array(Vec::new())),
    ];
    Ok(Reply::Map(fields.into_iter().map(|(field, value)| (Reply::bulk(field), value)).collect()))
}

fn auth(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    match args {
        [_, password] => {
            if !cx.context().needs_password() {
                return Err(CommandError::custom(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                     configuration is correct?",
                ));
            }
            authenticate(cx, b"default", password)?;
        }
        [_, user, password] => authenticate(cx, user, password)?,
        _ => return Err(CommandError::Syntax),
    }
    Ok(Reply::Ok)
}

/// Checks user and password. There is one user, `default`; without a configured password it may
/// give any.
fn authenticate(cx: &mut SessionCx<'_>, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let right =
        cx.context().password.load().as_ref().is_none_or(|expected| expected.matches(password));
    if user != b"default" || !right {
        return Err(CommandError::custom(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    cx.session().authenticated = true;
    Ok(())
}

fn quit(cx: &mut SessionCx<'_>, _: &Args) -> Outcome {
    cx.session().closing = true;
    Ok(Reply::Ok)
}

fn reset(cx: &mut SessionCx<'_>, _: &Args) -> Outcome {
    let needs_password = cx.context().needs_password();
    cx.session().reset(needs_password);
    Ok(Reply::simple("RESET"))
}

fn select(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    match args::integer_between(args::get(args, 1)?, i64::from(i32::MIN), i64::from(i32::MAX))? {
        0 => Ok(Reply::Ok),
        _ if cx.context().cluster_mode => {
            Err(CommandError::custom("ERR SELECT is not allowed in cluster mode"))
        }
        _ => Err(CommandError::custom("ERR DB index is out of range")),
    }
}

fn set_readonly(cx: &mut SessionCx<'_>, readonly: bool) -> Outcome {
    cx.session().set_readonly(readonly);
    Ok(Reply::Ok)
}

fn asking(cx: &mut SessionCx<'_>, _: &Args) -> Outcome {
    cx.session().asking = true;
    Ok(Reply::Ok)
}

/// Seconds since 1970, and the microseconds of the current second.
fn time() -> Reply {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Reply::Array(vec![
        Reply::bulk(now.as_secs().to_string()),
        Reply::bulk(now.subsec_micros().to_string()),
    ])
}
