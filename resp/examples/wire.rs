//! Shows what a command and its possible replies look like on the wire.
//!
//! ```text
//! cargo run -p neokv-resp --example wire -- SET greeting "hello world"
//! ```

use bytes::BytesMut;
use neokv_resp::client::{decode, encode_command};
use neokv_resp::{Parser, ParserLimits, Protocol, ProtocolError, Reply};

fn main() -> Result<(), ProtocolError> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        words = ["ZRANGE", "board", "0", "-1", "WITHSCORES"].map(str::to_owned).to_vec();
    }

    let mut wire = BytesMut::new();
    encode_command(&words, &mut wire);
    println!("command  {}", wire.escape_ascii());
    let mut parser = Parser::new(ParserLimits::default());
    while let Some(args) = parser.next(&mut wire)? {
        println!("parsed   {args:?}\n");
    }

    let board =
        vec![(Reply::bulk("ann"), Reply::Double(1.5)), (Reply::bulk("bob"), Reply::Double(0.1))];
    for (meaning, reply) in [
        ("a status", Reply::Ok),
        (
            "an error",
            Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value"),
        ),
        ("nothing", Reply::Nil),
        ("a map", Reply::Map(board.clone())),
        ("members with scores", Reply::Pairs(board)),
    ] {
        println!("{meaning}");
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let mut out = BytesMut::new();
            reply.write(protocol, &mut out);
            println!("  RESP{}  {}", protocol.version(), out.escape_ascii());
            println!("         {:?}", decode(&mut out)?);
        }
    }
    Ok(())
}
