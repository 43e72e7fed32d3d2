//! The crate from outside: stores on real engines, with a toy state machine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that is wrong about its own fixtures should fail there"
)]

mod crash;
mod full_disk;
mod grpc;
mod installs;
mod many;
mod node;
mod replays;
mod single;
#[path = "../../../engine/tests/it/small_disk.rs"]
mod small_disk;
mod stepped;
mod threads;
mod toy;
