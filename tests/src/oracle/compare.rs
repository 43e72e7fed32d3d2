//! When two replies to the same command count as the same.
//!
//! Most replies must be equal byte for byte. Where Redis itself promises no order (`SMEMBERS`), the
//! parts must be equal. Where a reply depends on the clock (`TTL`), the two may differ a little.

use neokv_resp::client::Value;

/// How the replies to a command are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// To the byte.
    Exact,
    /// The same elements in any order.
    Unordered,
    /// The same pairs in any order; RESP2 sends them as one flat array.
    UnorderedPairs,
    /// Numbers that may lie [`CLOCK_SLACK`] apart: two servers do not take a relative expiry at the
    /// same instant.
    Clock,
    /// A cursor command: followed to its end on both servers, then the collected elements are
    /// compared.
    Scan,
    /// A random choice: the shapes are compared, and what was chosen must exist.
    Random,
    /// A random choice that removes: what one server chose is removed from the other.
    RandomPop,
}

/// How far apart two remaining times may lie, in the unit of the command (milliseconds at the
/// least).
pub const CLOCK_SLACK: u64 = 5_000;

/// Whether `ours` is a right reply where Redis has replied `theirs`.
pub fn same(rule: Rule, ours: &Value, theirs: &Value) -> bool {
    match rule {
        Rule::Exact => ours == theirs,
        Rule::Unordered => sorted(ours) == sorted(theirs),
        Rule::UnorderedPairs => sorted_pairs(ours) == sorted_pairs(theirs),
        Rule::Clock => match (ours, theirs) {
            (Value::Integer(ours), Value::Integer(theirs)) if *ours > 0 && *theirs > 0 => {
                ours.abs_diff(*theirs) <= CLOCK_SLACK
            }
            _ => ours == theirs,
        },
        Rule::Scan | Rule::Random | Rule::RandomPop => same_shape(ours, theirs),
    }
}

/// Whether a reply differs from another only by the sign of zeros. Redis forgets that sign in a
/// compact sorted set and keeps it in one with a long member; here a score is one number, and its
/// zero has no sign.
pub fn same_but_for_signs_of_zero(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) => {
            let same = |(ours, theirs)| same_but_for_signs_of_zero(ours, theirs);
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(same)
        }
        (Value::Bulk(ours), Value::Bulk(theirs)) => {
            ours == theirs || (ours == "0" && theirs == "-0")
        }
        (Value::Double(ours), Value::Double(theirs)) => {
            ours == theirs || (ours == "0" && theirs == "-0")
        }
        _ => ours == theirs,
    }
}

/// The same kind of reply with the same number of elements.
pub fn same_shape(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) | (Value::Set(ours), Value::Set(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same_shape(ours, theirs))
        }
        (Value::Bulk(_), Value::Bulk(_)) => true,
        _ => ours == theirs,
    }
}

/// A reply with the elements of its outermost array or set in a fixed order.
pub fn sorted(reply: &Value) -> Value {
    let in_order = |values: &[Value]| {
        let mut values = values.to_vec();
        values.sort_by_cached_key(|value| format!("{value:?}"));
        values
    };
    match reply {
        Value::Array(values) => Value::Array(in_order(values)),
        Value::Set(values) => Value::Set(in_order(values)),
        other => other.clone(),
    }
}

/// A reply of pairs (flat array or map) with the pairs in a fixed order.
pub fn sorted_pairs(reply: &Value) -> Value {
    let mut pairs: Vec<(Value, Value)> = match reply {
        Value::Map(pairs) => pairs.clone(),
        Value::Array(flat) => flat
            .chunks(2)
            .filter_map(|pair| match pair {
                [key, value] => Some((key.clone(), value.clone())),
                _ => None,
            })
            .collect(),
        other => return other.clone(),
    };
    pairs.sort_by_cached_key(|pair| format!("{pair:?}"));
    match reply {
        // An odd element would be lost above and has to show.
        Value::Array(flat) if flat.len() % 2 == 1 => reply.clone(),
        Value::Array(_) => {
            Value::Array(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect())
        }
        _ => Value::Map(pairs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &'static str) -> Value {
        Value::Bulk(text.into())
    }

    #[test]
    fn order_counts_only_where_it_should() {
        let (ab, ba) =
            (Value::Array(vec![bulk("a"), bulk("b")]), Value::Array(vec![bulk("b"), bulk("a")]));
        assert!(!same(Rule::Exact, &ab, &ba));
        assert!(same(Rule::Unordered, &ab, &ba));
        assert!(!same(Rule::UnorderedPairs, &ab, &ba));
        assert!(!same(Rule::Unordered, &ab, &Value::Set(vec![bulk("a"), bulk("b")])));
    }

    #[test]
    fn clocks_may_differ_but_not_in_kind() {
        assert!(same(Rule::Clock, &Value::Integer(1000), &Value::Integer(1001)));
        assert!(!same(Rule::Clock, &Value::Integer(1000), &Value::Integer(90_000)));
        assert!(!same(Rule::Clock, &Value::Integer(-1), &Value::Integer(1)));
    }
}
