//! The store against openraft's own suite, a disk that fails, and a process that ends at any point.

use std::sync::atomic::{AtomicBool, Ordering};

use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload, RaftLogReader as _, RaftSnapshotBuilder as _};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use roadstead_machine::{Command, Entry, Outcome, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::types::{Change, Proposed, StorageError, TypeConfig};

struct Fresh;

impl StoreBuilder<TypeConfig, LogStore, StateStore, TempDir> for Fresh {
    async fn build(&self) -> Result<(TempDir, LogStore, StateStore), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("raft.redb"), 1).unwrap();
        Ok((dir, store.logs(), store.states()))
    }
}

#[test]
fn the_suite_of_openraft_is_passed() {
    Suite::test_all(Fresh).unwrap();
}

fn entry(index: u64, secret: u8) -> LogEntry {
    let command = Command::AdoptSecret {
        secret: vec![secret; 32],
    };
    let proposed = Proposed {
        until: Timestamp(u64::MAX),
        entry: Entry {
            at: Timestamp(index),
            command,
        },
    };
    LogEntry {
        log_id: LogId::new(CommittedLeaderId::new(1, 1), index),
        payload: EntryPayload::Normal(Change::Commands(vec![proposed])),
    }
}

fn indices(store: &Store) -> Vec<u64> {
    store.0.log().entries.keys().copied().collect()
}

/// A leader that crashed stands again before it leads: its log may have gone on without it.
#[tokio::test]
async fn a_leader_does_not_go_on_in_its_term_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    for (leader, read) in [(1, Vote::new(2, 1)), (3, Vote::new_committed(2, 3))] {
        let store = Store::open(&path, 1).unwrap();
        let confirmed = Vote::new_committed(2, leader);
        store.logs().save_vote(&confirmed).await.unwrap();
        drop(store);
        let store = Store::open(&path, 1).unwrap();
        assert_eq!(store.logs().read_vote().await.unwrap(), Some(read));
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deeper/raft.redb");
    let store = Store::open(&path, 1).unwrap();
    let incarnation = store.incarnation();
    assert!(store.is_blank());
    assert!(matches!(Store::open(&path, 1), Err(StoreError::InUse)));
    let vote = Vote::new(2, 1);
    store.logs().save_vote(&vote).await.unwrap();
    let entries: Vec<_> = (0..9).map(|index| entry(index, 1)).collect();
    store.logs().blocking_append(entries.clone()).await.unwrap();
    store.logs().truncate(entries[7].log_id).await.unwrap();
    store.states().apply(entries[..5].to_vec()).await.unwrap();
    let mut builder = store.states().get_snapshot_builder().await;
    builder.build_snapshot().await.unwrap();
    store.logs().purge(entries[3].log_id).await.unwrap();
    drop((builder, store));

    let store = Store::open(&path, 1).unwrap();
    assert_eq!(store.incarnation(), incarnation);
    assert!(!store.is_blank());
    assert_eq!(store.logs().read_vote().await.unwrap(), Some(vote));
    assert_eq!(indices(&store), [4, 5, 6]);
    assert_eq!(
        store.look(|machine| machine.secret().map(<[u8]>::len)),
        Some(32)
    );
    let (applied, _) = store.states().applied_state().await.unwrap();
    assert_eq!(applied, Some(entries[4].log_id));
    drop(store);
    assert!(matches!(
        Store::open(&path, 2),
        Err(StoreError::OtherMember(1))
    ));
}

#[test]
fn only_its_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    let _store = Store::open(&path, 1).unwrap();
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_command_that_comes_too_late_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("raft.redb"), 1).unwrap();
    let mut late = entry(10, 1);
    if let EntryPayload::Normal(Change::Commands(commands)) = &mut late.payload {
        commands[0].until = Timestamp(9);
    }
    let answers = store.states().apply([late]).await.unwrap();
    assert_eq!(answers[0].0, [None]);
    assert_eq!(
        store.look(|machine| machine.secret().map(<[u8]>::len)),
        None
    );
    let in_time = store.states().apply([entry(11, 2)]).await.unwrap();
    assert!(matches!(&in_time[0].0[..], [Some(Outcome::Secret { .. })]));
}

#[tokio::test]
async fn a_state_is_imported_into_a_group_that_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("raft.redb"), 1).unwrap();
    let import = |index, secret: u8| {
        let mut machine = Machine::default();
        machine.apply(Entry {
            at: Timestamp(1),
            command: Command::AdoptSecret {
                secret: vec![secret; 8],
            },
        });
        LogEntry {
            payload: EntryPayload::Normal(Change::Import(machine.encode().unwrap())),
            ..entry(index, 0)
        }
    };
    store.states().apply([import(1, 7)]).await.unwrap();
    store.states().apply([import(2, 8)]).await.unwrap();
    assert_eq!(
        store.look(|machine| machine.secret().map(<[u8]>::to_vec)),
        Some(vec![7; 8])
    );
}

/// A disk in memory that can be full.
#[derive(Debug)]
struct Fails {
    inner: InMemoryBackend,
    full: Arc<AtomicBool>,
}

impl Fails {
    fn check(&self) -> std::io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl StorageBackend for Fails {
    fn len(&self) -> std::io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check()?;
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.check()?;
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check()?;
        self.inner.write(offset, data)
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_on_a_full_disk_nor_afterwards() {
    let full = Arc::new(AtomicBool::new(false));
    let backend = Fails {
        inner: InMemoryBackend::new(),
        full: Arc::clone(&full),
    };
    let store = Store::on(Disk::on(backend).unwrap(), 1).unwrap();
    store.logs().blocking_append([entry(0, 1)]).await.unwrap();
    full.store(true, Ordering::Relaxed);
    assert!(store.logs().blocking_append([entry(1, 1)]).await.is_err());
    let told = store.failure().borrow().clone();
    assert!(told.is_some(), "the member is told to end");
    full.store(false, Ordering::Relaxed);
    assert!(store.logs().save_vote(&Vote::new(2, 1)).await.is_err());
    assert!(store.logs().blocking_append([entry(2, 1)]).await.is_err());
}

#[tokio::test]
async fn messages_to_others_are_bounded_and_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("raft.redb"), 1).unwrap();
    let large = |index| {
        let mut entry = entry(index, 1);
        entry.payload = EntryPayload::Normal(Change::Import(vec![0; 700 << 10]));
        entry
    };
    let entries: Vec<_> = (0..3).map(large).collect();
    store.logs().blocking_append(entries).await.unwrap();
    let first = store.logs().limited_get_log_entries(0, 3).await.unwrap();
    assert_eq!(first.len(), 1);
}
