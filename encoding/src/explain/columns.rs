//! Text in the columns of a screen: how wide it is, and how it is padded, cut and broken.
//!
//! A character takes no column (an accent over the letter before it), one, or two (most Chinese,
//! Japanese and Korean ones, and emoji). Values are escaped before they are printed; names of
//! files, which are not, may hold any of these.

use unicode_width::UnicodeWidthStr as _;

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// A text with blanks behind it, so that it takes at least so many columns.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{:missing$}", "", missing = columns.saturating_sub(width(text)))
}

/// A text with blanks before it, so that it takes at least so many columns.
pub fn pad_left(text: &str, columns: usize) -> String {
    format!("{:missing$}{text}", "", missing = columns.saturating_sub(width(text)))
}

/// A text of at most so many columns; `…` marks what is missing.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_string();
    }
    let mut line = String::new();
    for letter in text.chars() {
        // Only the whole line tells its width: letters may join into one.
        line.push(letter);
        if width(&line) >= columns {
            line.pop();
            break;
        }
    }
    line.push('…');
    line
}

/// A text in lines of at most so many columns, broken at blanks; a longer word is cut. At least one
/// line. A letter that is wider than the columns has a line of its own.
pub fn break_lines(text: &str, columns: usize) -> Vec<String> {
    if width(text) <= columns {
        return vec![text.trim_end().to_string()];
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        // A word that does not fit behind the others begins a line.
        if !line.is_empty() && width(&line) + width(word.trim_end()) > columns {
            lines.push(std::mem::take(&mut line));
        }
        for letter in word.chars() {
            line.push(letter);
            if width(&line) <= columns || line.len() == letter.len_utf8() {
                continue;
            }
            // The line is full. Blanks at its end are not wanted; another letter begins the next.
            line.pop();
            if letter != ' ' {
                lines.push(std::mem::replace(&mut line, letter.to_string()));
            }
        }
    }
    lines.push(line);
    lines.iter().map(|line| line.trim_end().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two characters of two columns each; a letter and its accent; an emoji of three characters,
    /// of which the second joins the others.
    const WIDE: [(&str, usize); 4] =
        [("漢字", 4), ("e\u{301}", 1), ("👩\u{200d}🔬", 2), ("plain", 5)];

    #[test]
    fn padded_texts_line_up_whatever_they_hold() {
        for (text, columns) in WIDE {
            assert_eq!(width(text), columns, "{text}");
            assert_eq!(pad(text, 7), format!("{text}{}", " ".repeat(7 - columns)));
            assert_eq!(pad_left(text, 7), format!("{}{text}", " ".repeat(7 - columns)));
            assert_eq!(pad(text, 0), text);
        }
    }

    #[test]
    fn a_cut_text_never_takes_more_columns_than_it_may() {
        assert_eq!(cut("漢字漢字", 8), "漢字漢字");
        assert_eq!(cut("漢字漢字", 7), "漢字漢…");
        assert_eq!(cut("漢字漢字", 6), "漢字…", "half a character does not fit");
        assert_eq!(
            cut("e\u{301}e\u{301}e\u{301}", 2),
            "e\u{301}…",
            "the accent stays with its letter"
        );
        assert_eq!(cut("plain", 4), "pla…");
    }

    #[test]
    fn lines_break_at_blanks_and_keep_every_word() {
        assert_eq!(break_lines("one two three", 7), ["one two", "three"]);
        assert_eq!(break_lines("one  abcdefghij", 4), ["one", "abcd", "efgh", "ij"]);
        assert_eq!(break_lines("", 10), [""]);
        assert_eq!(break_lines("one 漢字漢字", 5), ["one", "漢字", "漢字"]);
        assert_eq!(break_lines("漢字", 1), ["漢", "字"]);
        assert_eq!(break_lines("e\u{301}e\u{301}e\u{301}", 2), ["e\u{301}e\u{301}", "e\u{301}"]);
    }
}
