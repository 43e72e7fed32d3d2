//! A whole NeoKV server inside another program: a store in a temporary folder, a Redis port, one
//! client.
//!
//! ```sh
//! cargo run --example embedded -p neokv-redis
//! ```

use std::ffi::OsString;

use neokv_redis::config::{self, Request};
use neokv_redis::node::{Deployment, Node};
use neokv_resp::client::encode_command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    // The same options as on the command line; port 0 takes a free one.
    let arguments = ["neokv", "--port", "0", "--dir"].map(OsString::from);
    let arguments = arguments.into_iter().chain([folder.path().join("data").into_os_string()]);
    let Request::Serve(settings) = config::load(arguments, [])? else {
        return Err("not a request to serve".into());
    };
    let mut node = Node::open(settings, Deployment::standalone(1)).await?;
    let port = node.serve().await?;
    println!("serving on port {port}");

    let mut client = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut pipeline = bytes::BytesMut::new();
    encode_command(&["SET", "greeting", "hello"], &mut pipeline);
    encode_command(&["GET", "greeting"], &mut pipeline);
    client.write_all(&pipeline).await?;
    let mut replies = [0; "+OK\r\n$5\r\nhello\r\n".len()];
    client.read_exact(&mut replies).await?;
    println!("replies: {}", replies.escape_ascii());

    node.stop().await;
    Ok(())
}
