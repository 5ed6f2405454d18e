//! A group in one process: it begins, hands over, goes on without a leader that left, and takes members in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::transport::Identity;
use roadstead_metadata::{
    BUDGET, Command, Metadata as _, Origin, Outcome, Remote, RemoteOptions, Segment, SessionId,
    Timestamp, boot_time, system_clock,
};
use roadstead_metadata_server::{Failed, Options, Server};
use roadstead_oci::{Algorithm, Hasher};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_mins(1);

fn identity() -> Identity {
    Identity::from_secret(b"the secret of this test").expect("an identity")
}

struct Running {
    drain: CancellationToken,
    ended: JoinHandle<Result<(), Failed>>,
}

async fn start(
    id: u64,
    dir: &Path,
    peers: &BTreeMap<u64, String>,
    listener: TcpListener,
) -> Running {
    let server = Server::build(Options {
        id,
        dir: dir.join(id.to_string()),
        peers: peers.clone(),
        identity: identity(),
        clock: system_clock(),
        import: None,
    });
    let server = server.await.expect("a member");
    let drain = CancellationToken::new();
    let ended = tokio::spawn(server.run(listener, drain.clone()));
    Running { drain, ended }
}

async fn stop(running: Running) {
    running.drain.cancel();
    running
        .ended
        .await
        .expect("its task")
        .expect("an orderly end");
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address").to_string();
    (listener, addr)
}

fn remote(members: Vec<String>) -> Arc<Remote> {
    let options = RemoteOptions {
        members,
        identity: identity(),
        budget: BUDGET * 3,
    };
    Arc::new(Remote::build(options, boot_time()).expect("a client"))
}

fn append(opened: Timestamp, from: u64) -> Command {
    Command::Append {
        origin: Origin {
            session: SessionId([1; 16]),
            repository: "a/b".parse().expect("a name"),
            opened,
        },
        from,
        segment: Segment {
            place: format!("place-{from}"),
            length: 1,
        },
        state: Hasher::new(Algorithm::Sha256).save(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_begins_hands_over_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut listeners = Vec::new();
    let mut peers = BTreeMap::new();
    for id in 1..=3 {
        let (listener, addr) = listen().await;
        peers.insert(id, addr);
        listeners.push((id, listener));
    }
    let mut running = BTreeMap::new();
    for (id, listener) in listeners {
        running.insert(id, start(id, dir.path(), &peers, listener).await);
    }
    let remote = remote(peers.values().cloned().collect());
    let opened = tokio::time::timeout(DEADLINE, remote.now())
        .await
        .unwrap()
        .unwrap();
    for from in 0..20 {
        let outcome = remote.propose(append(opened, from)).await.unwrap();
        assert_eq!(outcome, Outcome::Appended { offset: from + 1 });
    }
    let leader = leader(&remote).await;
    let begun = tokio::time::Instant::now();
    stop(running.remove(&leader).unwrap()).await;
    for from in 20..40 {
        let outcome = remote.propose(append(opened, from)).await.unwrap();
        assert_eq!(outcome, Outcome::Appended { offset: from + 1 });
    }
    println!("20 appends across a hand-over: {:?}", begun.elapsed());
    let segments = remote.segments(SessionId([1; 16])).await.unwrap();
    let places: Vec<_> = segments.into_iter().map(|segment| segment.place).collect();
    let expected: Vec<_> = (0..40).map(|from| format!("place-{from}")).collect();
    assert_eq!(places, expected);
    let asked = vec!["place-7".to_owned(), "elsewhere".to_owned()];
    assert_eq!(remote.unheld(asked).await.unwrap(), ["elsewhere"]);
    assert_eq!(remote.open_sessions().await.unwrap(), 1);
    for (_, member) in running {
        stop(member).await;
    }
}

async fn leader(remote: &Remote) -> u64 {
    let told = remote.status().await;
    let mut told = told.into_iter().filter_map(|(_, status)| status.ok());
    told.find_map(|status| status.leader).expect("a leader")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_is_a_group() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, addr) = listen().await;
    let peers = BTreeMap::from([(1, addr.clone())]);
    let member = start(1, dir.path(), &peers, listener).await;
    let remote = remote(vec![addr]);
    let opened = remote.now().await.unwrap();
    let outcome = remote.propose(append(opened, 0)).await.unwrap();
    assert_eq!(outcome, Outcome::Appended { offset: 1 });
    let cancel = Command::Cancel {
        origin: Origin {
            session: SessionId([1; 16]),
            repository: "a/b".parse().unwrap(),
            opened,
        },
    };
    let ended = remote.propose(cancel.clone()).await.unwrap();
    assert!(matches!(ended, Outcome::Discarded { sessions: 1, .. }));
    let again = remote.propose(cancel).await.unwrap();
    assert_eq!(
        again,
        Outcome::UnknownSession,
        "another request, not the same one again"
    );
    stop(member).await;
}
