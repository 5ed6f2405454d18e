//! The whole program with tiny sizes: it runs, and says something of each row. Nothing is said of times.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_row_is_measured_and_reported() {
    let program = Path::new(env!("CARGO_BIN_EXE_roadstead-bench"));
    let roadstead = program.with_file_name("roadstead");
    assert!(
        roadstead.is_file(),
        "{} is missing: build the workspace",
        roadstead.display()
    );
    let home = tempfile::tempdir().unwrap();
    let ran = Command::new(program)
        .args(["--quick", "--output", "report"])
        .current_dir(home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );

    let listed = Command::new(program).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let rows: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(rows.len() > 15, "{listed}");
    let report = std::fs::read(home.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let lines = report["lines"].as_array().unwrap();
    for row in rows {
        let of_store = lines.iter().filter(|line| line["row"] == row);
        let counted = of_store.filter_map(|line| line["asked_store"].as_f64());
        assert_eq!(
            counted.filter(|asked| *asked > 0.0).count() > 0,
            row.starts_with("s3-"),
            "{row}"
        );
        let servers: Vec<&str> = lines
            .iter()
            .filter(|line| line["row"] == row && line["rate"]["median"].as_f64() > Some(0.0))
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
    }
    let picture = std::fs::read_to_string(home.path().join("report.svg")).unwrap();
    assert!(picture.contains("<svg") && picture.contains("pull-1: docker-registry"));
}
