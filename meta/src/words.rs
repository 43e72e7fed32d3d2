//! Numbers in the sentences that give reasons.

/// `1 Region`, `2 Regions`.
pub(crate) fn number(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
