//! The crate from outside: stores on real engines, with a toy state machine.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that is wrong about its own fixtures should fail there"
)]

mod cluster;
mod crash;
mod single;
mod toy;
