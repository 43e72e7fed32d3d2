//! Reading arguments: which words there are, keywords, and expiry options. Numbers are read by
//! [`crate::number`].

use bytes::Bytes;

use super::Args;
use crate::error::CommandError;
use crate::number;

/// Whether `arg` is the option `keyword`, in any case. `keyword` is ASCII.
pub fn is(arg: &[u8], keyword: &str) -> bool {
    arg.eq_ignore_ascii_case(keyword.as_bytes())
}

/// The argument at `at`, or a syntax error if the command ends before it.
pub fn get(args: &Args, at: usize) -> Result<&Bytes, CommandError> {
    args.get(at).ok_or(CommandError::Syntax)
}

/// The arguments from `at` on; empty if there are none.
pub fn rest(args: &Args, at: usize) -> &Args {
    args.get(at..).unwrap_or_default()
}

/// The arguments from `at` on, two by two. A last one without a partner is left out: check the
/// number first.
pub fn pairs(args: &Args, at: usize) -> impl Iterator<Item = (&Bytes, &Bytes)> {
    rest(args, at).chunks_exact(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?)))
}

/// How an argument names the instant at which a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryUnit {
    /// Seconds from now (EX, EXPIRE).
    Seconds,
    /// Milliseconds from now (PX, PEXPIRE).
    Milliseconds,
    /// Seconds since the Unix epoch (EXAT, EXPIREAT).
    AtSeconds,
    /// Milliseconds since the Unix epoch (PXAT, PEXPIREAT).
    AtMilliseconds,
}

impl ExpiryUnit {
    /// The option of SET and GETEX that `arg` is, if it is one.
    pub fn keyword(arg: &[u8]) -> Option<ExpiryUnit> {
        match arg.len() {
            2 if is(arg, "EX") => Some(ExpiryUnit::Seconds),
            2 if is(arg, "PX") => Some(ExpiryUnit::Milliseconds),
            4 if is(arg, "EXAT") => Some(ExpiryUnit::AtSeconds),
            4 if is(arg, "PXAT") => Some(ExpiryUnit::AtMilliseconds),
            _ => None,
        }
    }

    /// Whether the expiry counts from now.
    pub fn is_relative(self) -> bool {
        matches!(self, ExpiryUnit::Seconds | ExpiryUnit::Milliseconds)
    }

    /// Whether the unit is a second.
    pub fn in_seconds(self) -> bool {
        matches!(self, ExpiryUnit::Seconds | ExpiryUnit::AtSeconds)
    }

    /// The instant that `arg` names, in milliseconds since the Unix epoch, for the options of SET,
    /// GETEX, SETEX and PSETEX: zero, negative and unrepresentable times are
    /// [`CommandError::InvalidExpire`] of `command`.
    pub fn instant(
        self,
        arg: &[u8],
        now_ms: u64,
        command: &'static str,
    ) -> Result<u64, CommandError> {
        let invalid = || CommandError::InvalidExpire(command);
        let mut at = number::integer(arg)?;
        if at <= 0 {
            return Err(invalid());
        }
        if self.in_seconds() {
            at = at.checked_mul(1000).ok_or_else(invalid)?;
        }
        if self.is_relative() {
            at = i64::try_from(now_ms)
                .ok()
                .and_then(|now| at.checked_add(now))
                .ok_or_else(invalid)?;
        }
        u64::try_from(at).map_err(|_| invalid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries() {
        let now = 1000;
        let at = |expiry: ExpiryUnit, text: &str| expiry.instant(text.as_bytes(), now, "set");
        assert_eq!(at(ExpiryUnit::Seconds, "2").ok(), Some(3000));
        assert_eq!(at(ExpiryUnit::Milliseconds, "2").ok(), Some(1002));
        assert_eq!(at(ExpiryUnit::AtSeconds, "2").ok(), Some(2000));
        assert_eq!(at(ExpiryUnit::AtMilliseconds, "2").ok(), Some(2));
        for text in ["0", "-1", "9223372036854775807"] {
            assert!(matches!(
                at(ExpiryUnit::Seconds, text),
                Err(CommandError::InvalidExpire("set"))
            ));
        }
        assert!(matches!(at(ExpiryUnit::Seconds, "x"), Err(CommandError::NotInteger)));
        assert_eq!(ExpiryUnit::keyword(b"pXaT"), Some(ExpiryUnit::AtMilliseconds));
        assert_eq!(ExpiryUnit::keyword(b"PXA"), None);
    }
}
