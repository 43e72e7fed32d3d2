//! Counting what a command gathers in memory before it answers or writes, so that it can stop in
//! time.

use neokv_resp::Reply;

use crate::command::CommandError;

/// Bytes that one value of a reply takes besides its text, about. Frozen: apply decides by it, so
/// that two releases that disagree here would part replicas.
const ITEM: u64 = 64;

/// Adds up values, and refuses the one that makes them too many. From
/// [`View::tally`](super::View::tally).
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    bytes: u64,
    most: u64,
}

impl Tally {
    /// Nothing yet; `most` bytes may come.
    pub fn new(most: u64) -> Tally {
        Tally { bytes: 0, most }
    }

    /// Counts a value of `len` bytes.
    pub fn add(&mut self, len: usize) -> Result<(), CommandError> {
        self.bytes = self.bytes.saturating_add(item(len));
        if self.is_over() { Err(CommandError::TooMuch) } else { Ok(()) }
    }

    /// Whether there were too many.
    pub fn is_over(&self) -> bool {
        self.bytes > self.most
    }

    /// Gives a value of `len` bytes, which was counted, up again.
    pub fn remove(&mut self, len: usize) {
        self.bytes = self.bytes.saturating_sub(item(len));
    }
}

/// Bytes of memory that a reply takes, about. Texts that may change from release to release do not
/// count.
pub fn weight(reply: &Reply) -> u64 {
    let sum = |items: &[Reply]| items.iter().map(weight).fold(ITEM, u64::saturating_add);
    let pairs = |pairs: &[(Reply, Reply)]| {
        pairs
            .iter()
            .map(|(left, right)| weight(left).saturating_add(weight(right)))
            .fold(ITEM, u64::saturating_add)
    };
    match reply {
        Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => item(bytes.len()),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => sum(items),
        Reply::Map(items) | Reply::Pairs(items) => pairs(items),
        Reply::Bulks(_, strings) => {
            strings.iter().map(|bytes| item(bytes.len())).fold(ITEM, u64::saturating_add)
        }
        Reply::Ok
        | Reply::Simple(_)
        | Reply::Error(_)
        | Reply::Integer(_)
        | Reply::Nil
        | Reply::NilArray
        | Reply::Double(_)
        | Reply::Boolean(_)
        | Reply::BigNumber(_) => ITEM,
    }
}

fn item(len: usize) -> u64 {
    ITEM.saturating_add(u64::try_from(len).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_refuses_the_value_that_is_too_much() {
        let mut tally = Tally::new(2 * ITEM + 10);
        tally.add(4).unwrap();
        tally.add(6).unwrap();
        tally.remove(6);
        tally.add(6).unwrap();
        assert!(matches!(tally.add(0), Err(CommandError::TooMuch)));
    }

    #[test]
    fn a_reply_weighs_its_values_and_not_its_wording() {
        let bulk = |text: &'static str| Reply::bulk(text);
        assert_eq!(weight(&Reply::error("ERR one")), weight(&Reply::error("ERR another")));
        assert_eq!(weight(&bulk("12345")), ITEM + 5);
        assert_eq!(
            weight(&Reply::Array(vec![bulk("1"), Reply::Nil, Reply::Set(vec![bulk("22")])])),
            5 * ITEM + 3
        );
        assert_eq!(weight(&Reply::Pairs(vec![(bulk("m"), Reply::Double(1.0))])), 3 * ITEM + 1);
    }
}
