//! Sockets and sessions: how bytes of a client become commands, and replies become bytes again.
//!
//! ```text
//!                    one tokio task per connection, on one thread all its life
//!  socket ──read──► input ──Parser──► dispatch ──┬─ Session: answered here (HELLO, INFO, …)
//!    ▲                                           ├─ Read:    routed, then the engine, mostly here
//!    └──write── output ◄──────replies────────────┴─ Write:   routed, gathered, ONE proposal
//! ```
//!
//! # Order
//!
//! One connection's commands take effect and answer in the order in which they were sent, also when
//! pipelined. Writes that follow each other are gathered in [`writes`] and proposed together. A
//! command of another kind waits for the writes before it. So a read sees its own connection's
//! writes, and a pipeline of a hundred SETs costs one log entry.
//!
//! # What a connection costs
//!
//! * **Commands take no lock that connections share.** Statistics are counted in the connection and
//!   added to shared atomics once per batch ([`crate::stats`]); the client list
//!   ([`crate::clients`]) is touched when a client comes and goes.
//! * **One read and one write system call per batch**: everything that has arrived is parsed and
//!   run before the replies, encoded into one buffer, are written.
//! * **A short read stays on its thread** if its rows are in memory. A command declared `Budgeted`
//!   tries that first, within a budget. A read that exceeds it, and every command declared
//!   `Blocking`, runs on the blocking pool, a limited number at a time, so that it delays no other
//!   connection.
//! * **Idle connections hold no buffers**: these come from a pool of the thread ([`buffers`]) when
//!   bytes arrive.
//!
//! # What a hostile client costs
//!
//! Input: what it has really sent, within the parser's limits; until it has authenticated, ten
//! arguments of 16 KiB. Output: a client that does not read its replies gets nothing more done
//! ([`pressure`]), and is closed when it goes on sending up to `client-output-buffer-limit`; all
//! such buffers together have a limit too. Connections beyond `maxclients` are told so and closed.
//!
//! # Map
//!
//! | module | what it does |
//! | --- | --- |
//! | [`context`] | what all connections share |
//! | [`listener`] | accepting, the limit, stopping |
//! | [`threads`] | which thread runs a connection |
//! | [`connection`] | the loop of one connection |
//! | [`pipeline`] | running a batch of commands |
//! | [`dispatch`] | whether a command may run |
//! | [`routing`] | which Regions serve it: MOVED, CROSSSLOT |
//! | [`reads`], [`writes`], [`gathered`] | running it there |
//! | [`buffers`], [`output`], [`pressure`] | bytes and their bounds |
//! | [`host`], [`report`] | what commands hear about the process |

pub mod buffers;
pub mod connection;
pub mod context;
pub mod dispatch;
mod gathered;
mod host;
pub mod listener;
pub mod output;
pub mod pipeline;
pub mod pressure;
pub mod reads;
pub mod report;
mod round;
pub mod routing;
pub mod threads;
pub mod writes;

pub use self::context::{Context, ContextSource, ServerLimits};
pub use self::listener::{ListenError, Server};
pub use self::threads::Threads;
