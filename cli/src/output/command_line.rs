//! Commands as a person would type them, to the server and to a shell.

use bytes::Bytes;

/// A command's words on one line, quoted where `redis-cli` and inline commands need it.
///
/// [`neokv_resp::inline::split_args`] reads the same words back.
#[must_use]
pub fn typed(words: &[Bytes]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
    if !word.is_empty() && word.iter().all(plain) {
        return String::from_utf8_lossy(word).into_owned();
    }
    // A single quote needs no escape inside double quotes.
    format!("\"{}\"", word.escape_ascii().to_string().replace("\\'", "'"))
}

/// Bytes as an argument of `neoctl`, safe in a shell.
#[must_use]
pub fn argument(bytes: &[u8]) -> String {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./@%+=,:-".contains(byte);
    let prefixed =
        [&b"hex:"[..], b"esc:", b"utf8:", b"-"].iter().any(|prefix| bytes.starts_with(prefix));
    if !bytes.is_empty() && bytes.iter().all(harmless) && !prefixed {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    if bytes == b"-" {
        // A lone - is standard input in every form.
        return "hex:2d".into();
    }
    let escaped = bytes.escape_ascii().to_string().replace("\\'", "\\x27");
    let prefix = if prefixed { "esc:" } else { "" };
    format!("'{prefix}{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes_input::unescape;

    #[test]
    fn the_server_reads_typed_commands_back() {
        let all: Vec<u8> = (0..=255).collect();
        let words: Vec<Bytes> =
            [&b"SET"[..], b"", b"a b", b"it's", b"\"", br"back\slash", &all, b"\x00"]
                .iter()
                .map(|word| Bytes::copy_from_slice(word))
                .collect();
        let line = typed(&words);
        assert_eq!(neokv_resp::inline::split_args(line.as_bytes()).unwrap(), words);
        assert!(line.starts_with(r#"SET "" "a b" "it's" "\"" back\slash "#), "{line}");
    }

    #[test]
    fn arguments_survive_a_shell() {
        assert_eq!(argument(b"user:1"), "user:1");
        assert_eq!(argument(b"user:{1}"), "'user:{1}'");
        assert_eq!(argument(b"-x"), "'esc:-x'");
        assert_eq!(argument(b"-"), "hex:2d");
        assert_eq!(argument(b"it's"), r"'it\x27s'");
        assert_eq!(unescape(br"it\x27s").unwrap(), b"it's");
    }
}
