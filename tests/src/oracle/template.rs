//! A small language for command shapes.
//!
//! One line describes every form that a command may take, so that the generator and its reader see
//! the same grammar:
//!
//! ```text
//! SET key value [ ( NX | XX ) ] [ GET ] [ ( EX seconds | PX millis | KEEPTTL ) ]
//! ZADD key [ ( NX | XX ) ] [ CH ] ( score member )...
//! ```
//!
//! Upper-case words stand for themselves, lower-case words name a kind of random argument
//! ([`Kind`]), `[ x ]` is there half of the time, `( a | b )` picks one, and `x...` repeats what
//! stands before it one to three times.

use std::fmt;

/// What a lower-case word of a template is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key of the small shared pool, so that commands meet each other's data and types.
    Key,
    /// Any value: text, number, binary, empty, now and then large.
    Value,
    /// A hash field, set member or list element of a small pool.
    Member,
    /// A decimal integer, also at the edges of 64 bits.
    Int,
    /// A decimal fraction.
    Float,
    /// A small non-negative count, now and then negative or zero.
    Count,
    /// An index into a sequence, negative from the end.
    Index,
    /// A byte offset into a string.
    Offset,
    /// Seconds to live, far enough away that nothing expires during a run, or at once.
    Seconds,
    /// Milliseconds to live, like [`Kind::Seconds`].
    Millis,
    /// A Unix time in seconds.
    At,
    /// A Unix time in milliseconds.
    AtMillis,
    /// A sorted-set score.
    Score,
    /// The end of a score range, possibly exclusive or infinite.
    ScoreBound,
    /// The end of a lexicographic range.
    LexBound,
    /// A glob pattern.
    Pattern,
}

impl Kind {
    fn parse(word: &str) -> Option<Kind> {
        Some(match word {
            "key" => Kind::Key,
            "value" => Kind::Value,
            "member" => Kind::Member,
            "int" => Kind::Int,
            "float" => Kind::Float,
            "count" => Kind::Count,
            "index" => Kind::Index,
            "offset" => Kind::Offset,
            "seconds" => Kind::Seconds,
            "millis" => Kind::Millis,
            "at" => Kind::At,
            "atmillis" => Kind::AtMillis,
            "score" => Kind::Score,
            "bound" => Kind::ScoreBound,
            "lex" => Kind::LexBound,
            "pattern" => Kind::Pattern,
            _ => return None,
        })
    }
}

/// One element of a parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A word that stands for itself.
    Literal(&'static str),
    /// A random argument.
    Argument(Kind),
    /// `[ ... ]`
    Optional(Vec<Node>),
    /// `( a | b )`, also a plain group.
    Choice(Vec<Vec<Node>>),
    /// `x...`
    Repeat(Box<Node>),
}

/// Why a template cannot be parsed; templates are part of this crate, so this is a mistake in a
/// table.
#[derive(Debug)]
pub struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateError {}

/// Parses one template line.
pub fn parse(line: &'static str) -> Result<Vec<Node>, TemplateError> {
    let mut words = line.split_whitespace();
    let mut alternatives = parse_until(&mut words, None, line)?;
    match (alternatives.pop(), alternatives.is_empty()) {
        (Some(nodes), true) => Ok(nodes),
        _ => Err(TemplateError(format!("`|` outside of a group in `{line}`"))),
    }
}

type Words = std::str::SplitWhitespace<'static>;

/// Parses alternatives up to the word `close`, or to the end of the line.
fn parse_until(
    words: &mut Words,
    close: Option<&str>,
    line: &str,
) -> Result<Vec<Vec<Node>>, TemplateError> {
    let mut alternatives = vec![Vec::new()];
    loop {
        let Some(word) = words.next() else {
            return match close {
                None => Ok(alternatives),
                Some(close) => Err(TemplateError(format!("no `{close}` in `{line}`"))),
            };
        };
        let (bare, repeated) = match word.strip_suffix("...") {
            Some(bare) => (bare, true),
            None => (word, false),
        };
        if Some(bare) == close {
            // `)...` repeats the whole group, which the caller has to know: it is wrapped here.
            return Ok(if repeated {
                vec![vec![Node::Repeat(Box::new(Node::Choice(alternatives)))]]
            } else {
                alternatives
            });
        }
        let node = match bare {
            "|" => {
                alternatives.push(Vec::new());
                continue;
            }
            "[" => {
                Node::Optional(parse_until(words, Some("]"), line)?.into_iter().flatten().collect())
            }
            "(" => Node::Choice(parse_until(words, Some(")"), line)?),
            word => match Kind::parse(word) {
                Some(kind) => Node::Argument(kind),
                None if word.chars().any(|c| c.is_ascii_lowercase()) => {
                    return Err(TemplateError(format!("unknown word `{word}` in `{line}`")));
                }
                None => Node::Literal(word),
            },
        };
        let node = if repeated { Node::Repeat(Box::new(node)) } else { node };
        if let Some(last) = alternatives.last_mut() {
            last.push(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_tree() {
        let nodes = parse("ZADD key [ NX ] ( score member )... ( A | B key... )").unwrap();
        assert_eq!(nodes.len(), 5);
        assert_eq!(nodes[2], Node::Optional(vec![Node::Literal("NX")]));
        assert_eq!(
            nodes[3],
            Node::Choice(vec![vec![Node::Repeat(Box::new(Node::Choice(vec![vec![
                Node::Argument(Kind::Score),
                Node::Argument(Kind::Member)
            ]])))]])
        );
        assert_eq!(
            nodes[4],
            Node::Choice(vec![
                vec![Node::Literal("A")],
                vec![Node::Literal("B"), Node::Repeat(Box::new(Node::Argument(Kind::Key)))]
            ])
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parse("SET key nonsense").unwrap_err().to_string().contains("nonsense"));
        assert!(parse("SET [ key").unwrap_err().to_string().contains("no `]`"));
        assert!(parse("A | B").unwrap_err().to_string().contains("outside"));
    }
}
