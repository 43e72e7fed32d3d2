//! What a client sends: an endless script, and what any prefix of it leaves in the keyspace.

/// The kinds of command in the script, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Adds to a counter of the client's own.
    Count,
    /// Adds to the client's field of a hash that all clients share.
    Share,
    /// Adds a record to a text, which grows until it stands in chunks; then to the next text.
    Append,
    /// Writes one of a few fields.
    Hash,
    /// Puts the step at the head of a list.
    Push,
    /// Takes one from its tail, once the list is [`WINDOW`] long.
    Pop,
    /// Scores one of a few members.
    Score,
    /// Three keys, always the same.
    Triple,
    /// The keys of one of many rows.
    Row,
    /// Moves a member from one set to the other and back.
    Move,
    /// One of many keys.
    Set,
}

/// All of them.
pub(super) const KINDS: [Kind; 11] = [
    Kind::Count,
    Kind::Share,
    Kind::Append,
    Kind::Hash,
    Kind::Push,
    Kind::Pop,
    Kind::Score,
    Kind::Triple,
    Kind::Row,
    Kind::Move,
    Kind::Set,
];

/// Bytes of one record of a text.
pub(super) const RECORD: usize = 32;
/// Records of one text: more than the 16 KiB from which on a string stands in chunks.
pub(super) const RECORDS: u64 = 1024;
/// Fields of the hash.
pub(super) const FIELDS: u64 = 128;
/// Elements of the list, once it has so many.
pub(super) const WINDOW: u64 = 64;
/// Members of the sorted set.
pub(super) const MEMBERS: u64 = 200;
/// Rows of keys that change together.
pub(super) const ROWS: u64 = 500;
/// Keys of a row.
pub(super) const WIDTH: u64 = 8;
/// Keys that change alone.
pub(super) const KEYS: u64 = 4_000;

/// The script of one client. Its keys are its own, but for the hash that all share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) client: u32,
}

impl Script {
    /// The name of a key of this client.
    pub(super) fn key(self, name: &str) -> String {
        format!("{name}:{}", self.client)
    }

    /// The key of the text to which this step adds its record.
    pub(super) fn text(self, step: u64) -> String {
        self.key(&format!("text-{}", step / RECORDS))
    }

    /// The keys of a row.
    pub(super) fn row(self, row: u64) -> Vec<String> {
        (0..WIDTH).map(|column| self.key(&format!("row-{row}-{column}"))).collect()
    }

    /// The key of this number among those that change alone.
    pub(super) fn single(self, number: u64) -> String {
        self.key(&format!("key-{number}"))
    }

    /// The two sets between which a member moves: where it is before this step, and after it.
    pub(super) fn sets(self, step: u64) -> [String; 2] {
        let names = [self.key("left"), self.key("right")];
        let [left, right] = names;
        if step.is_multiple_of(2) { [right, left] } else { [left, right] }
    }

    /// The command at place `number` of the script.
    pub(super) fn command(self, number: u64) -> Vec<String> {
        let (kind, step) = place(number);
        let text = step.to_string();
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        match kind {
            Kind::Count => words(&["INCR", &self.key("counter")]),
            Kind::Share => words(&["HINCRBY", "shared", &self.client.to_string(), "1"]),
            Kind::Append => words(&["APPEND", &self.text(step), &record(step)]),
            Kind::Hash => words(&["HSET", &self.key("hash"), &(step % FIELDS).to_string(), &text]),
            Kind::Push => words(&["LPUSH", &self.key("list"), &text]),
            // A read has its place among the writes, and no effect.
            Kind::Pop if step < WINDOW => words(&["LLEN", &self.key("list")]),
            Kind::Pop => words(&["RPOP", &self.key("list")]),
            Kind::Score => {
                words(&["ZADD", &self.key("zset"), &text, &(step % MEMBERS).to_string()])
            }
            Kind::Triple => self.mset(["a", "b", "c"].map(|name| self.key(name)), &text),
            Kind::Row => self.mset(self.row(step % ROWS), &text),
            Kind::Move if step == 0 => words(&["SADD", &self.key("left"), "member"]),
            Kind::Move => {
                let [from, to] = self.sets(step);
                words(&["SMOVE", &from, &to, "member"])
            }
            Kind::Set => words(&["SET", &self.single(step % KEYS), &text]),
        }
    }

    fn mset(self, keys: impl IntoIterator<Item = String>, value: &str) -> Vec<String> {
        let pairs = keys.into_iter().flat_map(|key| [key, value.to_owned()]);
        std::iter::once("MSET".to_owned()).chain(pairs).collect()
    }
}

/// The record that a step adds to its text.
pub(super) fn record(step: u64) -> String {
    format!("{step:0>RECORD$}")
}

/// The kind and the step of the command at a place of the script.
fn place(number: u64) -> (Kind, u64) {
    let kinds = KINDS.len() as u64;
    let kind = KINDS.iter().zip(0..).find(|(_, at)| *at == number % kinds);
    (kind.map_or(Kind::Count, |(kind, _)| *kind), number / kinds)
}

/// How many commands of a kind a prefix of this length has.
pub(super) fn commands_of(kind: Kind, prefix: u64) -> u64 {
    let kinds = KINDS.len() as u64;
    let at = KINDS.iter().zip(0..).find(|(other, _)| **other == kind).map_or(0, |(_, at)| at);
    (prefix + kinds - 1 - at) / kinds
}

/// What of a kind can be seen after a prefix of this length: how many of its commands have had an
/// effect, or in which set the member is (0 in none, 1 in the left one, 2 in the right one).
pub(super) fn seen_of(kind: Kind, prefix: u64) -> u64 {
    let commands = commands_of(kind, prefix);
    match kind {
        Kind::Pop => commands.saturating_sub(WINDOW),
        Kind::Move => commands.min(2 - commands % 2),
        _ => commands,
    }
}

/// The last of `steps` steps that writes to this of `places` places; each step writes to the next
/// one, and to the first again after the last.
pub(super) fn last_write(steps: u64, places: u64, place: u64) -> Option<u64> {
    let rounds = steps.checked_sub(place + 1)? / places;
    Some(rounds * places + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_repeats_with_the_next_step() {
        let script = Script { client: 2 };
        let line = |number| script.command(number).join(" ");
        assert_eq!(line(0), "INCR counter:2");
        assert_eq!(line(1), "HINCRBY shared 2 1");
        assert_eq!(line(11 * 129 + 3), "HSET hash:2 1 129");
        assert_eq!(line(11 * 63 + 5), "LLEN list:2");
        assert_eq!(line(11 * 64 + 5), "RPOP list:2");
        assert_eq!(line(7), "MSET a:2 0 b:2 0 c:2 0");
        assert_eq!([line(9), line(20)], ["SADD left:2 member", "SMOVE left:2 right:2 member"]);
        assert_eq!(line(31), "SMOVE right:2 left:2 member");
        assert_eq!(script.command(11 * 1024 + 2)[1], "text-1:2");
        assert_eq!(script.command(11 * 1024 + 2)[2].len(), RECORD);
    }

    /// The formulas agree with counting.
    #[test]
    fn a_prefix_has_the_effects_of_its_commands() {
        for prefix in [0, 1, 5, 6, 11, 703, 704, 709, 710, 12_345] {
            for kind in KINDS {
                let commands = (0..prefix).filter(|number| place(*number).0 == kind);
                assert_eq!(commands.count() as u64, commands_of(kind, prefix), "{kind:?}");
            }
            let pops = (0..prefix).filter(|number| {
                Script { client: 0 }.command(*number).first().is_some_and(|name| name == "RPOP")
            });
            assert_eq!(pops.count() as u64, seen_of(Kind::Pop, prefix));
        }
        // Not there; put into the left set; moved to the right one, to the left one, and so on.
        let moved = [9, 10, 21, 32, 43].map(|prefix| seen_of(Kind::Move, prefix));
        assert_eq!(moved, [0, 1, 2, 1, 2]);
        for (steps, places) in [(0, 3), (1, 3), (2, 3), (3, 3), (4, 3), (11, 3), (12, 3)] {
            for place in 0..places {
                let counted = (0..steps).rfind(|step| step % places == place);
                assert_eq!(last_write(steps, places, place), counted, "{place} of {steps}");
            }
        }
    }
}
