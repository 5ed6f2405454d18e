//! A process that is killed has lost nothing that it had recorded.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;
use crate::receiver::Reply;

/// Events that are recorded before the process is killed, at least.
const BEFORE: usize = 40;

/// What the test below runs in a process of its own: it is told a directory, and tells each event that is recorded.
#[tokio::test]
#[ignore = "run by the test below, in a process that it kills"]
async fn records_until_it_is_killed() {
    let mut told = String::new();
    std::io::stdin().read_line(&mut told).unwrap();
    assert!(!told.is_empty(), "the test below says where");
    let home = on_disk(Path::new(told.trim_end()));
    let running = Running::start(options(home, [endpoint("a", "http://127.0.0.1:1")]));
    for number in 0.. {
        running.record([number]).await;
        println!("recorded {number}");
    }
}

#[tokio::test]
async fn what_was_recorded_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "killed::records_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = child.stdin.take().unwrap();
    writeln!(told, "{}", directory.path().display()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let number = |line: String| line.rsplit_once("recorded ")?.1.parse::<u64>().ok();
    let mut recorded: Vec<u64> = Vec::new();
    while recorded.len() < BEFORE {
        let line = lines.next().expect("the child goes on").unwrap();
        recorded.extend(number(line));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    recorded.extend(lines.map_while(Result::ok).filter_map(number));
    assert_eq!(recorded, (0..recorded.len() as u64).collect::<Vec<_>>());

    let mut receiver = Receiver::always(Reply::Status(200)).await;
    let home = on_disk(directory.path());
    let running = Running::start(options(home, [endpoint("a", receiver.url())]));
    assert_eq!(receiver.numbers(recorded.len()).await, recorded);
    running.stop().await;
}
