//! A group in one process: it begins, hands over, goes on without a leader that left, and takes members in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::transport::{Dial as _, Identity};
use roadstead_metadata::{
    BUDGET, Command, Metadata as _, Origin, Outcome, Remote, RemoteOptions, Segment, SessionId,
    Timestamp, boot_time, system_clock,
};
use roadstead_metadata_server::{Failed, Options, Server};
use roadstead_oci::{Algorithm, Hasher};
use roadstead_proto::metadata::v1::cluster_client::ClusterClient;
use roadstead_proto::metadata::v1::{RejoinRequest, StatusResponse};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;

const DEADLINE: Duration = Duration::from_mins(1);

fn identity() -> Identity {
    Identity::from_secret(b"the secret of this test").expect("an identity")
}

/// A member in a runtime of its own, so that nothing of it outlives it.
struct Running {
    runtime: Runtime,
    drain: CancellationToken,
    ended: JoinHandle<Result<(), Failed>>,
}

fn start(id: u64, dir: &Path, peers: &BTreeMap<u64, String>, listener: TcpListener) -> Running {
    let options = Options {
        id,
        dir: dir.join(id.to_string()),
        peers: peers.clone(),
        identity: identity(),
        clock: system_clock(),
        import: None,
    };
    let listener = listener.into_std().expect("a listener");
    let drain = CancellationToken::new();
    let until = drain.clone();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let ended = runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).expect("a listener");
        let server = Server::build(options).await.expect("a member");
        server.run(listener, until).await
    });
    Running {
        runtime,
        drain,
        ended,
    }
}

async fn stop(running: Running) {
    running.drain.cancel();
    running
        .ended
        .await
        .expect("its task")
        .expect("an orderly end");
    running.runtime.shutdown_background();
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

/// Members 1 to 3, and their addresses.
async fn three(dir: &Path) -> (BTreeMap<u64, Running>, BTreeMap<u64, String>) {
    let mut listeners = Vec::new();
    let mut peers = BTreeMap::new();
    for id in 1..=3 {
        let (listener, addr) = listen().await;
        peers.insert(id, addr);
        listeners.push((id, listener));
    }
    let mut running = BTreeMap::new();
    for (id, listener) in listeners {
        running.insert(id, start(id, dir, &peers, listener));
    }
    (running, peers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_begins_hands_over_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut running, peers) = three(dir.path()).await;
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

/// Large places, so that the state has several pieces.
fn long_append(opened: Timestamp, from: u64) -> Command {
    match append(opened, from) {
        Command::Append {
            origin,
            from,
            mut segment,
            state,
        } => {
            segment.place = format!("{:->8192}", segment.place);
            Command::Append {
                origin,
                from,
                segment,
                state,
            }
        }
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_is_sent_the_state() {
    const APPENDS: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let (mut running, peers) = three(dir.path()).await;
    let remote = remote(peers.values().cloned().collect());
    let opened = tokio::time::timeout(DEADLINE, remote.now());
    let opened = opened.await.unwrap().unwrap();
    remote.propose(long_append(opened, 0)).await.unwrap();
    let leader = leader(&remote).await;
    let away = peers.keys().copied().find(|id| *id != leader).unwrap();
    stop(running.remove(&away).unwrap()).await;
    for from in 1..APPENDS {
        remote.propose(long_append(opened, from)).await.unwrap();
    }
    let first_after = status_of(&remote, &peers[&leader]).await;
    let snapshot = first_after.snapshot.expect("a snapshot of the leader");
    let listener = TcpListener::bind(&peers[&away]).await.unwrap();
    let_go(&dir.path().join(away.to_string())).await;
    running.insert(away, start(away, dir.path(), &peers, listener));
    let (goal, addr) = (first_after.last_log, &peers[&away]);
    let caught_up = async {
        loop {
            let status = status_of(&remote, addr).await;
            if status.applied >= goal {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let status = tokio::time::timeout(DEADLINE, caught_up).await.unwrap();
    assert!(
        status.snapshot >= Some(snapshot),
        "it began with a snapshot of the leader: {status:?}"
    );
    // It counts from now on: the other follower goes, and the two of them go on.
    let other = peers
        .keys()
        .copied()
        .find(|id| *id != leader && *id != away);
    stop(running.remove(&other.unwrap()).unwrap()).await;
    let outcome = remote.propose(long_append(opened, APPENDS)).await.unwrap();
    assert_eq!(
        outcome,
        Outcome::Appended {
            offset: APPENDS + 1
        }
    );
    let segments = remote.segments(SessionId([1; 16])).await.unwrap();
    assert_eq!(segments.len() as u64, APPENDS + 1);
    for (_, member) in running {
        stop(member).await;
    }
}

/// Waits until the file of a member that has ended can be opened again.
async fn let_go(dir: &Path) {
    let file = dir.join("raft.redb");
    let opened = async {
        while redb::Database::open(&file).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, opened)
        .await
        .expect("its file");
}

async fn status_of(remote: &Remote, addr: &str) -> StatusResponse {
    let all = remote.status().await;
    let mut mine = all.into_iter().filter(|(told, _)| told == addr);
    mine.find_map(|(_, status)| status.ok()).unwrap_or_default()
}

async fn leader(remote: &Remote) -> u64 {
    let told = remote.status().await;
    let mut told = told.into_iter().filter_map(|(_, status)| status.ok());
    told.find_map(|status| status.leader).expect("a leader")
}

/// It asks as the member would.
async fn rejoin(addr: &str, id: u64, mine: &str, incarnation: [u8; 16]) -> Result<(), Status> {
    let link = identity().dial(addr).expect("an address");
    let request = RejoinRequest {
        id,
        addr: mine.to_owned(),
        incarnation: incarnation.to_vec(),
    };
    let answer = ClusterClient::new(link).rejoin(request).await;
    answer.map(drop)
}

async fn voters(remote: &Remote, addr: &str) -> Vec<u64> {
    let members = status_of(remote, addr).await.members;
    let voters = members.into_iter().filter(|member| member.voter);
    voters.map(|member| member.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_go_only_while_the_others_can_decide() {
    let dir = tempfile::tempdir().unwrap();
    let (mut running, peers) = three(dir.path()).await;
    let remote = remote(peers.values().cloned().collect());
    let opened = tokio::time::timeout(DEADLINE, remote.now());
    let opened = opened.await.unwrap().unwrap();
    let leader = leader(&remote).await;
    let mut others = peers.keys().copied().filter(|id| *id != leader);
    let (away, there) = (others.next().unwrap(), others.next().unwrap());
    let late = rejoin(&peers[&leader], there, &peers[&there], [9; 16]).await;
    let late = late.expect_err("that disk is nowhere");
    assert!(late.message().contains("with that disk"), "{late:?}");
    stop(running.remove(&away).unwrap()).await;
    let refused = remote.remove(there).await.expect_err("two would be left");
    assert!(refused.0.contains(&format!("[{away}] do not")), "{refused}");
    let mut all = vec![leader, away, there];
    all.sort_unstable();
    assert_eq!(voters(&remote, &peers[&leader]).await, all);
    let outcome = remote.propose(append(opened, 0)).await.unwrap();
    assert_eq!(outcome, Outcome::Appended { offset: 1 });
    remote.remove(away).await.expect("the others can decide");
    remote
        .remove(there)
        .await
        .expect("the last one decides alone");
    assert_eq!(voters(&remote, &peers[&leader]).await, [leader]);
    let none = remote.remove(away).await.expect_err("it is gone");
    assert!(none.0.contains("is no member"), "{none}");
    let last = remote.remove(leader).await.expect_err("nobody is left");
    assert!(last.0.contains("last member"), "{last}");
    let outcome = remote.propose(append(opened, 1)).await.unwrap();
    assert_eq!(outcome, Outcome::Appended { offset: 2 });
    for (_, member) in running {
        stop(member).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_is_a_group() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, addr) = listen().await;
    let peers = BTreeMap::from([(1, addr.clone())]);
    let member = start(1, dir.path(), &peers, listener);
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
