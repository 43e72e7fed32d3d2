//! Single numbers with a target, as they are printed below the table.

use super::table::verdict;

/// A measured number that should not be larger than its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The result.
    pub value: f64,
    /// The most that is wanted.
    pub target: f64,
    /// What both are counted in.
    pub unit: &'static str,
}

impl Figure {
    /// The figure as a line.
    pub fn line(&self) -> String {
        let Figure { what, value, target, unit } = self;
        let verdict = verdict(value <= target);
        format!("{what:<62} {value:>9.3} {unit:<10} (target: {target} at most) {verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::Figure;

    #[test]
    fn a_figure_reaches_its_target_from_below() {
        let line = |value| Figure { what: "DEL".into(), value, target: 1.0, unit: "ms" }.line();
        let shown = line(1.0).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(shown, "DEL 1.000 ms (target: 1 at most) reached");
        assert!(line(1.001).ends_with("MISSED"));
    }
}
