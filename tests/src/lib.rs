//! Whole-system tests of NeoKV: real processes, real sockets, real clients.
//!
//! * [`process`] starts and stops servers, [`client`] talks to them.
//! * [`oracle`] sends the same random commands to NeoKV and to `redis-server` and compares every
//!   reply.
//! * [`ledger`] kills the server under load and looks for every acknowledged write.
//! * [`mod@bench`] measures NeoKV against Redis.
//!
//! The tests proper are in `tests/it`; each of these modules also has a program for long runs
//! (`make oracle`, `make crash`, `make bench`).

pub mod bench;
pub mod client;
pub mod ledger;
pub mod oracle;
pub mod process;
