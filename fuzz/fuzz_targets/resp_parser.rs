//! Any bytes from a client, in pieces of any size: no panic, memory bounded by what was received,
//! and the same commands (or the same error) however the bytes were cut.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use neokv_resp::{Parser, ParserLimits};

/// Every command in the bytes, and the error that ended them, if one did.
fn parse(bytes: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<Vec<Bytes>>, Option<String>) {
    let limits =
        ParserLimits { max_bulk: 4096, max_args: 64, max_inline: 256, ..ParserLimits::default() };
    let mut parser = Parser::new(limits);
    let mut input = BytesMut::new();
    let mut commands = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(piece().clamp(1, rest.len()));
        input.extend_from_slice(head);
        rest = tail;
        loop {
            match parser.next(&mut input) {
                Ok(Some(command)) => commands.push(command),
                Ok(None) => break,
                Err(error) => return (commands, Some(error.to_string())),
            }
        }
    }
    (commands, None)
}

fuzz_target!(|bytes: &[u8]| {
    // The first byte seeds the sizes of the pieces.
    let Some((seed, bytes)) = bytes.split_first() else { return };
    let mut state = u64::from(*seed) | 1;
    let pieces = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 60).unwrap_or(0) + 1
    };
    let whole = parse(bytes, || bytes.len());
    let cut = parse(bytes, pieces);
    assert_eq!(whole, cut);
});
