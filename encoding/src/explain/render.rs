//! Prints an explanation: annotated hex, then a table. The command line, tests and documents share
//! it.
//!
//! Every field has a letter, under its bytes and in the table, so that the text reads without
//! colour and can be pasted anywhere; [`painted`] adds colour per field and [`fitted`] keeps to the
//! width of a screen. Groups are rows without a letter, their fields indented below. Long fields
//! show their first bytes and how many were left out.

use std::fmt::Write as _;

use super::{
    Explained, Span,
    columns::{break_lines, pad, width},
};

/// Cells (bytes and gaps) in a line of hex.
const LINE_BYTES: usize = 24;
/// Bytes that a field shows before the rest is left out.
const LONGEST: usize = 48;
/// Widest column. A longer text moves the rest of its row to the right.
const WIDEST: usize = 50;
/// Fewest columns that [`fitted`] keeps to: with fewer, every word would have its own line.
const NARROWEST: usize = 60;
/// Columns before the hex of a line: the offset.
const MARGIN: usize = 3;

/// An explanation as plain text. `bytes` are the ones that were explained.
pub fn text(explained: &Explained, bytes: &[u8]) -> String {
    painted(explained, bytes, |_, text| text.to_string())
}

/// As [`text`], but every piece of text that belongs to a field goes through `paint` with the
/// field's number, in order from 0. `paint` must not change the width on the screen.
pub fn painted(
    explained: &Explained,
    bytes: &[u8],
    paint: impl Fn(usize, &str) -> String,
) -> String {
    fitted(explained, bytes, usize::MAX, paint)
}

/// As [`painted`], within so many columns: hex continues in the next line, texts are wrapped inside
/// their column. A field's name or range that leaves no room is the only thing that may be wider.
/// Fewer than 60 columns count as 60.
pub fn fitted(
    explained: &Explained,
    bytes: &[u8],
    columns: usize,
    paint: impl Fn(usize, &str) -> String,
) -> String {
    let columns = columns.max(NARROWEST);
    let mut out = format!("{}, {} bytes\n\n", explained.what, bytes.len());
    for line in lines(explained, bytes, columns) {
        line.print(&mut out, &paint);
    }
    if !bytes.is_empty() {
        out.push('\n');
    }
    table(explained, columns, &mut out, &paint);
    out
}

/// The letter of the field with this number: A to Z, then AA and so on.
pub fn letter(number: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = number + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(b'A' + u8::try_from(rest % 26).unwrap_or(0));
        rest /= 26;
    }
    letters.iter().rev().map(|letter| char::from(*letter)).collect()
}

/// Some bytes of one field in one line.
struct Piece {
    field: usize,
    hex: String,
    /// The letter stands under the first piece of a field only.
    first: bool,
}

struct Line {
    offset: usize,
    pieces: Vec<Piece>,
}

/// Cuts the leaves into pieces that fill lines.
fn lines(explained: &Explained, bytes: &[u8], columns: usize) -> Vec<Line> {
    // A piece of n bytes takes a gap of two columns and 3n - 1 for its bytes.
    let fits = |columns: usize| columns.saturating_sub(1) / 3;
    let (mut lines, mut room, mut left): (Vec<Line>, usize, usize) = (Vec::new(), 0, 0);
    for (field, leaf) in explained.leaves().enumerate() {
        let content = bytes.get(leaf.range.clone()).unwrap_or_default();
        let shown = content.get(..LONGEST).unwrap_or(content);
        let cut = match content.len() - shown.len() {
            0 => String::new(),
            more => format!(" … {more} more"),
        };
        let usable = (columns - MARGIN).saturating_sub(width(&cut));
        let mut rest = shown;
        while !rest.is_empty() {
            let here = room.min(fits(left.saturating_sub(width(&cut))));
            // A field that fits a line is not cut: it starts a new one.
            if here == 0 || (here < rest.len() && rest.len() <= LINE_BYTES.min(fits(usable))) {
                lines.push(Line {
                    offset: leaf.range.start + shown.len() - rest.len(),
                    pieces: Vec::new(),
                });
                (room, left) = (LINE_BYTES, columns - MARGIN);
            }
            let here = room.min(fits(left.saturating_sub(width(&cut))));
            let (head, tail) = rest.split_at(rest.len().min(here));
            let mut hex =
                head.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            if tail.is_empty() {
                hex.push_str(&cut);
            }
            room -= head.len();
            left = left.saturating_sub(2 + width(&hex));
            if let Some(line) = lines.last_mut() {
                line.pieces.push(Piece { field, hex, first: rest.len() == shown.len() });
            }
            rest = tail;
        }
    }
    lines
}

impl Line {
    /// Three rows: the hex, the brackets, the letters.
    fn print(&self, out: &mut String, paint: &impl Fn(usize, &str) -> String) {
        let rows: [fn(&Piece) -> String; 3] =
            [|piece| piece.hex.clone(), Piece::bracket, Piece::caption];
        for (number, row) in rows.into_iter().enumerate() {
            let margin =
                if number == 0 { format!("{:>MARGIN$}", self.offset) } else { " ".repeat(MARGIN) };
            let mut line = margin;
            let mut padding = 0;
            for piece in &self.pieces {
                let cell = row(piece);
                let blank = cell.trim_end().len() < cell.len();
                let _ = write!(line, "  {:padding$}{}", "", paint(piece.field, cell.trim_end()));
                padding = if blank { piece.width() - width(cell.trim_end()) } else { 0 };
            }
            let line = line.trim_end();
            // A line that only continues a field has no letters.
            if !line.is_empty() {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
}

impl Piece {
    fn width(&self) -> usize {
        width(&self.hex)
    }

    fn middle(&self) -> usize {
        // Under a byte, not between two: bytes are three columns apart.
        let bytes = (self.width() + 1) / 3;
        if bytes <= 2 { usize::from(bytes == 2) } else { (self.width() - 1) / 2 }
    }

    fn bracket(&self) -> String {
        let (width, middle) = (self.width(), self.middle());
        if width <= 2 {
            return format!("{:<width$}", "│");
        }
        let mark = |at| match at {
            0 => '└',
            at if at == width - 1 => '┘',
            at if at == middle && self.first => '┬',
            _ => '─',
        };
        (0..width).map(mark).collect()
    }

    fn caption(&self) -> String {
        let (width, middle) = (self.width(), self.middle());
        let letter = if self.first { letter(self.field) } else { String::new() };
        format!("{:<width$}", format!("{:middle$}{letter}", ""))
    }
}

/// Widths of the table's columns.
struct Widths {
    letters: usize,
    ranges: usize,
    names: usize,
    values: usize,
    whys: usize,
    /// Whether texts must keep to their width.
    wrapped: bool,
}

impl Widths {
    fn of(rows: &[(usize, &Span)], letters: usize, columns: usize) -> Widths {
        let widest =
            |text: &dyn Fn(&(usize, &Span)) -> usize| rows.iter().map(text).max().unwrap_or(0);
        let ranges = widest(&|(_, span)| range(span).len()).min(WIDEST);
        let names = widest(&|(depth, span)| 2 * depth + width(span.field)).min(WIDEST);
        let (values, whys) =
            (widest(&|(_, span)| width(&span.value)), widest(&|(_, span)| width(span.why)));
        let mut widths =
            Widths { letters, ranges, names, values: values.min(WIDEST), whys, wrapped: false };
        let room = columns.saturating_sub(widths.indent() + 2);
        if values.saturating_add(whys) > room {
            // The reasons need half of the room, but not more than they are long.
            let whys = whys.min((room / 2).max(24));
            widths.values = widths.values.min(room.saturating_sub(whys).max(12));
            widths.whys = room.saturating_sub(widths.values).max(16);
            widths.wrapped = true;
        }
        widths
    }

    /// Columns before the value.
    fn indent(&self) -> usize {
        1 + self.letters + 2 + self.ranges + 2 + self.names + 2
    }
}

/// One row per span, groups included; problems on a row of their own.
fn table(
    explained: &Explained,
    columns: usize,
    out: &mut String,
    paint: &impl Fn(usize, &str) -> String,
) {
    let rows: Vec<(usize, &Span)> =
        explained.root.walk().skip(1).map(|(depth, span)| (depth - 1, span)).collect();
    let letters = letter(explained.leaves().count().saturating_sub(1)).len();
    let widths = Widths::of(&rows, letters, columns);
    if let Some(problem) = &explained.root.problem {
        warn(problem, 1, columns, out);
    }
    let mut field = 0;
    for (depth, span) in rows {
        let leaf = span.children.is_empty();
        let mark = if leaf { letter(field) } else { String::new() };
        let name = format!("{:indent$}{}", "", span.field, indent = 2 * depth);
        let Widths { letters, ranges, names, values, .. } = widths;
        let mut head = format!(" {mark:<letters$}  {:<ranges$}  {name:<names$}  ", range(span));
        let (says, whys) =
            (wrap(&span.value, values, &widths), wrap(span.why, widths.whys, &widths));
        for line in 0..says.len().max(whys.len()) {
            let text = |texts: &[String]| texts.get(line).cloned().unwrap_or_default();
            head.push_str(&pad(&text(&says), values));
            let why = text(&whys);
            if why.is_empty() {
                // Paint ends in a code that is no blank, so blanks before it would stay.
                head.truncate(head.trim_end().len());
            }
            let painted = if leaf { paint(field, &head) } else { head };
            let _ = writeln!(out, "{}", format!("{painted}  {why}").trim_end());
            head = " ".repeat(widths.indent());
        }
        if let Some(problem) = &span.problem {
            warn(problem, 1 + letters + 2 + ranges + 2, columns, out);
        }
        field += usize::from(leaf);
    }
}

/// A problem, marked, on lines of its own.
fn warn(problem: &str, indent: usize, columns: usize, out: &mut String) {
    for (number, line) in
        break_lines(problem, columns.saturating_sub(indent + 2)).iter().enumerate()
    {
        let mark = if number == 0 { "⚠ " } else { "  " };
        let _ = writeln!(out, "{:indent$}{mark}{line}", "");
    }
}

fn wrap(text: &str, columns: usize, widths: &Widths) -> Vec<String> {
    if widths.wrapped { break_lines(text, columns) } else { vec![text.to_string()] }
}

fn range(span: &Span) -> String {
    format!("{}..{}", span.range.start, span.range.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{explain, family::Family, key::UserKey};

    #[test]
    fn a_narrow_screen_is_never_overrun() {
        let user = UserKey::new(7, bytes::Bytes::from(vec![b'\x01'; 300]));
        for key in
            [user.subkey(7 << 16, b"field"), user.score(9, 1.5, b"m"), vec![0xff; 90], vec![]]
        {
            for family in Family::ALL {
                let explained = explain::key(family, &key);
                for columns in [60, 80, 81, 82, 83, 100, 120] {
                    let out = fitted(&explained, &key, columns, |_, text| text.to_string());
                    let widest = out.lines().map(width).max().unwrap();
                    assert!(widest <= columns, "{widest} columns of {columns}:\n{out}");
                }
            }
        }
    }
}
