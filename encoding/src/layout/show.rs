//! How numbers of the formats read to people.

use crate::{hlc, slot::SLOTS};

/// A slot; one that does not exist says so.
pub(crate) fn slot(slot: u64) -> String {
    if slot < u64::from(SLOTS) { slot.to_string() } else { format!("{slot} (no such slot)") }
}

/// 0 or 1.
pub(crate) fn boolean(code: u64) -> String {
    match code {
        0 => "no".to_string(),
        1 => "yes".to_string(),
        other => other.to_string(),
    }
}

/// A tag that is a letter.
pub(crate) fn letter(code: u64) -> String {
    u8::try_from(code)
        .map_or_else(|_| code.to_string(), |byte| format!("'{}'", byte.escape_ascii()))
}

/// Milliseconds since 1970 where 0 means never.
pub(crate) fn expiry(ms: u64) -> String {
    if ms == 0 { "0 (never)".to_string() } else { time(ms) }
}

/// Milliseconds since 1970.
pub(crate) fn time(ms: u64) -> String {
    match utc(ms) {
        Some(date) => format!("{ms} ({date})"),
        None => ms.to_string(),
    }
}

/// A stamp of the hybrid logical clock.
pub(crate) fn hlc(stamp: u64) -> String {
    match utc(hlc::ms(stamp)) {
        Some(date) if hlc::ms(stamp) != 0 => format!("{stamp} ({date} + {})", hlc::counter(stamp)),
        _ => stamp.to_string(),
    }
}

/// Bytes as text: printable ASCII as it is, everything else escaped. Long ones are cut, with their
/// length.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    const LONGEST: usize = 64;
    match bytes.get(..LONGEST) {
        Some(head) if bytes.len() > LONGEST => {
            format!("\"{}\"… ({} bytes)", head.escape_ascii(), bytes.len())
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// Date and time of milliseconds since 1970, up to the year 9999: `2023-11-14T22:13:20.123Z`.
pub fn utc(ms: u64) -> Option<String> {
    const DAY: u64 = 86_400_000;
    let (days, in_day) = (ms / DAY, ms % DAY);
    if days > 2_932_896 {
        return None;
    }
    let (year, month, day) = civil(days);
    let (seconds, millis) = (in_day / 1000, in_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"))
}

/// Year, month and day of a number of days since 1970. Counts in years that begin in March, so that
/// the leap day comes last, and in spans of 400 years, after which the calendar repeats.
fn civil(days: u64) -> (u64, u64, u64) {
    let since_march_of_0 = days + 719_468;
    let (span, day_of_span) = (since_march_of_0 / 146_097, since_march_of_0 % 146_097);
    let year_of_span =
        (day_of_span - day_of_span / 1460 + day_of_span / 36_524 - day_of_span / 146_096) / 365;
    let day_of_year = day_of_span - (365 * year_of_span + year_of_span / 4 - year_of_span / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (span * 400 + year_of_span + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(utc(ms).as_deref(), Some(text), "{ms}");
        }
        assert_eq!(utc(253_402_300_800_000), None);
        assert_eq!(utc(u64::MAX), None);
    }

    #[test]
    fn texts() {
        assert_eq!(bytes(b"a\0\xff\"\n"), r#""a\x00\xff\"\n""#);
        assert!(bytes(&[b'x'; 65]).ends_with("… (65 bytes)"));
        assert_eq!(
            hlc(hlc::from_ms(1_700_000_000_000) + 3),
            "111411200000000003 (2023-11-14T22:13:20.000Z + 3)"
        );
        assert_eq!(hlc(7), "7");
    }

    use crate::hlc;
}
