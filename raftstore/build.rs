//! Compiles `proto/transport.proto` into the messages, the client and the server of the transport
//! between stores, without a `protoc`.

use std::error::Error;

const PROTO: &str = "proto/transport.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    println!("cargo:rerun-if-changed=build.rs");
    let files = protox::compile([PROTO], ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
