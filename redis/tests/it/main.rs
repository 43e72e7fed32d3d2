//! Integration tests of this crate. One binary, because linking RocksDB is slow.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod binary;
mod harness;
mod server;
