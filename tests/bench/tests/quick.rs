//! The whole program with tiny sizes: it runs, and says something of each row. Nothing is said of times.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_row_of_one_node_and_of_proxies_is_measured() {
    let rows = rows();
    let (elsewhere, here): (Vec<&String>, Vec<&String>) = rows
        .iter()
        .partition(|row| row.starts_with("s3-") || row.starts_with("cluster-"));
    assert!(here.len() > 15 && elsewhere.len() > 5, "{rows:?}");
    let here: Vec<&str> = here.into_iter().map(String::as_str).collect();
    measured(&here);
}

#[test]
fn every_row_of_buckets_is_measured() {
    measured(&["s3-"]);
}

#[test]
fn every_row_of_clusters_is_measured() {
    measured(&["cluster-"]);
}

/// The names of all rows.
fn rows() -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_roadstead-bench");
    let listed = Command::new(program)
        .arg("--list")
        .output()
        .expect("a list");
    let listed = String::from_utf8(listed.stdout).expect("text");
    let names = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// Runs the rows that begin so.
fn measured(chosen: &[&str]) {
    let program = Path::new(env!("CARGO_BIN_EXE_roadstead-bench"));
    let roadstead = program.with_file_name("roadstead");
    assert!(
        roadstead.is_file(),
        "{} is missing: build the workspace",
        roadstead.display()
    );
    let home = tempfile::tempdir().expect("a directory");
    let ran = Command::new(program)
        .args(chosen)
        .args(["--quick", "--output", "report"])
        .current_dir(home.path())
        .output()
        .expect("it can be started");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );

    let report = std::fs::read(home.path().join("report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let lines = report["lines"].as_array().expect("lines");
    let picture = std::fs::read_to_string(home.path().join("report.svg")).expect("a picture");
    let is_chosen = |row: &&String| chosen.iter().any(|name| row.starts_with(*name));
    for row in rows().iter().filter(is_chosen) {
        let of_store = lines.iter().filter(|line| line["row"] == row.as_str());
        let counted = of_store.filter_map(|line| line["asked_store"].as_f64());
        assert_eq!(
            counted.filter(|asked| *asked > 0.0).count() > 0,
            row.starts_with("s3-"),
            "{row}"
        );
        let servers: Vec<&str> = lines
            .iter()
            .filter(|line| {
                line["row"] == row.as_str() && line["rate"]["median"].as_f64() > Some(0.0)
            })
            .filter_map(|line| line["server"].as_str())
            .collect();
        let ours = if row.starts_with("proxy") {
            "roadstead gateway"
        } else if row.starts_with("cluster") {
            "roadstead cluster"
        } else {
            "roadstead"
        };
        assert!(servers.contains(&ours), "{row}: {servers:?}");
        assert!(
            servers.len() > 1 || row == "cluster-failover",
            "{row} is held against nobody: {servers:?}"
        );
        assert_eq!(picture.contains(&format!("{row}: ")), servers.len() > 1);
    }
}
