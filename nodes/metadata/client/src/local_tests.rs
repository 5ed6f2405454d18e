//! What is acknowledged is in the log; a log opened again is the same machine.

use std::sync::atomic::{AtomicU64, Ordering};

use roadstead_machine::{Origin, Segment};
use roadstead_oci::{Algorithm, Hasher};

use super::*;

fn clock() -> Clock {
    let time = AtomicU64::new(1000);
    Arc::new(move || Timestamp(time.fetch_add(1, Ordering::Relaxed)))
}

fn origin(n: u32) -> Origin {
    let mut session = [0; 16];
    session[..4].copy_from_slice(&n.to_be_bytes());
    Origin {
        session: SessionId(session),
        repository: "a/b".parse().unwrap(),
        opened: Timestamp(0),
    }
}

fn append(n: u32, from: u64) -> Command {
    let segment = Segment {
        place: format!("{n}-{from}"),
        length: 2,
    };
    Command::Append {
        origin: origin(n),
        from,
        segment,
        state: Hasher::new(Algorithm::Sha256).save(),
    }
}

#[tokio::test]
async fn the_log_survives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::File(directory.path().join("new/log.redb"));
    let first = Local::open(home.clone(), clock()).unwrap();
    assert_eq!(
        first.propose(append(1, 0)).await.unwrap(),
        Outcome::Appended { offset: 2 }
    );
    assert_eq!(
        first.propose(append(1, 2)).await.unwrap(),
        Outcome::Appended { offset: 4 }
    );
    let before = first.session(origin(1).session).await.unwrap();
    first.close();
    let second = Local::open(home, clock()).unwrap();
    assert_eq!(second.session(origin(1).session).await.unwrap(), before);
    let mut other = append(1, 2);
    if let Command::Append { segment, .. } = &mut other {
        segment.place = "elsewhere".to_owned();
    }
    assert_eq!(
        second.propose(other).await.unwrap(),
        Outcome::Conflict { offset: 4 }
    );
    assert_eq!(
        second.propose(append(1, 2)).await.unwrap(),
        Outcome::Appended { offset: 4 }
    );
}

#[tokio::test]
async fn a_second_process_is_told_that_the_log_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::File(directory.path().join("log.redb"));
    let _first = Local::open(home.clone(), clock()).unwrap();
    assert!(Local::open(home, clock()).unwrap_err().is_in_use());
}

#[tokio::test]
async fn a_long_log_is_shortened_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::File(directory.path().join("log.redb"));
    let first = Arc::new(Local::open(home.clone(), clock()).unwrap());
    let proposers: Vec<_> = (0..50_u32)
        .map(|n| {
            let local = Arc::clone(&first);
            tokio::spawn(async move {
                for from in 0..50 {
                    local.propose(append(n, from * 2)).await.unwrap();
                }
            })
        })
        .collect();
    for proposer in proposers {
        proposer.await.unwrap();
    }
    Arc::into_inner(first).unwrap().close();
    let second = Local::open(home, clock()).unwrap();
    for n in 0..50 {
        let Some(Standing::Receiving { offset, .. }) =
            second.session(origin(n).session).await.unwrap()
        else {
            panic!("session {n} is lost");
        };
        assert_eq!(offset, 100);
    }
}

#[test]
fn nobody_else_may_read_the_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.redb");
    let _local = Local::open(Home::File(path.clone()), clock()).unwrap();
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
