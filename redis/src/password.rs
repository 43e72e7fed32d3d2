//! The password that clients give with AUTH and HELLO.

use subtle::ConstantTimeEq;

/// A password, compared in a time that tells nothing about it: neither where two differ nor how
/// long it is.
pub struct Password(Box<[u8]>);

impl Password {
    /// `None` for the empty password, which asks for none.
    #[must_use]
    pub fn new(text: &str) -> Option<Password> {
        (!text.is_empty()).then(|| Password(text.as_bytes().into()))
    }

    /// Whether `attempt` is the password.
    #[must_use]
    pub fn matches(&self, attempt: &[u8]) -> bool {
        // Slices of different lengths are told apart at once, so the attempt is brought to the
        // password's length first.
        let fitted: Vec<u8> =
            attempt.iter().copied().chain(std::iter::repeat(0)).take(self.0.len()).collect();
        (self.0.ct_eq(&fitted) & self.0.len().ct_eq(&attempt.len())).into()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_itself_only() {
        let password = Password::new("secret").unwrap();
        assert!(password.matches(b"secret"));
        for wrong in [&b""[..], b"s", b"secre", b"secrets", b"secretsecret", b"Secret", b"terces"] {
            assert!(!password.matches(wrong), "{}", wrong.escape_ascii());
        }
        assert!(Password::new("").is_none());
        assert!(!format!("{password:?}").contains("secret"));
    }
}
