//! The table: its columns, and a row as text.
//!
//! | columns | meaning |
//! | --- | --- |
//! | test, pipe, clients | what is sent, how many commands at once, by how many connections |
//! | peer | the Redis beside it: `always` is `appendfsync always`, `memory` writes nothing |
//! | commands/s | throughput; the ratio is NeoKV's to Redis's, and the target is for the ratio |
//! | CPU us/command | processor time of the server process, in the program and in the kernel |
//! | switches/command | context switches of all its threads, wanted or not |
//! | calls/command | system calls of all its threads; `-` where nothing can count them |
//!
//! Redis rewrites its log in a child process, which its figures do not include.

use super::throughput::{Costs, Row};

/// A column of the table.
struct Column {
    /// Stands above the titles of adjacent columns that have it in common.
    group: &'static str,
    title: &'static str,
    width: usize,
    cell: fn(&Row) -> String,
}

/// Between two columns.
const GAP: &str = "  ";

/// The columns, from left to right.
#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    column("", "test", 10, |row| row.workload.name.into()),
    column("", "pipe", 4, |row| row.workload.load.pipeline.to_string()),
    column("", "clients", 7, |row| row.workload.load.clients.to_string()),
    column("", "peer", 6, |row| row.workload.peer.name().into()),
    column("commands/s", "NeoKV", 8, |row| format!("{:.0}", row.neokv.rate)),
    column("commands/s", "Redis", 8, |row| format!("{:.0}", row.peer.rate)),
    column("commands/s", "ratio", 5, |row| format!("{:.2}", row.ratio())),
    column("commands/s", "target", 6, |row| format!("{:.2}", row.workload.target)),
    column("commands/s", "verdict", 7, |row| verdict(row.ratio() >= row.workload.target).into()),
    column("CPU us/command", "NeoKV", 7, |row| format!("{:.1}", row.neokv.processor_us)),
    column("CPU us/command", "Redis", 7, |row| format!("{:.1}", row.peer.processor_us)),
    column("switches/command", "NeoKV", 7, |row| format!("{:.3}", row.neokv.switches)),
    column("switches/command", "Redis", 7, |row| format!("{:.3}", row.peer.switches)),
    column("calls/command", "NeoKV", 7, |row| calls(&row.neokv)),
    column("calls/command", "Redis", 7, |row| calls(&row.peer)),
];

const fn column(
    group: &'static str,
    title: &'static str,
    width: usize,
    cell: fn(&Row) -> String,
) -> Column {
    Column { group, title, width, cell }
}

/// Whether a target has been reached, in the words of the table.
pub fn verdict(is_reached: bool) -> &'static str {
    if is_reached { "reached" } else { "MISSED" }
}

fn calls(costs: &Costs) -> String {
    costs.system_calls.map_or_else(|| "-".into(), |calls| format!("{calls:.3}"))
}

/// The two lines above the rows: what groups of columns show, and the title of each column.
pub fn header() -> String {
    let groups = COLUMNS.chunk_by(|left, right| left.group == right.group);
    let groups = groups.filter_map(|group| {
        let widths: usize = group.iter().map(|column| column.width).sum();
        let width = widths + GAP.len() * (group.len() - 1);
        group.first().map(|column| format!("{:<width$}", column.group))
    });
    let groups = groups.collect::<Vec<_>>().join(GAP);
    format!("{}\n{}", groups.trim_end(), line(|column| column.title.into()))
}

/// A row of the table.
pub fn row(row: &Row) -> String {
    line(|column| (column.cell)(row))
}

/// One cell for each column.
fn line(cell: impl Fn(&Column) -> String) -> String {
    let cells = COLUMNS.iter().map(|column| {
        let (cell, width) = (cell(column), column.width);
        // The names of the rows begin at the left; what is beside them ends at the right.
        if column.title == "test" { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    });
    cells.collect::<Vec<_>>().join(GAP)
}

#[cfg(test)]
mod tests {
    use super::super::throughput::{Costs, Row};
    use super::super::workloads::WORKLOADS;
    use super::{header, row};

    fn a_row() -> Row {
        let neokv = Costs {
            rate: 40_000.4,
            processor_us: 40.25,
            switches: 0.5,
            system_calls: Some(2.0625),
        };
        let peer = Costs { rate: 80_000.0, system_calls: None, ..neokv };
        Row { workload: WORKLOADS[1], neokv, peer }
    }

    #[test]
    fn a_row_has_a_cell_below_every_title() {
        let titles = "test pipe clients peer NeoKV Redis ratio target verdict NeoKV Redis NeoKV \
                      Redis NeoKV Redis";
        let header = header();
        let (groups, second) = header.split_once('\n').unwrap();
        assert_eq!(second.split_whitespace().collect::<Vec<_>>().join(" "), titles);
        assert_eq!(
            groups.split_whitespace().collect::<Vec<_>>().join(" "),
            "commands/s CPU us/command switches/command calls/command"
        );
        let cells = row(&a_row());
        assert_eq!(
            cells.split_whitespace().collect::<Vec<_>>().join(" "),
            "set 1 50 always 40000 80000 0.50 0.85 MISSED 40.2 40.2 0.500 0.500 2.062 -"
        );
        assert_eq!(cells.len(), second.len());
    }

    #[test]
    fn a_group_begins_where_its_columns_do() {
        let header = header();
        let (groups, titles) = header.split_once('\n').unwrap();
        // The figures of both groups are right-aligned in 7 columns.
        let processor = groups.find("CPU").unwrap();
        assert_eq!(titles[processor..].split_whitespace().next(), Some("NeoKV"));
        assert!(titles[..processor].trim_end().ends_with("verdict"));
    }
}
