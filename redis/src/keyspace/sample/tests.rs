//! How evenly elements are chosen, and that they are chosen at all.
//!
//! Every test has a fixed seed, so its outcome does not vary. Bounds on distributions are those
//! that a uniform choice exceeds once in more than a thousand seeds.

use std::collections::{BTreeMap, BTreeSet};

use neokv_encoding::metadata::DataType;

use super::*;
use crate::testing::Bench;

/// A bench with the set `s` of these members.
pub(super) fn filled(members: impl Iterator<Item = String>) -> Bench {
    let mut bench = Bench::new();
    let mut words: Vec<Bytes> = vec!["SADD".into(), "s".into()];
    words.extend(members.map(Bytes::from));
    bench.call(words);
    bench
}

/// The set `s`.
pub(super) fn set(bench: &Bench) -> Collection {
    bench.view().collection(&Bytes::from_static(b"s"), DataType::Set).unwrap().unwrap()
}

/// Members without any regularity, all of the same length.
fn scattered(count: u64) -> impl Iterator<Item = String> {
    let mut random = SplitMix64::new(77);
    (0..count).map(move |_| format!("{:016x}", random.next_u64()))
}

/// How often each of `drawn` occurs.
fn counts(drawn: impl IntoIterator<Item = Element>) -> BTreeMap<Bytes, u32> {
    let mut counts = BTreeMap::new();
    for (subkey, _) in drawn {
        *counts.entry(subkey).or_insert(0) += 1;
    }
    counts
}

/// Pearson's statistic of `counts` against `size` equally likely outcomes.
fn chi_square(counts: &BTreeMap<Bytes, u32>, size: u32) -> f64 {
    let expected = f64::from(counts.values().sum::<u32>()) / f64::from(size);
    let seen: f64 =
        counts.values().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    let unseen = f64::from(size) - counts.len() as f64;
    seen + unseen * expected
}

/// `count` elements, each by a call of [`one`].
fn draw(bench: &Bench, count: usize, random: &mut SplitMix64) -> Vec<Element> {
    let set = set(bench);
    (0..count).map(|_| one(&bench.view(), &set, random).unwrap().unwrap()).collect()
}

#[test]
fn small_collections_are_drawn_from_uniformly() {
    let bench = filled((0..20).map(|number| format!("m{number}")));
    let counts = counts(draw(&bench, 10_000, &mut SplitMix64::new(1)));
    assert_eq!(counts.len(), 20);
    let statistic = chi_square(&counts, 20);
    assert!(statistic < 43.8, "{statistic} with 19 degrees of freedom: {counts:?}");
}

#[test]
fn samples_are_uniform() {
    let bench = filled((0..20).map(|number| format!("m{number}")));
    let (view, set, mut random) = (bench.view(), set(&bench), SplitMix64::new(2));
    let different = (0..2000).flat_map(|_| distinct(&view, &set, 5, &mut random).unwrap());
    let different = counts(different);
    let repeated = counts(repeated(&view, &set, 10_000, &mut random).unwrap());
    for counts in [different, repeated] {
        assert_eq!(counts.len(), 20);
        let statistic = chi_square(&counts, 20);
        assert!(statistic < 43.8, "{statistic} with 19 degrees of freedom: {counts:?}");
    }
}

#[test]
fn walks_meet_every_member_of_a_regular_set_equally_often() {
    let bench = filled(scattered(1000));
    let counts = counts(draw(&bench, 10_000, &mut SplitMix64::new(3)));
    assert_eq!(counts.len(), 1000);
    let statistic = chi_square(&counts, 1000);
    assert!(statistic < 1143.0, "{statistic} with 999 degrees of freedom");
}

#[test]
fn walks_meet_numbers_of_all_lengths() {
    let bench = filled((1..=1500).map(|number| format!("user:{number}")));
    let counts = counts(draw(&bench, 15_000, &mut SplitMix64::new(4)));
    // The crowded branch "user:1" holds 611 + 500 members, which come out less often than the
    // others.
    assert!(counts.len() > 1350, "only {} of 1500 were met", counts.len());
    assert!(counts.values().all(|count| *count < 60), "{counts:?}");
    for rare in ["user:1", "user:7", "user:10", "user:1500"] {
        assert!(counts.get(rare.as_bytes()).is_none_or(|count| *count < 60), "{rare} is favoured");
    }
}

/// Of the numbers up to 20,000, more than half begin with 1, and each other digit has a nineteenth.
#[test]
fn walks_learn_which_branches_are_crowded() {
    let bench = filled((1..=20_000).map(|number| format!("user:{number}")));
    let (view, set, mut random) = (bench.view(), set(&bench), SplitMix64::new(11));
    let mut digits = [0u32; 10];
    for _ in 0..300 {
        for (member, _) in distinct(&view, &set, 100, &mut random).unwrap() {
            digits[usize::from(member[5] - b'0')] += 1;
        }
    }
    let share = |digit: usize| f64::from(digits[digit]) / 30_000.0;
    assert!((0.535..0.575).contains(&share(1)), "{digits:?}, 0.556 would be even");
    for digit in 3..10 {
        assert!((0.045..0.065).contains(&share(digit)), "{digits:?}, 0.056 would be even");
    }
}

/// A set of two kinds of members, of which the larger kind shares a long prefix.
#[test]
fn walks_find_what_is_crowded_a_few_levels_down() {
    let long = (0..19_000).map(|number| format!("zz:a-long-common-prefix:{number}"));
    let bench = filled(scattered(1000).chain(long));
    let (view, set, mut random) = (bench.view(), set(&bench), SplitMix64::new(12));
    let drawn = (0..50).flat_map(|_| distinct(&view, &set, 100, &mut random).unwrap());
    let crowded = drawn.filter(|(member, _)| member.starts_with(b"zz:")).count();
    assert!((4650..=4850).contains(&crowded), "{crowded} of 5000, 4750 would be even");
}

#[test]
fn walks_end_on_hostile_members() {
    let chain = filled((1..1500).map(|length| "a".repeat(length)));
    let drawn = counts(draw(&chain, 200, &mut SplitMix64::new(5)));
    assert!(
        drawn.keys().all(|member| member.iter().all(|byte| *byte == b'a') && member.len() < 1500)
    );
    let set = set(&chain);
    for count in 1..=11 {
        let chosen = distinct(&chain.view(), &set, count, &mut SplitMix64::new(count)).unwrap();
        assert_eq!(counts(chosen).len() as u64, count);
    }
}

#[test]
fn every_byte_can_be_a_branch() {
    let mut bench = Bench::new();
    let mut words: Vec<Bytes> = vec!["SADD".into(), "s".into(), "".into()];
    words.extend(
        (0..=255u8)
            .flat_map(|one| [0, 1, 127, 128, 254, 255].map(|two| Bytes::from(vec![one, two]))),
    );
    words.extend((0..=255u8).map(|one| Bytes::from(vec![one])));
    bench.call(words);
    let counts = counts(draw(&bench, 20_000, &mut SplitMix64::new(6)));
    let size = u32::try_from(set(&bench).size()).unwrap();
    assert_eq!(size, 256 * 7 + 1);
    assert!(counts.len() > 1785, "only {} of {size} were met", counts.len());
    let statistic = chi_square(&counts, size);
    assert!(statistic < 2.0 * f64::from(size), "{statistic} with {} degrees of freedom", size - 1);
}

#[test]
fn distinct_elements_are_distinct_and_all_if_asked() {
    for size in [1, 2, 511, 512, 513, 2000] {
        let members: BTreeSet<String> = scattered(size).collect();
        let bench = filled(members.iter().cloned());
        let (view, set) = (bench.view(), set(&bench));
        for count in [0, 1, 2, 3, 15, 16, 40, size / 2, size - 1, size, size + 1, u64::MAX] {
            let chosen = distinct(&view, &set, count, &mut SplitMix64::new(count)).unwrap();
            assert_eq!(chosen.len() as u64, count.min(size), "{count} of {size}");
            assert!(chosen.is_sorted_by(|left, right| left.0 < right.0), "{count} of {size}");
            assert!(
                chosen
                    .iter()
                    .all(|(member, _)| members.contains(std::str::from_utf8(member).unwrap()))
            );
        }
    }
}

#[test]
fn repeated_elements_come_in_the_order_of_the_draws() {
    for size in [3, 2000] {
        let bench = filled(scattered(size));
        let (view, set) = (bench.view(), set(&bench));
        for count in [0, 1, 10, 5000] {
            let drawn = repeated(&view, &set, count, &mut SplitMix64::new(8)).unwrap();
            assert_eq!(drawn.len() as u64, count);
            let ascending = drawn.windows(2).filter(|pair| pair[0].0 <= pair[1].0).count();
            assert!(
                count < 10 || ascending < drawn.len() * 3 / 4,
                "sorted: {ascending} of {count}"
            );
        }
    }
}

#[test]
fn repetition_is_bounded() {
    let bench = filled(["x".repeat(1 << 20)].into_iter());
    let (view, set) = (bench.view(), set(&bench));
    let draw =
        |count| repeated(&view, &set, count, &mut SplitMix64::new(9)).map(|drawn| drawn.len());
    assert_eq!(draw(512).unwrap(), 512);
    assert!(matches!(draw(513), Err(CommandError::OutOfRange)));
    assert!(matches!(draw(MAX_REPEATED + 1), Err(CommandError::OutOfRange)));
    assert!(matches!(draw(u64::MAX), Err(CommandError::OutOfRange)));
}

#[test]
fn an_empty_collection_yields_nothing() {
    let bench = filled(["a".to_string()].into_iter());
    let (view, set) = (bench.view(), set(&bench));
    let other = view.user_key(&Bytes::from_static(b"other"));
    // A header that promises rows which are not there is a fault of the store, and still no reason
    // to spin or panic.
    for size in [0, 1, 5000] {
        let mut empty = Collection::new(other.clone(), set.meta, Default::default(), false);
        empty.meta.size = size;
        let mut random = SplitMix64::new(10);
        assert_eq!(one(&view, &empty, &mut random).unwrap(), None);
        assert_eq!(distinct(&view, &empty, 3, &mut random).unwrap(), []);
        assert_eq!(repeated(&view, &empty, 3, &mut random).unwrap(), []);
        assert_eq!(distinct(&view, &empty, 5000, &mut random).unwrap(), []);
        assert_eq!(repeated(&view, &empty, 5000, &mut random).unwrap(), []);
    }
}

/// SPOP is replayed from the log: other choices for the same seed would make replicas differ.
#[test]
fn choices_for_a_seed_never_change() {
    let names = |elements: Vec<Element>| -> Vec<String> {
        elements
            .into_iter()
            .map(|(member, _)| String::from_utf8(member.to_vec()).unwrap())
            .collect()
    };
    let few = filled((0..100).map(|number| format!("m{number}")));
    let many = filled((0..1000).map(|number| format!("m{number}")));
    let mut random = SplitMix64::new(42);
    let choices = [
        names(draw(&few, 3, &mut random)),
        names(distinct(&few.view(), &set(&few), 3, &mut random).unwrap()),
        names(draw(&many, 3, &mut random)),
        names(distinct(&many.view(), &set(&many), 4, &mut random).unwrap()),
    ];
    assert_eq!(
        choices.map(|names| names.join(" ")),
        ["m76 m22 m33", "m55 m6 m79", "m78 m565 m289", "m230 m329 m372 m527"]
    );
}
