//! Pages for people: headings, facts, tables and annotated bytes, within the columns of the
//! terminal.
//!
//! On a narrow terminal only the last column of a table becomes narrower: it is cut with `…` (a
//! command) or wrapped (a sentence). Without a terminal nothing is cut and nothing is wrapped, so
//! that `grep` sees whole lines.

use neokv_encoding::explain::{
    Explained,
    columns::{break_lines, cut, pad, pad_left, width},
    render,
};

use super::paint::Paint;

/// Fewest columns that a page keeps to.
const NARROWEST: usize = 60;
/// Columns between two columns of a table.
const GAP: &str = "  ";

/// A page that is being written.
pub struct Page {
    out: String,
    columns: usize,
    paint: Paint,
}

/// What happens to a last column that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It ends in `…`.
    Cut,
    /// It goes on in the next line.
    Wrap,
}

/// Rows of cells below titles. A row with a [`Row::divider`] stands alone.
pub struct Table {
    /// Title of each column; a title with a leading `>` aligns its column to the right.
    pub titles: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Row>,
    /// What the last column does.
    pub overflow: Overflow,
}

/// One row.
pub struct Row {
    cells: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Divider,
    Problem,
}

impl Row {
    /// A row of cells.
    #[must_use]
    pub fn new(cells: Vec<String>) -> Row {
        Row { cells, kind: Kind::Plain }
    }

    /// A line across, for what the rows below share.
    #[must_use]
    pub fn divider(text: impl Into<String>) -> Row {
        Row { cells: vec![text.into()], kind: Kind::Divider }
    }

    /// Something that is wrong here.
    #[must_use]
    pub fn problem(text: impl Into<String>) -> Row {
        Row { cells: vec![text.into()], kind: Kind::Problem }
    }
}

impl Page {
    /// An empty page. `columns` is `usize::MAX` where there is no terminal.
    #[must_use]
    pub fn new(columns: usize, paint: Paint) -> Page {
        Page { out: String::new(), columns: columns.max(NARROWEST), paint }
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.out
    }

    /// Colours of this page.
    #[must_use]
    pub fn paint(&self) -> Paint {
        self.paint
    }

    /// An empty line.
    pub fn blank(&mut self) {
        self.out.push('\n');
    }

    /// A line that begins a part of the page.
    pub fn heading(&mut self, text: &str) {
        let paint = self.paint;
        self.lines(text, 0, |line| paint.heading(line));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        self.lines(text, 0, str::to_string);
    }

    /// A paragraph that is less important.
    pub fn dim(&mut self, text: &str) {
        let paint = self.paint;
        self.lines(text, 0, |line| paint.dim(line));
    }

    /// Short remarks side by side; a line ends between two of them.
    pub fn parts(&mut self, parts: &[String]) {
        let mut line = String::new();
        for part in parts {
            let longer = if line.is_empty() { part.clone() } else { format!("{line} · {part}") };
            if width(&longer) > self.columns && !line.is_empty() {
                self.dim(&std::mem::take(&mut line));
                line.clone_from(part);
            } else {
                line = longer;
            }
        }
        self.dim(&line);
    }

    /// Something that is wrong.
    pub fn problem(&mut self, text: &str) {
        let paint = self.paint;
        self.lines(&format!("⚠ {text}"), 0, |line| paint.problem(line));
    }

    /// Something that is wrong with what stands above, behind an indent.
    pub fn problem_at(&mut self, indent: &str, text: &str) {
        let paint = self.paint;
        for line in break_lines(&format!("⚠ {text}"), self.columns.saturating_sub(width(indent)))
        {
            self.verbatim(&format!("{indent}{}", paint.problem(&line)));
        }
    }

    /// A text behind a head; where it does not fit it is cut.
    pub fn hanging(&mut self, head: &str, text: &str) {
        let text = cut(text, self.columns.saturating_sub(width(head)).max(12));
        self.verbatim(format!("{head}{text}").trim_end());
    }

    /// A line as it is, whatever its width: something to copy.
    pub fn verbatim(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn lines(&mut self, text: &str, indent: usize, style: impl Fn(&str) -> String) {
        for line in break_lines(text, self.columns.saturating_sub(indent)) {
            self.out.push_str(&" ".repeat(indent));
            self.out.push_str(&style(&line));
            self.out.push('\n');
        }
    }

    /// Annotated bytes.
    pub fn explained(&mut self, explained: &Explained, bytes: &[u8]) {
        let paint = self.paint;
        self.out.push_str(&render::fitted(explained, bytes, self.columns, |field, text| {
            paint.field(field, text)
        }));
    }

    /// Names with what they are, and a remark on each.
    pub fn facts(&mut self, facts: &[(&'static str, String, &'static str)]) {
        let names = facts.iter().map(|(name, ..)| width(name)).max().unwrap_or(0);
        let values = facts.iter().map(|(_, value, _)| width(value)).max().unwrap_or(0).min(40);
        let indent = 2 + names + 2;
        for (name, value, why) in facts {
            let beside = indent + values + 2;
            let mut line = format!("  {}  ", pad(name, names));
            let room = self.columns.saturating_sub(beside);
            if why.is_empty() || (room < 24 && self.columns != usize::MAX) || width(value) > values
            {
                let mut pieces =
                    break_lines(value, self.columns.saturating_sub(indent)).into_iter();
                line.push_str(&pieces.next().unwrap_or_default());
                self.verbatim(line.trim_end());
                for piece in pieces.chain(break_lines(why, self.columns.saturating_sub(indent))) {
                    if !piece.is_empty() {
                        self.verbatim(&format!("{:indent$}{piece}", ""));
                    }
                }
                continue;
            }
            line.push_str(&pad(value, values));
            line.push_str("  ");
            for (number, piece) in break_lines(why, room).into_iter().enumerate() {
                let head = if number == 0 { line.clone() } else { " ".repeat(beside) };
                let piece = self.paint.dim(&piece);
                self.verbatim(&format!("{head}{piece}"));
            }
        }
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        let widths = table.widths();
        let before: usize = widths.iter().rev().skip(1).map(|width| width + GAP.len()).sum();
        let last = self.columns.saturating_sub(before).max(12);
        let titles: Vec<String> =
            table.titles.iter().map(|title| title.trim_start_matches('>').to_string()).collect();
        let head = table.line(&titles, &widths);
        self.out.push_str(&self.paint.dim(head.trim_end()));
        self.out.push('\n');
        for row in &table.rows {
            let text = row.cells.first().map_or("", String::as_str);
            match row.kind {
                Kind::Plain => self.row(table, row, &widths, last),
                Kind::Divider => self.dim(text),
                Kind::Problem => self.problem(text),
            }
        }
    }

    fn row(&mut self, table: &Table, row: &Row, widths: &[usize], last: usize) {
        let mut cells = row.cells.clone();
        let mut more = Vec::new();
        if let Some(cell) = cells.last_mut() {
            match table.overflow {
                Overflow::Cut => *cell = cut(cell, last),
                Overflow::Wrap => {
                    let mut lines = break_lines(cell, last).into_iter();
                    *cell = lines.next().unwrap_or_default();
                    more.extend(lines);
                }
            }
        }
        self.verbatim(table.line(&cells, widths).trim_end());
        let before = widths.iter().rev().skip(1).map(|width| width + GAP.len()).sum();
        for line in more {
            self.verbatim(&format!("{:before$}{line}", ""));
        }
    }
}

impl Table {
    /// Natural width of every column.
    fn widths(&self) -> Vec<usize> {
        let plain = || self.rows.iter().filter(|row| row.kind == Kind::Plain);
        let of = |(column, title): (usize, &&str)| {
            let cells = plain()
                .filter_map(|row| row.cells.get(column))
                .map(|cell| width(cell))
                .max()
                .unwrap_or(0);
            cells.max(width(title.trim_start_matches('>')))
        };
        self.titles.iter().enumerate().map(of).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let aligned = |((cell, width), title): ((&String, &usize), &&str)| {
            if title.starts_with('>') { pad_left(cell, *width) } else { pad(cell, *width) }
        };
        cells.iter().zip(widths).zip(&self.titles).map(aligned).collect::<Vec<_>>().join(GAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells with characters of no column and of two.
    const NAMES: [&str; 3] = ["漢字.sst", "e\u{301}te\u{301}", "👩\u{200d}🔬"];

    /// In which column of a line a text begins.
    fn column(line: &str, text: &str) -> usize {
        width(&line[..line.find(text).unwrap()])
    }

    #[test]
    fn columns_line_up_behind_wide_and_combining_characters() {
        let mut page = Page::new(usize::MAX, Paint::new(false));
        let row = |name: &&str| Row::new(vec![(*name).into(), (*name).into(), "END".into()]);
        page.table(&Table {
            titles: vec!["name", ">size", "END"],
            rows: NAMES.iter().map(row).collect(),
            overflow: Overflow::Wrap,
        });
        page.facts(&NAMES.map(|name| ("file", name.to_string(), "END")));
        let out = page.finish();
        let lines: Vec<&str> = out.lines().collect();
        let (table, facts) = lines.split_at(1 + NAMES.len());
        for (part, at) in [(table, 8 + 2 + 8 + 2), (facts, 2 + 4 + 2 + 8 + 2)] {
            assert!(part.iter().all(|line| column(line, "END") == at), "{out}");
        }
    }

    #[test]
    fn a_last_column_of_wide_characters_is_cut_and_wrapped_within_the_page() {
        for overflow in [Overflow::Cut, Overflow::Wrap] {
            let mut page = Page::new(NARROWEST, Paint::new(false));
            let rows = vec![Row::new(vec!["漢字".into(), "漢字漢字".repeat(10)])];
            page.table(&Table { titles: vec!["name", "path"], rows, overflow });
            let out = page.finish();
            let widest = out.lines().map(width).max().unwrap();
            assert!((NARROWEST - 1..=NARROWEST).contains(&widest), "{widest} columns:\n{out}");
        }
    }
}
