//! What the list commands answer, and what they leave in the store.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use neokv_encoding::metadata::{DataType, LIST_MIDDLE};
use neokv_engine::Direction;

use crate::testing::Bench;
use neokv_raftstore::SplitMix64;

/// The positions of a list, after checking that each has exactly one row and no row lies outside.
fn positions(bench: &Bench, key: &str) -> Range<u64> {
    let view = bench.view();
    let list =
        view.collection(&Bytes::copy_from_slice(key.as_bytes()), DataType::List).unwrap().unwrap();
    let mut rows = view.subkeys(&list, Direction::Forward).unwrap();
    for position in list.meta.head..list.meta.tail {
        let (subkey, _) = rows.next().unwrap().expect("a row for every position");
        assert_eq!(*subkey, position.to_be_bytes());
    }
    assert_eq!(rows.next().unwrap(), None, "a row outside of the list");
    assert_eq!(list.size(), list.meta.tail - list.meta.head);
    list.meta.head..list.meta.tail
}

#[test]
fn pushes_and_pops() {
    Bench::new().check(&[
        ("RPUSH l a b c", "3"),
        ("LPUSH l y z", "5"),
        ("LRANGE l 0 -1", r#"["z", "y", "a", "b", "c"]"#),
        ("LPUSHX none a", "0"),
        ("RPUSHX none a", "0"),
        ("EXISTS none", "0"),
        ("RPUSHX l d e", "7"),
        ("LPUSHX l x", "8"),
        ("LPOP l", r#""x""#),
        ("RPOP l 2", r#"["e", "d"]"#),
        ("LPOP l 0", "[]"),
        ("LPOP l 2", r#"["z", "y"]"#),
        ("RPOP l 99", r#"["c", "b", "a"]"#),
        ("EXISTS l", "0"),
        ("LPOP l", "nil"),
        ("LPOP l 1", "nil-array"),
        ("RPOP l 0", "nil-array"),
        ("LPOP l -1", "ERR value is out of range, must be positive"),
        ("LPOP l x", "ERR value is out of range, must be positive"),
        ("RPOP l 1 2", "ERR wrong number of arguments for 'rpop' command"),
        (r#"RPUSH l "" "\x00\r\n\xff""#, "2"),
        ("LRANGE l 0 -1", r#"["", "\x00\r\n\xff"]"#),
    ]);
}

#[test]
fn indexes() {
    Bench::new().check(&[
        ("RPUSH l a b c", "3"),
        ("LLEN l", "3"),
        ("LINDEX l 0", r#""a""#),
        ("LINDEX l -1", r#""c""#),
        ("LINDEX l 3", "nil"),
        ("LINDEX l -4", "nil"),
        ("LINDEX l -9223372036854775808", "nil"),
        ("LINDEX l x", "ERR value is not an integer or out of range"),
        ("LINDEX none x", "nil"),
        ("LSET l -1 C", "OK"),
        ("LSET l 0 A", "OK"),
        ("LSET l 3 D", "ERR index out of range"),
        ("LSET l x D", "ERR value is not an integer or out of range"),
        ("LSET none x D", "ERR no such key"),
        ("LRANGE l 0 -1", r#"["A", "b", "C"]"#),
        ("LRANGE l 1 1", r#"["b"]"#),
        ("LRANGE l -2 9", r#"["b", "C"]"#),
        ("LRANGE l 2 1", "[]"),
        ("LRANGE l 3 9", "[]"),
        ("LRANGE none 0 -1", "[]"),
        ("LRANGE none 0 x", "ERR value is not an integer or out of range"),
        ("LLEN none", "0"),
    ]);
}

#[test]
fn positions_of_an_element() {
    Bench::new().check(&[
        ("RPUSH l a b c a d a", "6"),
        ("LPOS l a", "0"),
        ("LPOS l a RANK 2", "3"),
        ("LPOS l a RANK -1", "5"),
        ("LPOS l a RANK -4", "nil"),
        ("LPOS l a COUNT 0", "[0, 3, 5]"),
        ("LPOS l a COUNT 2 RANK -1", "[5, 3]"),
        ("LPOS l a COUNT 2 RANK 2", "[3, 5]"),
        ("LPOS l a COUNT 0 MAXLEN 4", "[0, 3]"),
        ("LPOS l a RANK -1 COUNT 0 MAXLEN 3", "[5, 3]"),
        ("LPOS l a RANK -9223372036854775808 COUNT 1", "[5, 3, 0]"),
        ("LPOS l zz", "nil"),
        ("LPOS l zz COUNT 1", "[]"),
        ("LPOS none a", "nil"),
        ("LPOS none a COUNT 1", "[]"),
        (
            "LPOS none a RANK 0",
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or \
             use negative to start from the end of the list",
        ),
        ("LPOS none a COUNT -1", "ERR COUNT can't be negative"),
        ("LPOS none a MAXLEN x", "ERR MAXLEN can't be negative"),
        ("LPOS none a RANK", "ERR syntax error"),
        ("LPOS none a BOGUS 1", "ERR syntax error"),
    ]);
}

#[test]
fn changes_in_the_middle() {
    Bench::new().check(&[
        ("RPUSH l a b c a", "4"),
        ("LINSERT l BEFORE c X", "5"),
        ("LINSERT l AFTER a Y", "6"),
        ("LINSERT l BEFORE a Z", "7"),
        ("LINSERT l AFTER zz X", "-1"),
        ("LINSERT none AFTER a X", "0"),
        ("LINSERT none MIDDLE a X", "ERR syntax error"),
        ("LRANGE l 0 -1", r#"["Z", "a", "Y", "b", "X", "c", "a"]"#),
        ("LREM l 1 a", "1"),
        ("LREM l -1 a", "1"),
        ("LREM l 0 a", "0"),
        ("LRANGE l 0 -1", r#"["Z", "Y", "b", "X", "c"]"#),
        ("LREM none 0 a", "0"),
        ("LREM none x a", "ERR value is not an integer or out of range"),
        ("LTRIM l 1 -2", "OK"),
        ("LRANGE l 0 -1", r#"["Y", "b", "X"]"#),
        ("LTRIM l 5 9", "OK"),
        ("EXISTS l", "0"),
        ("LTRIM none 0 x", "ERR value is not an integer or out of range"),
        ("LTRIM none 0 1", "OK"),
        ("RPUSH l a a a", "3"),
        ("LREM l -2 a", "2"),
        ("LREM l 0 a", "1"),
        ("EXISTS l", "0"),
    ]);
}

#[test]
fn moves_between_lists() {
    Bench::new().check(&[
        ("RPUSH l a b c", "3"),
        ("LMOVE l m LEFT RIGHT", r#""a""#),
        ("LMOVE l m RIGHT LEFT", r#""c""#),
        ("LRANGE m 0 -1", r#"["c", "a"]"#),
        ("LMOVE l m left left", r#""b""#),
        ("EXISTS l", "0"),
        ("LMOVE l m LEFT LEFT", "nil"),
        ("LMOVE m m LEFT RIGHT", r#""b""#),
        ("LMOVE m m LEFT LEFT", r#""c""#),
        ("RPOPLPUSH m m", r#""b""#),
        ("LRANGE m 0 -1", r#"["b", "c", "a"]"#),
        ("LMOVE m m LEFT UP", "ERR syntax error"),
        ("SET s x", "OK"),
        (
            "LMOVE m s LEFT LEFT",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("LMOVE none s LEFT LEFT", "nil"),
        ("LRANGE m 0 -1", r#"["b", "c", "a"]"#),
        ("LMPOP 2 none m LEFT", r#"["m", ["b"]]"#),
        ("LMPOP 2 none m RIGHT COUNT 9", r#"["m", ["a", "c"]]"#),
        ("LMPOP 1 m LEFT", "nil-array"),
        (
            "LMPOP 2 none s LEFT",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("LMPOP 0 m LEFT", "ERR numkeys should be greater than 0"),
        ("LMPOP x m LEFT", "ERR numkeys should be greater than 0"),
        ("LMPOP 9223372036854775807 m LEFT", "ERR syntax error"),
        ("LMPOP 2 m LEFT", "ERR syntax error"),
        ("LMPOP 1 m LEFT COUNT 0", "ERR count should be greater than 0"),
        ("LMPOP 1 m LEFT COUNT", "ERR syntax error"),
        ("LMPOP 1 m LEFT COUNT 1 COUNT 1", "ERR syntax error"),
    ]);
}

#[test]
fn rotating_a_single_element_keeps_the_expiry() {
    Bench::new().check(&[
        ("RPUSH l a", "1"),
        ("PEXPIREAT l 99999999999999", "1"),
        ("LMOVE l l LEFT RIGHT", r#""a""#),
        ("RPOPLPUSH l l", r#""a""#),
        ("PEXPIRETIME l", "99999999999999"),
    ]);
}

#[test]
fn other_types_are_refused() {
    let mut bench = Bench::new();
    bench.check(&[("SET s x", "OK")]);
    for line in [
        "LPUSH s a",
        "RPUSH s a",
        "LPUSHX s a",
        "RPUSHX s a",
        "LPOP s",
        "LPOP s 0",
        "RPOP s",
        "LLEN s",
        "LINDEX s x",
        "LRANGE s 0 -1",
        "LPOS s a",
        "LSET s x a",
        "LINSERT s BEFORE a b",
        "LREM s 0 a",
        "LTRIM s 0 -1",
        "LMOVE s l LEFT LEFT",
        "RPOPLPUSH s l",
        "LMPOP 1 s LEFT",
    ] {
        bench.check(&[(line, "WRONGTYPE Operation against a key holding the wrong kind of value")]);
    }
    bench.check(&[("GET s", r#""x""#)]);
}

#[test]
fn only_the_shorter_side_moves() {
    let mut bench = Bench::new();
    bench.check(&[("RPUSH l a b c d e f g h", "8")]);
    let (head, tail) = (LIST_MIDDLE, LIST_MIDDLE + 8);
    bench.check(&[("LINSERT l BEFORE b X", "9")]);
    assert_eq!(positions(&bench, "l"), head - 1..tail);
    bench.check(&[("LINSERT l AFTER g Y", "10")]);
    assert_eq!(positions(&bench, "l"), head - 1..tail + 1);
    bench.check(&[("LREM l 0 Y", "1"), ("LREM l 0 X", "1")]);
    assert_eq!(positions(&bench, "l"), head..tail);
    bench.check(&[("LSET l 1 X", "OK"), ("LSET l -2 X", "OK"), ("LREM l 0 X", "2")]);
    assert_eq!(positions(&bench, "l"), head + 1..tail - 1);
    bench.check(&[("LRANGE l 0 -1", r#"["a", "c", "d", "e", "f", "h"]"#), ("LTRIM l 1 -2", "OK")]);
    assert_eq!(positions(&bench, "l"), head + 2..tail - 2);
}

/// A run that moves is longer than what is read at once.
#[test]
fn long_runs_move_completely() {
    let mut bench = Bench::new();
    let mut model: VecDeque<String> = (0..1500).map(|number| number.to_string()).collect();
    let elements: Vec<String> = model.iter().cloned().collect();
    bench.run(&format!("RPUSH l {}", elements.join(" ")));
    for pivot in ["600", "900"] {
        let at = model.iter().position(|element| element == pivot).unwrap();
        bench.run(&format!("LINSERT l BEFORE {pivot} x"));
        model.insert(at, "x".to_owned());
    }
    for drop in ["x", "700", "800"] {
        bench.run(&format!("LREM l 0 {drop}"));
        model.retain(|element| element != drop);
    }
    let expected: Vec<String> = model.iter().map(|element| format!("{element:?}")).collect();
    assert_eq!(bench.run("LRANGE l 0 -1"), format!("[{}]", expected.join(", ")));
    positions(&bench, "l");
}

/// Random commands against a `VecDeque`: same content, no hole, no row left behind.
#[test]
fn lists_agree_with_a_model_and_have_no_holes() {
    let mut bench = Bench::new();
    for seed in 0..20 {
        let mut random = SplitMix64::new(seed);
        let key = format!("l{seed}");
        let mut model: VecDeque<String> = VecDeque::new();
        for step in 0..150 {
            let line = random_edit(&mut random, &key, &mut model);
            bench.run(&line);
            let shown: Vec<String> = model.iter().map(|element| format!("{element:?}")).collect();
            let stored = bench.run(&format!("LRANGE {key} 0 -1"));
            assert_eq!(
                stored,
                format!("[{}]", shown.join(", ")),
                "seed {seed}, step {step}: {line}"
            );
            if !model.is_empty() {
                positions(&bench, &key);
            }
        }
    }
}

/// A random command, and its effect on the model.
fn random_edit(random: &mut SplitMix64, key: &str, model: &mut VecDeque<String>) -> String {
    let element = ["a", "b", "c", "d"][usize::try_from(random.below(4)).unwrap()].to_owned();
    let below = |random: &mut SplitMix64, bound: usize| {
        usize::try_from(random.below(bound as u64)).unwrap()
    };
    match random.below(9) {
        0 => {
            model.push_front(element.clone());
            format!("LPUSH {key} {element}")
        }
        1 | 2 => {
            model.extend([element.clone(), "e".to_owned()]);
            format!("RPUSH {key} {element} e")
        }
        3 | 4 => {
            let after = below(random, 2);
            if let Some(at) = model.iter().position(|stored| *stored == element) {
                model.insert(at + after, "new".to_owned());
            }
            format!("LINSERT {key} {} {element} new", ["BEFORE", "AFTER"][after])
        }
        5 => {
            let count: i32 = [-1, 0, 1, 2][below(random, 4)];
            let mut found: Vec<usize> =
                (0..model.len()).filter(|at| model[*at] == element).collect();
            if count < 0 {
                found.reverse();
            }
            if count != 0 {
                found.truncate(usize::try_from(count.unsigned_abs()).unwrap());
            }
            let mut at = 0;
            model.retain(|_| {
                at += 1;
                !found.contains(&(at - 1))
            });
            format!("LREM {key} {count} {element}")
        }
        6 => {
            let (left, right) = (below(random, 3), below(random, 3));
            for _ in 0..left {
                model.pop_front();
            }
            for _ in 0..right {
                model.pop_back();
            }
            format!("LTRIM {key} {left} -{}", right + 1)
        }
        7 => {
            if let Some(element) = model.pop_back() {
                model.push_front(element);
            }
            format!("LMOVE {key} {key} RIGHT LEFT")
        }
        _ => {
            model.pop_front();
            model.pop_front();
            format!("LPOP {key} 2")
        }
    }
}

#[test]
fn a_run_is_the_same_whether_it_is_looked_up_or_walked_over() {
    let mut bench = Bench::new();
    let elements = |from: u32, to: u32| {
        (from..to).map(|element| format!("e{element}")).collect::<Vec<_>>().join(" ")
    };
    bench.run(&format!("RPUSH l {}", elements(0, 300)));
    bench.engine.drain().unwrap();
    bench.run(&format!("LPUSH l {}", elements(300, 400)));
    bench.run("LSET l 120 other");
    for (start, stop) in [(0, -1), (0, 99), (50, 305), (50, 306), (-10, -1), (150, 150), (7, 3)] {
        let line = format!("LRANGE l {start} {stop}");
        let snapshot = bench.engine.snapshot();
        let args: Vec<Bytes> =
            line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let looked_up = super::read::lrange(&bench.view_over(&snapshot), &args).unwrap();
        // A read of the engine itself knows of no look-up of many.
        let walked = super::read::lrange(&bench.view_over(&bench.engine), &args).unwrap();
        assert_eq!(looked_up, walked, "{line}");
    }
}

#[test]
fn a_long_key_is_not_copied_for_each_of_many_elements() {
    let mut bench = Bench::new();
    for (key, is_asked) in [("k".repeat(500), true), ("k".repeat(5000), false)] {
        let elements = vec!["e"; 100].join(" ");
        bench.run(&format!("RPUSH {key} {elements}"));
        let snapshot = bench.engine.snapshot();
        let view = bench.view_over(&snapshot);
        let list = view.collection(&Bytes::from(key), DataType::List).unwrap().unwrap();
        let positions = (list.meta.head..list.meta.tail).map(u64::to_be_bytes);
        let mut shown = 0;
        let has_all = view.subkeys_cached(&list, positions, &mut |_| shown += 1).unwrap();
        assert_eq!((has_all, shown), if is_asked { (true, 100) } else { (false, 0) });
    }
}
