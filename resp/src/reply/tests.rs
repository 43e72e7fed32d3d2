use proptest::prelude::*;

use super::*;
use crate::client::{Value, decode};

fn written(reply: &Reply, protocol: Protocol) -> String {
    let mut out = BytesMut::new();
    reply.write(protocol, &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn both_spellings_of_every_reply() {
    let pair =
        || vec![(Reply::bulk("a"), Reply::Double(1.5)), (Reply::bulk("b"), Reply::Double(-0.1))];
    let table = [
        (Reply::Ok, "+OK\r\n", "+OK\r\n"),
        (Reply::simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
        (Reply::error("ERR syntax error"), "-ERR syntax error\r\n", "-ERR syntax error\r\n"),
        (Reply::Integer(-42), ":-42\r\n", ":-42\r\n"),
        (Reply::count(u64::MAX), ":9223372036854775807\r\n", ":9223372036854775807\r\n"),
        (Reply::bulk("a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
        (Reply::bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"),
        (Reply::Nil, "$-1\r\n", "_\r\n"),
        (Reply::NilArray, "*-1\r\n", "_\r\n"),
        (Reply::Array(vec![]), "*0\r\n", "*0\r\n"),
        (
            Reply::Array(vec![Reply::Integer(1), Reply::Nil]),
            "*2\r\n:1\r\n$-1\r\n",
            "*2\r\n:1\r\n_\r\n",
        ),
        (Reply::Set(vec![Reply::bulk("a")]), "*1\r\n$1\r\na\r\n", "~1\r\n$1\r\na\r\n"),
        (Reply::Push(vec![Reply::bulk("a")]), "*1\r\n$1\r\na\r\n", ">1\r\n$1\r\na\r\n"),
        (
            Reply::Map(pair()),
            "*4\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\nb\r\n$20\r\n-0.10000000000000001\r\n",
            "%2\r\n$1\r\na\r\n,1.5\r\n$1\r\nb\r\n,-0.10000000000000001\r\n",
        ),
        (
            Reply::Pairs(pair()),
            "*4\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\nb\r\n$20\r\n-0.10000000000000001\r\n",
            "*2\r\n*2\r\n$1\r\na\r\n,1.5\r\n*2\r\n$1\r\nb\r\n,-0.10000000000000001\r\n",
        ),
        (
            Reply::Bulks(Shape::Array, bulks()),
            "*2\r\n$1\r\na\r\n$0\r\n\r\n",
            "*2\r\n$1\r\na\r\n$0\r\n\r\n",
        ),
        (
            Reply::Bulks(Shape::Set, bulks()),
            "*2\r\n$1\r\na\r\n$0\r\n\r\n",
            "~2\r\n$1\r\na\r\n$0\r\n\r\n",
        ),
        (
            Reply::Bulks(Shape::Map, bulks()),
            "*2\r\n$1\r\na\r\n$0\r\n\r\n",
            "%1\r\n$1\r\na\r\n$0\r\n\r\n",
        ),
        (Reply::Bulks(Shape::Map, Bulks::new()), "*0\r\n", "%0\r\n"),
        (Reply::Double(3.0), "$1\r\n3\r\n", ",3\r\n"),
        (Reply::Double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n"),
        (Reply::Boolean(true), ":1\r\n", "#t\r\n"),
        (Reply::Boolean(false), ":0\r\n", "#f\r\n"),
        (Reply::Verbatim("txt", "hi".into()), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
        (Reply::BigNumber("123".into()), "$3\r\n123\r\n", "(123\r\n"),
    ];
    for (reply, resp2, resp3) in table {
        assert_eq!(written(&reply, Protocol::Resp2), resp2);
        assert_eq!(written(&reply, Protocol::Resp3), resp3);
    }
}

/// Two strings, the second of them empty.
fn bulks() -> Bulks {
    let mut strings = Bulks::new();
    strings.extend([&b"a"[..], b""]);
    strings
}

#[test]
fn an_error_cannot_forge_another_reply() {
    let reply = Reply::error("ERR unknown command 'a\r\n+OK\nb'\r\n");
    assert_eq!(written(&reply, Protocol::Resp2), "-ERR unknown command 'a  +OK b'\r\n");
}

/// Arbitrary strings, an even number of them.
fn strings() -> impl Strategy<Value = Bulks> {
    let string = || prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec((string(), string()), 0..4).prop_map(|pairs| {
        let mut strings = Bulks::new();
        strings.extend(pairs.iter().flat_map(|(first, second)| [&first[..], &second[..]]));
        strings
    })
}

/// Arbitrary replies, nested a little.
fn replies() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        Just(Reply::Ok),
        Just(Reply::Nil),
        Just(Reply::NilArray),
        "[ -~]{0,20}".prop_map(Reply::simple),
        "[A-Z]{1,8} [ -~]{0,20}".prop_map(Reply::error),
        any::<i64>().prop_map(Reply::Integer),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Reply::bulk),
        any::<f64>().prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Boolean),
        (prop_oneof![Just(Shape::Array), Just(Shape::Set), Just(Shape::Map)], strings())
            .prop_map(|(shape, strings)| Reply::Bulks(shape, strings)),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|text| Reply::Verbatim("txt", text.into())),
        "-?[1-9][0-9]{0,40}".prop_map(Reply::BigNumber),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reply::Array),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reply::Set),
            prop::collection::vec(inner, 0..6).prop_map(Reply::Push),
            pairs.clone().prop_map(Reply::Map),
            pairs.prop_map(Reply::Pairs),
        ]
    })
}

/// What a client sees of a reply.
fn seen(reply: &Reply, protocol: Protocol) -> Value {
    let resp3 = protocol == Protocol::Resp3;
    let all = |items: &[Reply]| items.iter().map(|item| seen(item, protocol)).collect::<Vec<_>>();
    let flat = |pairs: &[(Reply, Reply)]| {
        pairs
            .iter()
            .flat_map(|(first, second)| [seen(first, protocol), seen(second, protocol)])
            .collect::<Vec<_>>()
    };
    let both = |(first, second): &(Reply, Reply)| (seen(first, protocol), seen(second, protocol));
    match reply {
        Reply::Ok => Value::Simple("OK".into()),
        Reply::Simple(text) => Value::Simple(text.to_string()),
        Reply::Error(text) => Value::Error(text.to_string()),
        Reply::Integer(number) => Value::Integer(*number),
        Reply::Bulk(bytes) => Value::Bulk(bytes.clone()),
        Reply::Nil | Reply::NilArray if resp3 => Value::Null,
        Reply::Nil => Value::Nil,
        Reply::NilArray => Value::NilArray,
        Reply::Bulks(shape, strings) => {
            let values: Vec<_> =
                strings.iter().map(|value| Value::Bulk(Bytes::copy_from_slice(value))).collect();
            match shape {
                Shape::Set if resp3 => Value::Set(values),
                Shape::Map if resp3 => Value::Map(
                    values.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
                ),
                _ => Value::Array(values),
            }
        }
        Reply::Set(items) if resp3 => Value::Set(all(items)),
        Reply::Push(items) if resp3 => Value::Push(all(items)),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => Value::Array(all(items)),
        Reply::Map(pairs) if resp3 => Value::Map(pairs.iter().map(both).collect()),
        Reply::Pairs(pairs) if resp3 => Value::Array(
            pairs.iter().map(|pair| Value::Array(flat(std::slice::from_ref(pair)))).collect(),
        ),
        Reply::Map(pairs) | Reply::Pairs(pairs) => Value::Array(flat(pairs)),
        Reply::Double(number) if resp3 => Value::Double(format_double(*number)),
        Reply::Double(number) => Value::Bulk(format_double(*number).into()),
        Reply::Boolean(value) if resp3 => Value::Boolean(*value),
        Reply::Boolean(value) => Value::Integer(i64::from(*value)),
        Reply::Verbatim(format, text) if resp3 => Value::Verbatim((*format).into(), text.clone()),
        Reply::Verbatim(_, text) => Value::Bulk(text.clone()),
        Reply::BigNumber(digits) if resp3 => Value::BigNumber(digits.clone()),
        Reply::BigNumber(digits) => Value::Bulk(digits.clone().into()),
    }
}

proptest! {
    #[test]
    fn a_client_reads_what_was_meant(
        replies in prop::collection::vec(replies(), 1..4),
        resp3: bool,
    ) {
        let protocol = if resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let mut out = BytesMut::new();
        for reply in &replies {
            reply.write(protocol, &mut out);
        }
        for reply in &replies {
            prop_assert_eq!(decode(&mut out), Ok(Some(seen(reply, protocol))));
        }
        prop_assert!(out.is_empty());
    }

    #[test]
    fn a_decoder_fed_in_pieces_reads_the_same(reply in replies(), size in 1usize..7) {
        let mut out = BytesMut::new();
        reply.write(Protocol::Resp3, &mut out);
        let mut decoder = crate::client::Decoder::default();
        let mut input = BytesMut::new();
        let mut found = None;
        for piece in out.chunks(size) {
            prop_assert_eq!(&found, &None);
            input.extend_from_slice(piece);
            found = decoder.next(&mut input).unwrap();
        }
        prop_assert_eq!(found, Some(seen(&reply, Protocol::Resp3)));
    }

    #[test]
    fn random_bytes_are_a_reply_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut input = BytesMut::from(&bytes[..]);
        while let Ok(Some(value)) = decode(&mut input) {
            let mut again = BytesMut::new();
            crate::client::encode_value(&value, &mut again);
            prop_assert!(!again.is_empty());
        }
    }
}
