//! Counting what a command gathers in memory before it answers or writes, so that it can stop in
//! time.

use neokv_resp::Reply;

use crate::error::CommandError;

/// Bytes that one value of a reply takes besides its text, about. Frozen: apply decides by it, so
/// replicas of two releases that disagree here would diverge.
const VALUE_OVERHEAD: u64 = 64;

/// Adds up the values of a reply, and refuses the one that makes them too many. From
/// [`View::reply_limit`](super::View::reply_limit).
#[derive(Clone, Copy, Debug)]
pub struct ReplyLimit {
    bytes: u64,
    max: u64,
}

impl ReplyLimit {
    /// Nothing is counted yet; `max` bytes are allowed.
    pub fn new(max: u64) -> ReplyLimit {
        ReplyLimit { bytes: 0, max }
    }

    /// Counts a value of `len` bytes.
    pub fn add(&mut self, len: usize) -> Result<(), CommandError> {
        self.add_bytes(value_bytes(len))
    }

    /// Counts a reply as [`reply_bytes`] measures it.
    pub fn add_bytes(&mut self, bytes: u64) -> Result<(), CommandError> {
        self.bytes += bytes;
        if self.is_exceeded() { Err(CommandError::LimitExceeded) } else { Ok(()) }
    }

    /// Whether the values are too many.
    pub fn is_exceeded(&self) -> bool {
        self.bytes > self.max
    }

    /// Takes back a value of `len` bytes that was counted.
    pub fn remove(&mut self, len: usize) {
        self.bytes -= value_bytes(len);
    }
}

/// Bytes of memory that a reply takes, about. Texts that may change from release to release do not
/// count.
pub fn reply_bytes(reply: &Reply) -> u64 {
    let values = |items: &[Reply]| items.iter().map(reply_bytes).sum::<u64>() + VALUE_OVERHEAD;
    let pairs = |pairs: &[(Reply, Reply)]| {
        let each = pairs.iter().map(|(left, right)| reply_bytes(left) + reply_bytes(right));
        each.sum::<u64>() + VALUE_OVERHEAD
    };
    match reply {
        Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => value_bytes(bytes.len()),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => values(items),
        Reply::Map(items) | Reply::Pairs(items) => pairs(items),
        Reply::Bulks(_, strings) => {
            strings.iter().map(|bytes| value_bytes(bytes.len())).sum::<u64>() + VALUE_OVERHEAD
        }
        Reply::Ok
        | Reply::Simple(_)
        | Reply::Error(_)
        | Reply::Integer(_)
        | Reply::Nil
        | Reply::NilArray
        | Reply::Double(_)
        | Reply::Boolean(_)
        | Reply::BigNumber(_) => VALUE_OVERHEAD,
    }
}

fn value_bytes(len: usize) -> u64 {
    // No memory holds 2^63 bytes, so neither this nor a sum of such overflows.
    VALUE_OVERHEAD + u64::try_from(len).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_that_is_too_much_is_refused() {
        let mut limit = ReplyLimit::new(2 * VALUE_OVERHEAD + 10);
        limit.add(4).unwrap();
        limit.add(6).unwrap();
        limit.remove(6);
        limit.add(6).unwrap();
        assert!(matches!(limit.add(0), Err(CommandError::LimitExceeded)));
    }

    #[test]
    fn a_reply_counts_by_its_values_and_not_by_its_wording() {
        let bulk = |text: &'static str| Reply::bulk(text);
        assert_eq!(
            reply_bytes(&Reply::error("ERR one")),
            reply_bytes(&Reply::error("ERR another"))
        );
        assert_eq!(reply_bytes(&bulk("12345")), VALUE_OVERHEAD + 5);
        assert_eq!(
            reply_bytes(&Reply::Array(vec![bulk("1"), Reply::Nil, Reply::Set(vec![bulk("22")])])),
            5 * VALUE_OVERHEAD + 3
        );
        assert_eq!(
            reply_bytes(&Reply::Pairs(vec![(bulk("m"), Reply::Double(1.0))])),
            3 * VALUE_OVERHEAD + 1
        );
    }
}
