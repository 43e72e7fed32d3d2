//! Whole-system tests of NeoKV: real processes, real sockets, real clients.
//!
//! * [`process`] starts and stops servers, [`client`] talks to them.
//! * [`oracle`] sends the same random commands to NeoKV and to `redis-server` and compares every
//!   reply.
//! * [`ledger`] kills the server under load and looks for every acknowledged write.
//! * [`mod@bench`] measures NeoKV against Redis.
//!
//! Each module uses only those above it; a test of this crate holds that, here and in every crate.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`client`] | a connection |
//! | `caretaker` | ends a server where this program is interrupted |
//! | [`process`] | a server |
//! | [`oracle`], [`ledger`], [`mod@bench`] | what is done with them |
//!
//! The tests proper are in `tests/it`; each of these modules also has a program for long runs
//! (`make oracle`, `make crash`, `make bench`).

pub mod bench;
mod caretaker;
pub mod client;
pub mod ledger;
pub mod oracle;
pub mod process;
