//! Random commands from templates, from one seed.
//!
//! Keys and members come from small pools, so that commands meet data of every type; values come
//! from pools that hold the extremes (64-bit limits, empty and binary strings, floats that are hard
//! to print). One command in sixteen is broken on purpose: an argument lost, doubled, added or
//! replaced by nonsense, which is how arity and syntax errors are compared.

use super::commands::{SHAPES, Shape};
use super::template::{self, Kind, Node, TemplateError};

/// A command to send, with the shape that it came from.
pub struct Generated {
    /// The arguments, the command's name first.
    pub args: Vec<Vec<u8>>,
    /// How its replies compare.
    pub shape: &'static Shape,
    /// Something expires within a millisecond: wait before asking again.
    pub settle: bool,
}

/// An endless source of commands; the same seed gives the same commands.
pub struct Generator {
    random: fastrand::Rng,
    shapes: Vec<(&'static Shape, Vec<Node>)>,
    now_ms: u64,
    settle: bool,
}

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "10",
    "100",
    "-5",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "9223372036854775806",
    "-9223372036854775807",
    "4294967296",
];
const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "0.2",
    "-0.3",
    "1.5",
    "3.0",
    "3.14159265358979",
    "1e3",
    "1.5e-3",
    "1e17",
    "123456789.123",
    "5e-324",
    "1e308",
    "-1e308",
    "inf",
    "-inf",
    "+inf",
    "nan",
    "0x1p3",
    "10.",
    ".5",
    "-0",
    "0.30000000000000004",
];
const NONSENSE: &[&[u8]] = &[
    b"",
    b"-1",
    b"0",
    b"abc",
    b"1.5",
    b" 1",
    b"1 ",
    b"0x10",
    b"01",
    b"+1",
    b"inf",
    b"nan",
    b"1e400",
    b"(1",
    b"[a",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"\x00\xff",
    b"NX",
    b"XX",
    b"GT",
    b"LIMIT",
    b"COUNT",
    b"WITHSCORES",
    b"KEEPTTL",
    b"GET",
    b"EX",
    b"99999999999999999999999999",
];
const MEMBERS: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"aa",
    b"ab",
    b"b\x00",
    b"",
    b"\xff\xfe",
    b"1",
    b"2",
    b"-3",
    b"10",
    b"1.5",
    b"caf\xc3\xa9",
];
const PATTERNS: &[&str] = &[
    "*", "a*", "*b", "?", "[ab]*", "[^a]*", "k[0-4]", "k?", "\\*", "k[2-0]", "*\\", "[", "**",
    "a*b*c", "[a-", "LEX",
];
const SCORES: &[&str] = &[
    "0",
    "1",
    "1",
    "2",
    "3",
    "-1",
    "1.5",
    "-2.5",
    "3.3",
    "inf",
    "-inf",
    "+inf",
    "1e10",
    "100",
    "0.1",
    "-0",
    "1e-7",
    "17",
    "12345678901234567890",
    "nan",
    "abc",
];
const BOUNDS: &[&str] = &[
    "-inf", "+inf", "inf", "0", "1", "(1", "2", "(2", "-1", "(-1", "1.5", "3", "(inf", "(-inf",
    "100", "abc", "(", "nan",
];
const LEX: &[&[u8]] = &[
    b"-", b"+", b"[a", b"(a", b"[b", b"(c", b"[", b"(", b"[aa", b"[\xff", b"[1", b"a", b"", b"[caf",
];

impl Generator {
    /// A generator that starts at `seed`; `now_ms` is the Unix time that absolute expiry times are
    /// near to.
    pub fn new(seed: u64, now_ms: u64) -> Result<Generator, TemplateError> {
        let shapes = SHAPES
            .iter()
            .map(|shape| Ok((shape, template::parse(shape.template)?)))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Generator { random: fastrand::Rng::with_seed(seed), shapes, now_ms, settle: false })
    }

    /// The next command.
    pub fn next_command(&mut self) -> Generated {
        self.settle = false;
        let at = self.random.usize(..self.shapes.len());
        let Some((shape, nodes)) =
            self.shapes.get(at).map(|(shape, nodes)| (*shape, nodes.clone()))
        else {
            unreachable!("the index is drawn below the length")
        };
        let mut args = Vec::new();
        self.fill(&nodes, &mut args);
        // A broken one could give the members of this set different scores, and ranges of names
        // over such a set depend on the random heights of Redis's skip list.
        if self.random.u8(..16) == 0 && !shape.template.starts_with("ZADD LEX") {
            self.break_it(&mut args);
        }
        if self.random.u8(..8) == 0
            && let Some(name) = args.first_mut()
        {
            name.make_ascii_lowercase();
        }
        Generated { args, shape, settle: self.settle }
    }

    /// A number below `limit`, for the decisions of the driver.
    pub fn below(&mut self, limit: usize) -> usize {
        self.random.usize(..limit.max(1))
    }

    fn fill(&mut self, nodes: &[Node], args: &mut Vec<Vec<u8>>) {
        for node in nodes {
            match node {
                Node::Literal(word) => args.push(word.as_bytes().to_vec()),
                Node::Argument(kind) => {
                    let argument = self.argument(*kind);
                    args.push(argument);
                }
                Node::Optional(inner) => {
                    if self.random.bool() {
                        self.fill(inner, args);
                    }
                }
                Node::Choice(alternatives) => {
                    let at = self.random.usize(..alternatives.len());
                    if let Some(inner) = alternatives.get(at) {
                        self.fill(inner, args);
                    }
                }
                Node::Repeat(inner) => {
                    for _ in 0..self.random.usize(1..=3) {
                        self.fill(std::slice::from_ref(inner), args);
                    }
                }
            }
        }
    }

    /// Makes the command wrong in one of the ways that clients do; the name stays, so that the
    /// reply's rule does.
    fn break_it(&mut self, args: &mut Vec<Vec<u8>>) {
        let nonsense = self.pick(NONSENSE).to_vec();
        let at = 1 + self.below(args.len().saturating_sub(1));
        match self.random.u8(..4) {
            0 if at < args.len() => {
                args.remove(at);
            }
            1 => args.insert(at.min(args.len()), nonsense),
            2 => args.push(nonsense),
            _ => {
                if let Some(argument) = args.get_mut(at) {
                    *argument = nonsense;
                }
            }
        }
    }

    fn pick<T: ?Sized>(&mut self, pool: &[&'static T]) -> &'static T {
        let at = self.random.usize(..pool.len());
        let Some(item) = pool.get(at) else { unreachable!("the index is drawn below the length") };
        item
    }

    fn argument(&mut self, kind: Kind) -> Vec<u8> {
        match kind {
            Kind::Key => format!("k{}", self.random.u8(..10)).into_bytes(),
            Kind::Value => self.value(),
            Kind::Member => match self.random.u8(..12) {
                0 => self.value(),
                _ => self.pick(MEMBERS).to_vec(),
            },
            Kind::Int => match self.random.u8(..4) {
                0 => self.pick(INTEGERS).into(),
                _ => self.random.i64(-100..100).to_string().into_bytes(),
            },
            Kind::Float => self.float(),
            Kind::Count => match self.random.u8(..6) {
                0 => self.pick(&["0", "-1", "-5", "1000", "9223372036854775807", "x"]).into(),
                _ => self.random.u8(1..12).to_string().into_bytes(),
            },
            Kind::Index => match self.random.u8(..12) {
                0 => self.pick(INTEGERS).into(),
                1 => self.pick(&["8191", "8192", "-8193", "16384", "24576"]).into(),
                _ => self.random.i8(-6..8).to_string().into_bytes(),
            },
            Kind::Offset => match self.random.u8(..12) {
                0 => self.pick(&["-1", "536870912", "536870911x", "9223372036854775807"]).into(),
                // Where a string moves into chunks, and where chunks meet.
                1 => self.pick(&["8190", "16382", "16384", "24575", "40000"]).into(),
                _ => self.random.u8(..40).to_string().into_bytes(),
            },
            Kind::Seconds => self.lifetime(1000, "9223372036854776"),
            Kind::Millis => self.lifetime(1_000_000, "9223372036854775807"),
            Kind::At => self.moment(1000),
            Kind::AtMillis => self.moment(1),
            Kind::Score => self.pick(SCORES).into(),
            Kind::ScoreBound => self.pick(BOUNDS).into(),
            Kind::LexBound => self.pick(LEX).to_vec(),
            Kind::Pattern => self.pick(PATTERNS).into(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.u8(..40) {
            0 => vec![b'x'; self.random.usize(1_000..40_000)],
            1..=3 => (0..self.random.usize(..24)).map(|_| self.random.u8(..)).collect(),
            4..=9 => self.pick(INTEGERS).into(),
            10..=13 => self.pick(FLOATS).into(),
            14..=20 => self.random.i64(-1000..1000).to_string().into_bytes(),
            21 => Vec::new(),
            _ => format!("value-{}\r\n", self.random.u16(..1000)).into_bytes(),
        }
    }

    fn float(&mut self) -> Vec<u8> {
        match self.random.u8(..3) {
            0 => self.pick(FLOATS).into(),
            1 => format!("{}.{}", self.random.i32(-1000..1000), self.random.u32(..1_000_000))
                .into_bytes(),
            _ => format!("{}e{}", self.random.i16(..), self.random.i8(-12..12)).into_bytes(),
        }
    }

    /// A time to live: long (nothing expires while both servers are compared), gone at once, or out
    /// of range.
    fn lifetime(&mut self, long: u32, overflow: &'static str) -> Vec<u8> {
        match self.random.u8(..16) {
            0 => self.pick(&["0", "-1", "-100", "x"]).into(),
            1 => overflow.into(),
            2 if long > 1000 => {
                self.settle = true;
                b"1".to_vec()
            }
            _ => {
                (u64::from(long) * 10 + u64::from(self.random.u32(..long))).to_string().into_bytes()
            }
        }
    }

    /// A Unix time in units of `unit` milliseconds: mostly ahead, sometimes long past.
    fn moment(&mut self, unit: u64) -> Vec<u8> {
        match self.random.u8(..16) {
            0 => self.pick(&["0", "-1", "1", "100000", "x", "9223372036854775807"]).into(),
            _ => ((self.now_ms + 100_000_000 + u64::from(self.random.u32(..1_000_000)) * 1000)
                / unit)
                .to_string()
                .into(),
        }
    }
}
