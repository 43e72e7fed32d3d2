//! Explains bytes given as hex; without arguments, the records that two commands leave behind.
//!
//! ```text
//! cargo run -p neokv-encoding --example explain
//! cargo run -p neokv-encoding --example explain -- 2f9600000000666f6f
//! ```

use neokv_encoding::{
    explain::{self, render},
    family::Family,
    key::UserKey,
    metadata::{Collection, DataType, encode_string},
};

fn main() -> Result<(), hex::FromHexError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        tour();
        return Ok(());
    }
    for argument in arguments {
        let bytes = hex::decode(argument)?;
        for (place, reading) in explain::guess(&bytes).iter().enumerate() {
            println!(
                "reading {} ({} bits of evidence)\n{}",
                place + 1,
                reading.evidence,
                render::text(reading, &bytes)
            );
        }
    }
    Ok(())
}

/// What is stored for a string and a sorted set.
fn tour() {
    println!("SET greeting hello EX …\n");
    let user = UserKey::new(0, "greeting".into());
    let expire_ms = 1_700_000_060_000;
    record(Family::Metadata, &user.metadata(), &encode_string(expire_ms, b"hello"));
    record(Family::Expire, &user.expire(expire_ms), b"");

    println!("ZADD board -1.5 ada\n");
    let user = UserKey::new(0, "board".into());
    let version = 0x018b_cfe5_6800_0003;
    let set = Collection { size: 1, ..Collection::new(DataType::Zset, version) };
    record(Family::Metadata, &user.metadata(), &set.encode());
    record(Family::ZsetScore, &user.score(version, -1.5, b"ada"), b"");
}

fn record(family: Family, key: &[u8], value: &[u8]) {
    println!("{}", render::text(&explain::key(family, key), key));
    println!("{}", render::text(&explain::value(family, key, value), value));
}
