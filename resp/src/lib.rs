//! The Redis serialization protocol (RESP), both versions, as pure functions over buffers: no
//! socket, no runtime.
//!
//! A connection is two streams of bytes. This crate turns the one that comes in into commands, and
//! replies into the one that goes out:
//!
//! ```text
//!   client                                 server
//!   *2 $3 GET $1 k  ──────────────────▶  Parser      → [b"GET", b"k"]
//!                                            (the command runs)
//!   $5 hello        ◀──────────────────  Reply::write ← Reply::Bulk("hello")
//! ```
//!
//! **Commands** come in two forms, and a client may mix them: an array of bulk strings (what every
//! library sends), and an *inline* command, a line of words as a person types it into `telnet`.
//! [`Parser`] reads both, in pieces of any size, without copying arguments.
//!
//! **Replies** depend on the version that the client chose with `HELLO`. [`Reply`] says what a
//! command means ("a map", "a double", "nothing"); [`Reply::write`] knows how each [`Protocol`]
//! spells it. One handler thus serves both:
//!
//! | meaning             | RESP2                       | RESP3              |
//! | ------------------- | --------------------------- | ------------------ |
//! | `Nil`               | `$-1`                       | `_`                |
//! | `NilArray`          | `*-1`                       | `_`                |
//! | `Map` of n pairs    | `*2n`, flat                 | `%n`               |
//! | `Set` of n          | `*n`                        | `~n`               |
//! | `Pairs` of n        | `*2n`, flat                 | `*n` of `*2`       |
//! | `Double`            | `$len`, `%.17g` of C        | `,` and the same   |
//! | `Boolean`           | `:1`, `:0`                  | `#t`, `#f`         |
//! | `Verbatim`          | `$len`                      | `=len`, `txt:`     |
//! | `BigNumber`         | `$len`                      | `(`                |
//!
//! **The other side** is in [`client`]: encoding commands and decoding replies, for tools and
//! tests.
//!
//! # Example
//!
//! ```
//! use bytes::BytesMut;
//! use neokv_resp::{ParserLimits, Parser, Protocol, Reply};
//!
//! let mut input = BytesMut::from(&b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nPING\r\n*1\r\n$4"[..]);
//! let mut parser = Parser::new(ParserLimits::default());
//! assert_eq!(parser.next(&mut input).unwrap().unwrap(), ["ECHO", "hi"]);
//! assert_eq!(parser.next(&mut input).unwrap().unwrap(), ["PING"]);
//! assert_eq!(parser.next(&mut input).unwrap(), None); // the third command has not fully arrived
//!
//! let mut output = BytesMut::new();
//! Reply::Map(vec![(Reply::bulk("proto"), Reply::Integer(3))]).write(Protocol::Resp3, &mut output);
//! assert_eq!(&output[..], b"%1\r\n$5\r\nproto\r\n:3\r\n");
//! ```
//!
//! # The modules
//!
//! Each uses only those above it; a test of the workspace holds that.
//!
//! | module | what it is |
//! | --- | --- |
//! | `error`, `number`, `double` | refusals, and numbers as texts |
//! | [`inline`] | commands as a person types them |
//! | `parser` | from bytes to commands |
//! | `reply` | from replies to bytes |
//! | [`client`] | the other side: from bytes to replies |
//!
//! # What a hostile peer can cost
//!
//! Nothing is allocated for bytes that were only announced: `$536870912` and `*1048576` cost a few
//! integers until the bytes arrive. Work is linear in the bytes received, whatever their chunking.
//! [`ParserLimits`] bound one command; bounding the number of connections and the output is the
//! server's part.
//!
//! # What is left out
//!
//! RESP3 attributes (`|`), streamed strings and streamed aggregates: Redis 7.0 sends none of them.

pub mod client;
mod double;
mod error;
pub mod inline;
mod number;
mod parser;
mod reply;

pub use double::format_double;
pub use error::ProtocolError;
pub use number::parse_integer;
pub use parser::{Parser, ParserLimits};
pub use reply::{Bulks, Protocol, Reply, Shape};
