//! The benchmark at a tiny scale: not what it measures, but that everything is there.

use std::process::Command;

use neokv_tests::process::built_binary;

/// What the benchmark prints with these arguments.
fn bench(arguments: &[&str]) -> String {
    let output = Command::new(built_binary("bench").unwrap()).args(arguments).output().unwrap();
    let (text, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    text
}

#[test]
fn every_column_of_the_table_is_filled_for_both_servers() {
    for (test, rows) in [("set", 3), ("lrange_100", 1)] {
        let text =
            bench(&["--rounds", "1", "--scale", "0.01", "--only", test, "--", "--sync", "no"]);
        let lines: Vec<&str> = text.lines().collect();
        let titles = lines.iter().position(|line| line.starts_with("test ")).unwrap();
        let columns = lines[titles].split_whitespace().count();
        assert_eq!(columns, 15, "{text}");
        assert_eq!(lines.len(), titles + 1 + rows, "{text}");
        for line in &lines[titles + 1..] {
            let cells: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(cells.len(), columns, "{line}");
            assert_eq!(cells[0], test);
            // Throughput, processor time, switches and system calls of both servers; what counts
            // system calls is not on every machine.
            for at in [4, 5, 9, 10, 11, 12, 13, 14] {
                let is_absent = at >= 13 && cells[at] == "-";
                let number = cells[at].parse::<f64>();
                assert!(is_absent || number.is_ok_and(f64::is_finite), "{}: {line}", cells[at]);
            }
            // A server that serves has read and answered.
            for at in [4, 5] {
                assert!(cells[at].parse::<f64>().unwrap() > 0.0, "{line}");
            }
        }
    }
}

#[test]
fn every_single_figure_has_a_value_and_a_target() {
    let text = bench(&["--rounds", "1", "--scale", "0.01", "--only", "single"]);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let expected = [
        ("DEL of a hash of 10000 fields", "(target: 1 at most)"),
        ("start to serving, after SIGKILL with 10000 keys of 64 bytes", "(target: 2 at most)"),
        ("resident memory after 10000 keys of 64 bytes", "(target: 220 at most)"),
        ("written per byte of user data, 10000 keys of 64 bytes", "(target: 3 at most)"),
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, (what, target)) in lines.iter().zip(expected) {
        let rest = line.strip_prefix(what).unwrap_or_else(|| panic!("{what}: {line}"));
        let value: f64 = rest.split_whitespace().next().unwrap().parse().unwrap();
        assert!(value > 0.0 && line.contains(target), "{line}");
    }
}

#[test]
fn the_longest_start_is_found_among_many() {
    let text = bench(&["--scale", "0.002", "--only", "restart"]);
    let rest = text.strip_prefix("start to serving, the longest after 12 SIGKILLs under load");
    let took: f64 = rest.unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(took > 0.0, "{text}");
}

#[test]
fn a_data_set_larger_than_memory_has_a_pause_a_ratio_and_a_budget() {
    let other = built_binary("neokv").unwrap();
    let other = other.to_str().unwrap();
    let own = ["--larger-than-memory", "--rounds", "1", "--scale", "0.01"];
    let text = bench(&[&own[..], &["--against", other, "--", "--sync", "no"]].concat());
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    let rows: Vec<&[&str]> = lines[2..6].iter().map(|line| &line[..2]).collect();
    assert_eq!(rows, [["set", "1"], ["set", "16"], ["get", "1"], ["get", "16"]], "{text}");
    for line in &lines[2..6] {
        for at in [2, 3, 6, 7] {
            assert!(line[at].parse::<f64>().is_ok_and(|number| number > 0.0), "{line:?}");
        }
    }
    assert_eq!(lines.len(), 8, "{text}");
    for line in &lines[6..] {
        let value = line.iter().find_map(|word| word.parse::<f64>().ok()).unwrap();
        assert!(value > 10.0 && line.contains(&"256"), "{line:?}");
    }
}

#[test]
fn a_test_that_does_not_exist_is_refused() {
    let output = Command::new(built_binary("bench").unwrap()).args(["--only", "st"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("set") && errors.contains("single"), "{errors}");
}
