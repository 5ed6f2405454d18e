//! A process is stopped wherever it happens to be in writing links, its epoch ends, and it goes on.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::*;

/// Tells the writer where to write, and under which epoch.
const ROOT: &str = "ROADSTEAD_TEST_FENCE_ROOT";
const EPOCH: &str = "ROADSTEAD_TEST_FENCE_EPOCH";

/// On a machine that has better things to do.
const DEADLINE: Duration = Duration::from_mins(1);

const ROUNDS: u64 = 30;

#[expect(clippy::disallowed_methods, reason = "how the test below tells it")]
fn told(key: &str) -> String {
    std::env::var(key).expect("is run by the test below")
}

#[tokio::test]
#[ignore = "the process that is stopped, run by the test below"]
async fn writer() {
    let driver = Filesystem::open(Path::new(&told(ROOT))).unwrap();
    let epoch = told(EPOCH).parse().unwrap();
    let is_held = &|| true;
    for n in 0_u64.. {
        let path = format!("/links/{epoch}/{n}/link").parse().unwrap();
        let content = "x".into();
        let put = driver.put_under(Under { epoch, is_held }, vec![Put { path, content }]);
        match put.await {
            Ok(()) => {}
            Err(Error::Fenced) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn links(root: &Path, epoch: u64) -> Vec<u64> {
    let Ok(directories) = fs::read_dir(root.join(format!("links/{epoch}"))) else {
        return Vec::new();
    };
    let directories = directories.map(|entry| entry.unwrap().path());
    let linked = directories.filter(|directory| directory.join("link").is_file());
    let numbers = linked.map(|it| it.file_name().unwrap().to_str().unwrap().parse().unwrap());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

fn is_stopped(child: &Child) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let mut tasks = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("stat")));
    tasks.all(|stat| {
        // A thread may have ended while this was read.
        stat.map_or(true, |stat| {
            let (_, state) = stat.rsplit_once(')').unwrap();
            state.trim_start().starts_with('T')
        })
    })
}

/// Killed when the test fails.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test]
async fn a_stopped_writer_is_fenced_wherever_it_stood() {
    let root = tempfile::tempdir().unwrap();
    let driver = Filesystem::open(root.path()).unwrap();
    for epoch in 1..=ROUNDS {
        driver.begin_epoch(epoch).await.unwrap();
        let mut writer = Command::new(std::env::current_exe().unwrap());
        let writer = writer
            .args(["--ignored", "--exact", "filesystem::fence_tests::writer"])
            .env(ROOT, root.path())
            .env(EPOCH, epoch.to_string());
        let mut writer = Writer(writer.spawn().unwrap());
        let enough = usize::try_from(epoch).unwrap();
        until("the writer writes", || {
            links(root.path(), epoch).len() >= enough
        })
        .await;
        let pid = Pid::from_child(&writer.0);
        kill_process(pid, Signal::STOP).unwrap();
        until("all of it stands still", || is_stopped(&writer.0)).await;
        driver.end_epochs(&[epoch]).await.unwrap();
        let before = links(root.path(), epoch);
        kill_process(pid, Signal::CONT).unwrap();
        until("the writer is fenced", || {
            writer.0.try_wait().unwrap().is_some()
        })
        .await;
        assert!(writer.0.wait().unwrap().success(), "it was told so");
        assert_eq!(links(root.path(), epoch), before, "nothing came late");
    }
    let temporary = fs::read_dir(root.path().join("roadstead/tmp")).unwrap();
    assert_eq!(temporary.count(), 0, "no leftovers");
}
