//! A process that logs: what comes out of its standard error and output when they are pipes.

use std::process::{Command, Output};
use std::time::{Duration, UNIX_EPOCH};

use http::Version;
use roadstead_telemetry::access::{Access, AccessLog};
use roadstead_telemetry::log::{Format, Identity, Level, Options, fatal, start};

/// This test as a process of its own.
fn run(test: &str) -> Output {
    Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--ignored", "--nocapture", "--quiet"])
        .output()
        .expect("it runs")
}

fn options(format: Option<Format>) -> Options {
    Options {
        level: Level::Info,
        format,
        fields: Vec::new(),
        report_caller: false,
        logstash_type: None,
        identity: Identity {
            version: "1.2.3".to_owned(),
            instance: "one".to_owned(),
        },
    }
}

#[test]
#[ignore = "runs within the test below"]
fn logs_and_panics() {
    let log = start(&options(None), None, Vec::new()).expect("the first to start logging");
    start(&options(None), None, Vec::new()).expect_err("the second");
    tracing::info!(target: "roadstead::serve", "listening on {}", "[::]:5000");
    tracing::debug!(target: "roadstead::serve", "too fine");
    log::info!(target: "rustls", "noise of a library");
    log::warn!(target: "rustls", "a library warns");
    fatal(&"cannot go on\nlevel=info");
    let panicked = std::thread::spawn(|| panic!("a bug\nand more")).join();
    panicked.expect_err("a panic");
    assert!(log.finish(Duration::from_mins(1)), "all is written");
}

#[test]
fn standard_error_that_is_a_pipe_gets_the_reference_form() {
    let output = run("logs_and_panics");
    let text = String::from_utf8(output.stderr).expect("text");
    // The time in front differs.
    let lines = text
        .lines()
        .map(|line| line.split_once(' ').expect("a time").1)
        .collect::<Vec<_>>();
    let own = "go.version=rust1.95 instance.id=one version=1.2.3";
    let own_and_place =
        "go.version=rust1.95 instance.id=one place=\"nodes/telemetry/tests/process.rs:";
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(
        lines[0],
        format!("level=info msg=\"listening on [::]:5000\" {own}")
    );
    assert_eq!(
        lines[1],
        format!("level=warning msg=\"a library warns\" {own}")
    );
    assert_eq!(
        lines[2],
        format!("level=fatal msg=\"cannot go on\\nlevel=info\" {own}")
    );
    let panic = format!("level=panic msg=\"a bug\\nand more\" {own_and_place}");
    assert!(lines[3].starts_with(&panic), "{}", lines[3]);
}

#[test]
#[ignore = "runs within the test below"]
fn logs_access() {
    let log = AccessLog::to_standard_output().expect("a thread");
    for written in 0..1000 {
        log.log(&Access {
            remote: "::1",
            user: Some("alice"),
            time: UNIX_EPOCH + Duration::from_secs(1_795_257_174),
            method: "GET",
            uri: "/v2/",
            version: Version::HTTP_2,
            status: 200,
            written,
            referer: b"",
            user_agent: b"",
        });
    }
    assert!(log.finish(Duration::from_mins(1)), "all is written");
    assert_eq!(log.dropped(), 0);
}

#[test]
fn standard_output_gets_the_access_log_whole() {
    let output = run("logs_access");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text
        .lines()
        .filter(|line| line.contains("HTTP"))
        .collect::<Vec<_>>();
    assert_eq!(lines.len(), 1000, "{text}");
    assert!(lines[999].ends_with(
        "::1 - alice [21/Nov/2026:10:32:54 +0000] \"GET /v2/ HTTP/2.0\" 200 999 \"\" \"\""
    ));
}
