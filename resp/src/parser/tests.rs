use proptest::prelude::*;

use super::*;
use crate::client::encode_command;

/// Small limits, so that properties reach them.
const SMALL: ParserLimits =
    ParserLimits { max_bulk: 64, max_args: 8, max_inline: 32, max_command: 128 };

/// Feeds `stream` in pieces that end at `cuts`; returns the commands and the error that ended it,
/// if any.
fn run(
    limits: ParserLimits,
    stream: &[u8],
    cuts: &[usize],
) -> (Vec<Vec<Bytes>>, Option<ProtocolError>) {
    let mut parser = Parser::new(limits);
    let mut input = BytesMut::new();
    let mut commands = Vec::new();
    let mut ends: Vec<usize> =
        cuts.iter().map(|cut| cut % (stream.len() + 1)).chain([stream.len()]).collect();
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        input.extend_from_slice(&stream[start..end]);
        start = end;
        loop {
            match parser.next(&mut input) {
                Ok(Some(args)) => commands.push(args),
                Ok(None) => break,
                Err(error) => return (commands, Some(error)),
            }
        }
    }
    (commands, None)
}

fn whole(stream: &[u8]) -> (Vec<Vec<Bytes>>, Option<ProtocolError>) {
    run(ParserLimits::default(), stream, &[])
}

fn error_of(stream: &[u8]) -> String {
    whole(stream).1.map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn arrays_and_lines_may_alternate() {
    let (commands, error) =
        whole(b"*1\r\n$4\r\nPING\r\nset a \"b c\"\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\nping\n");
    assert_eq!(error, None);
    let expected: [&[&str]; 4] = [&["PING"], &["set", "a", "b c"], &["GET", ""], &["ping"]];
    assert_eq!(commands, expected);
}

#[test]
fn empty_commands_are_skipped() {
    let (commands, error) = whole(b"*0\r\n\r\n*-1\r\n  \r\n*-10\r\nPING\r\n");
    assert_eq!((commands, error), (vec![vec![Bytes::from("PING")]], None));
}

#[test]
fn arguments_may_hold_any_bytes() {
    let (commands, error) = whole(b"*1\r\n$8\r\n\r\n$1\r\n\0\xff\r\n");
    assert_eq!((commands, error), (vec![vec![Bytes::from(&b"\r\n$1\r\n\0\xff"[..])]], None));
}

/// The texts of `redis-server` 7.0.
#[test]
fn errors_have_the_texts_of_redis() {
    let long = "a".repeat((64 << 10) + 1);
    for (stream, text) in [
        ("*x\r\n", "Protocol error: invalid multibulk length"),
        ("*\r\n", "Protocol error: invalid multibulk length"),
        ("*01\r\n", "Protocol error: invalid multibulk length"),
        ("*2147483648\r\n", "Protocol error: invalid multibulk length"),
        ("*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\nxyz\r\n", "Protocol error: expected '$', got 'x'"),
        ("*1\r\n:5\r\n", "Protocol error: expected '$', got ':'"),
        ("set \"a\r\n", "Protocol error: unbalanced quotes in request"),
        ("set 'a'b\r\n", "Protocol error: unbalanced quotes in request"),
        (&long, "Protocol error: too big inline request"),
        (&format!("*{long}"), "Protocol error: too big mbulk count string"),
        (&format!("*1\r\n${long}"), "Protocol error: too big bulk count string"),
    ] {
        assert_eq!(error_of(stream.as_bytes()), text, "{:.40}", stream);
    }
}

#[test]
fn commands_before_an_error_are_returned() {
    let (commands, error) = whole(b"PING\r\n*1\r\n$4\r\nPING\r\n*x\r\n");
    assert_eq!((commands.len(), error), (2, Some(ProtocolError::InvalidMultibulkLength)));
}

#[test]
fn an_unauthenticated_peer_may_send_little() {
    let mut parser = Parser::new(ParserLimits::default());
    parser.set_unauthenticated(true);
    let fed = |parser: &mut Parser, text: &str| parser.next(&mut BytesMut::from(text));
    assert_eq!(fed(&mut parser, "*11\r\n"), Err(ProtocolError::UnauthenticatedMultibulkLength));
    assert_eq!(fed(&mut parser, "*1\r\n$16385\r\n"), Err(ProtocolError::UnauthenticatedBulkLength));
    let mut parser = Parser::new(ParserLimits::default());
    parser.set_unauthenticated(true);
    assert_eq!(fed(&mut parser, "*10\r\n$16384\r\n"), Ok(None));
}

#[test]
fn all_arguments_together_are_limited() {
    let mut stream = BytesMut::new();
    encode_command(&["a".repeat(60), "b".repeat(60), "c".repeat(9)], &mut stream);
    assert_eq!(run(SMALL, &stream, &[]), (vec![], Some(ProtocolError::TooBigCommand)));
}

#[test]
fn the_hint_says_what_a_bulk_needs() {
    let mut parser = Parser::new(ParserLimits::default());
    let mut input = BytesMut::from("*1\r\n$10\r\nabc");
    assert_eq!((parser.next(&mut input), parser.wanted(&input)), (Ok(None), 9));
    input.extend_from_slice(b"defghij\r\n");
    assert_eq!(parser.next(&mut input).unwrap().unwrap(), ["abcdefghij"]);
    assert_eq!(parser.wanted(&input), 0);
}

#[test]
fn announced_lengths_allocate_nothing() {
    for header in ["*1048576\r\n", "*1\r\n$536870912\r\n", "*1048576\r\n$536870912\r\n"] {
        let mut parser = Parser::new(ParserLimits::default());
        let mut input = BytesMut::from(header);
        let mut args = Vec::new();
        assert_eq!(parser.parse(&mut input, &mut args), Ok(false));
        assert!(parser.args.capacity() + args.capacity() <= 2 * RESERVED_ARGS, "{header}");
        assert!(input.capacity() <= 64, "{header}");
    }
}

#[test]
fn the_list_of_the_caller_is_used_again() {
    let mut parser = Parser::new(ParserLimits::default());
    let mut input = BytesMut::from("*2\r\n$1\r\na\r\n$1\r\nb\r\n".repeat(3).as_str());
    let mut args = Vec::with_capacity(32);
    for _ in 0..3 {
        assert_eq!(parser.parse(&mut input, &mut args), Ok(true));
        assert_eq!((args.len(), args.capacity()), (2, 32));
    }
}

/// A header that never ends is searched once, not once per piece: the position moves with the
/// input.
#[test]
fn headers_are_not_searched_twice() {
    let mut parser = Parser::new(ParserLimits::default());
    let mut input = BytesMut::new();
    for length in 1..1000 {
        input.extend_from_slice(b"x");
        assert_eq!(parser.next(&mut input), Ok(None));
        assert_eq!(parser.scanned, length);
    }
}

/// Streams made of the protocol's own pieces, so that random ones get past the first byte.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..5).prop_map(|args| {
            let mut out = BytesMut::new();
            encode_command(&args, &mut out);
            out.to_vec()
        }),
        prop::collection::vec(any::<u8>(), 0..6),
        prop::sample::select(vec![
            "*3\r\n",
            "$2\r\n",
            "\r\n",
            "*",
            "$",
            "PING\n",
            "set 'a b'\r\n",
            "*-1\r\n",
            "\"",
            "\r"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn chunking_changes_nothing(
        stream in streams(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        prop_assert_eq!(run(SMALL, &stream, &cuts), run(SMALL, &stream, &[]));
        let every_byte: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(run(SMALL, &stream, &every_byte), run(SMALL, &stream, &[]));
    }

    #[test]
    fn memory_follows_the_bytes_received(stream in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut parser = Parser::new(ParserLimits::default());
        let mut input = BytesMut::from(&stream[..]);
        while let Ok(Some(args)) = parser.next(&mut input) {
            prop_assert!(!args.is_empty());
            prop_assert!(args.iter().map(Bytes::len).sum::<usize>() <= stream.len());
        }
        prop_assert!(parser.args.capacity() <= stream.len() + RESERVED_ARGS);
    }

    #[test]
    fn commands_come_back(
        args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..10),
    ) {
        let mut stream = BytesMut::new();
        encode_command(&args, &mut stream);
        let (commands, error) = whole(&stream);
        prop_assert_eq!(error, None);
        prop_assert_eq!(commands, vec![args]);
    }
}
