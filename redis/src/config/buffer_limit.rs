//! `client-output-buffer-limit` as Redis writes it: a hard limit, a soft limit and the seconds that
//! the soft one may be exceeded, for each class of clients.
//!
//! ```text
//! normal 1073741824 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60
//!        the option     Redis's defaults: there are no such clients
//! ```
//!
//! The option of the same name is the hard limit of normal clients; they have no soft one. So
//! CONFIG SET takes the option's value for them, and `0 0 0`, Redis's default: no limit beside the
//! option's, which stays in force. It takes any limits for the other classes.

use super::value::parse_bytes;

/// The limits that CONFIG GET shows for classes without clients.
const OTHERS: &str = "slave 268435456 67108864 60 pubsub 33554432 8388608 60";

/// The text of CONFIG GET, where an output buffer may hold so many bytes.
#[must_use]
pub fn buffer_limit_text(hard: u64) -> String {
    format!("normal {hard} 0 0 {OTHERS}")
}

/// Whether a text of CONFIG SET changes nothing where an output buffer may hold so many bytes.
///
/// # Errors
/// What is wrong with the text, in Redis's words.
pub fn is_buffer_limit(text: &str, hard: u64) -> Result<bool, &'static str> {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let (limits, []) = words.as_chunks::<4>() else {
        return Err("Wrong number of arguments in buffer limit configuration.");
    };
    let mut is_same = true;
    for [class, limits @ ..] in limits {
        let limits = parse_limits(*limits)
            .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
        match class.to_ascii_lowercase().as_str() {
            "normal" => is_same &= [(0, 0, 0), (hard, 0, 0)].contains(&limits),
            "slave" | "replica" | "pubsub" => {}
            _ => return Err("Invalid client class specified in buffer limit configuration."),
        }
    }
    Ok(is_same)
}

/// Hard limit, soft limit, and the seconds that the soft one may be exceeded.
fn parse_limits([hard, soft, seconds]: [&str; 3]) -> Option<(u64, u64, u64)> {
    Some((parse_bytes(hard)?, parse_bytes(soft)?, seconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The errors are those of `redis-server` 7.0.15.
    #[test]
    fn limits_are_read_in_the_form_of_redis() {
        let hard = 1 << 30;
        let check = |text: &str| is_buffer_limit(text, hard);
        assert_eq!(check(&buffer_limit_text(hard)), Ok(true));
        assert_eq!(check("normal 0 0 0"), Ok(true), "Redis's default");
        assert_eq!(check("Normal 1gb 0 0 replica 1mb 0 5"), Ok(true));
        assert_eq!(check(""), Ok(true));
        assert_eq!(check("normal 2gb 0 0"), Ok(false));
        assert_eq!(check("normal 0 1mb 60"), Ok(false), "a soft limit");
        assert_eq!(check("pubsub 0 0 0 normal 1 0 0"), Ok(false));
        let count = Err("Wrong number of arguments in buffer limit configuration.");
        assert_eq!(check("normal 0 0"), count);
        assert_eq!(check("1gb"), count);
        let class = Err("Invalid client class specified in buffer limit configuration.");
        assert_eq!(check("foo 0 0 0"), class);
        assert_eq!(check("master 0 0 0"), class);
        let limit =
            Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        assert_eq!(check("normal a 0 0"), limit);
        assert_eq!(check("normal 0 0 -1"), limit);
    }
}
