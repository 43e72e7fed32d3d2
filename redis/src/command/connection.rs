//! Commands about the connection itself: PING, HELLO, AUTH, SELECT, CLIENT, RESET, QUIT and their
//! like.
//!
//! They read and change the [`Session`](crate::session::Session), never the keyspace, and answer
//! without leaving the connection's task. Two differ from Redis on purpose:
//!
//! * There is one database: SELECT knows only 0, and a refused SELECT holds the commands behind it
//!   off.
//! * READONLY, READWRITE and ASKING are accepted also without `--cluster-mode`, because clients
//!   that found CLUSTER working send them on their own.
//!
//! CLIENT is a file of its own, [`mod@client`].

pub mod client;

use bytes::Bytes;
use neokv_resp::{Protocol, Reply};

use super::declare::{SessionCx, commands};
use super::{Args, Command, CommandResult, args};
use crate::clock;
use crate::error::{CommandError, shown};
use crate::{REDIS_VERSION, number};

/// The connection's commands. CLIENT is in [`mod@client`].
pub const COMMANDS: &[Command] = commands! { Connection;
    "ping", -1, Session(ping), [Fast], "1.0.0", "O(1)",
        "Ping the server",
        arguments: &[string("message").optional()],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"];
    "echo", 2, Session(echo), [Loading Stale Fast], "1.0.0", "O(1)",
        "Echo the given string",
        arguments: &[string("message")];
    "hello", -1, Session(hello), [NoScript Loading Stale Fast NoAuth AllowBusy], "6.0.0", "O(1)",
        "Handshake with Redis",
        arguments: &[
            block("arguments", &[
                integer("protover"),
                block("username_password", &[
                    string("username"), string("password")
                ]).after("AUTH").optional(), string("clientname").after("SETNAME").optional()
            ]).optional()
        ],
        history: &[
            ("6.2.0", "`protover` made optional; when called without arguments the command \
             reports the current connection's context."),
        ];
    "auth", -2, Session(auth), [NoScript Loading Stale Fast NoAuth AllowBusy], "1.0.0",
        "O(N) where N is the number of passwords defined for the user",
        "Authenticate to the server",
        arguments: &[string("username").optional().since("6.0.0"), string("password")],
        history: &[("6.0.0", "Added ACL style (username and password).")];
    "quit", -1, Session(quit), [NoScript Loading Stale Fast NoAuth AllowBusy], "1.0.0", "O(1)",
        "Close the connection";
    "reset", 1, Session(reset), [NoScript Loading Stale Fast NoAuth AllowBusy], "6.2.0", "O(1)",
        "Reset the connection";
    "select", 2, Session(select), [Loading Stale Fast], "1.0.0", "O(1)",
        "Change the selected database for the current connection",
        arguments: &[integer("index")];
    "readonly", 1, Session(readonly), [Loading Stale Fast], "3.0.0", "O(1)",
        "Enables read queries for a connection to a cluster replica node",
        categories: &["@connection"],
        group: CommandGroup::Cluster;
    "readwrite", 1, Session(readwrite), [Loading Stale Fast], "3.0.0", "O(1)",
        "Disables read queries for a connection to a cluster replica node",
        categories: &["@connection"],
        group: CommandGroup::Cluster;
    "asking", 1, Session(asking), [Fast], "3.0.0", "O(1)",
        "Sent by cluster clients after an -ASK redirect",
        categories: &["@connection"],
        group: CommandGroup::Cluster;
    "unwatch", 1, Session(unwatch), [NoScript Loading Stale Fast AllowBusy], "2.2.0", "O(1)",
        "Forget about all watched keys",
        group: CommandGroup::Transactions;
    "time", 1, Session(time), [Loading Stale Fast], "2.6.0", "O(1)",
        "Return the current server time",
        tips: &["nondeterministic_output"],
        group: CommandGroup::Server;
};

fn ping(_: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    match args {
        [_] => Ok(Reply::simple("PONG")),
        [_, message] => Ok(Reply::Bulk(message.clone())),
        _ => Err(CommandError::WrongArity("ping")),
    }
}

fn echo(_: &mut SessionCx<'_>, args: &Args) -> CommandResult {
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
        handshake.protocol = Some(match number::integer(version) {
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

fn hello(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let handshake = Handshake::parse(args)?;
    if let Some((user, password)) = handshake.credentials {
        authenticate(cx, user, password)?;
    }
    if !cx.session.authenticated {
        return Err(CommandError::custom(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO AUTH <user> <pass> option can be used to authenticate the client and select \
             the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = handshake.name {
        client::rename(cx, name);
    }
    if let Some(protocol) = handshake.protocol {
        cx.session.set_protocol(protocol);
    }
    let mode = if cx.host.settings().config.cluster_mode { "cluster" } else { "standalone" };
    let session = &*cx.session;
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

fn auth(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    match args {
        [_, password] => {
            if cx.host.password().is_none() {
                return Err(CommandError::custom(
                    "ERR AUTH <password> called without any password configured for the default \
                     user. Are you sure your configuration is correct?",
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
    let right = cx.host.password().is_none_or(|expected| expected.matches(password));
    if user != b"default" || !right {
        return Err(CommandError::custom(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    cx.session.authenticated = true;
    Ok(())
}

fn quit(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    cx.session.closing = true;
    Ok(Reply::Ok)
}

fn reset(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    cx.session.reset(cx.host.password().is_some());
    Ok(Reply::simple("RESET"))
}

/// A refused SELECT keeps this connection's commands away from the keys until another one succeeds:
/// the client, which may have sent them already, means a database that is not there.
fn select(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let outcome = select_database(cx, args);
    cx.session.no_database = outcome.is_err();
    outcome
}

fn select_database(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    match number::integer_between(args::get(args, 1)?, i64::from(i32::MIN), i64::from(i32::MAX))? {
        0 => Ok(Reply::Ok),
        _ if cx.host.settings().config.cluster_mode => {
            Err(CommandError::custom("ERR SELECT is not allowed in cluster mode"))
        }
        _ => Err(CommandError::custom("ERR DB index is out of range")),
    }
}

fn readonly(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    cx.session.set_readonly(true);
    Ok(Reply::Ok)
}

fn readwrite(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    cx.session.set_readonly(false);
    Ok(Reply::Ok)
}

fn asking(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    cx.session.asking = true;
    Ok(Reply::Ok)
}

/// UNWATCH: no key is ever watched, see [`crate::session::transaction`].
fn unwatch(_: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Ok(Reply::Ok)
}

/// Seconds since 1970, and the microseconds of the current second.
fn time(_: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    let now = clock::since_epoch();
    Ok(Reply::Array(vec![
        Reply::bulk(now.as_secs().to_string()),
        Reply::bulk(now.subsec_micros().to_string()),
    ]))
}
