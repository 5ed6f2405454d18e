//! A disk that fails is told to whoever waits, and is found again when it works.

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};

use super::*;

/// Memory that refuses to sync when told so, and whose content outlives a failure.
#[derive(Debug, Clone)]
struct Flaky {
    content: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
    syncs: Arc<AtomicU64>,
}

impl StorageBackend for Flaky {
    fn len(&self) -> io::Result<u64> {
        self.content.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.content.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.content.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.content.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.content.write(offset, data)
    }
}

fn open(disk: &Flaky) -> Result<Store, StoreError> {
    let database = Database::builder().create_with_backend(disk.clone())?;
    Store::over(database, &[("a".to_owned(), 0)], Limits::default())
}

async fn soon<T>(sentence: &str, future: impl Future<Output = T>) -> T {
    let within = tokio::time::timeout(Duration::from_secs(20), future);
    within
        .await
        .unwrap_or_else(|_elapsed| panic!("{sentence}: not within 20 s"))
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

struct Fixture {
    disk: Flaky,
    outbox: Outbox,
    thread: Thread,
    tally: Arc<Tally>,
}

fn fixture() -> Fixture {
    let disk = Flaky {
        content: Arc::new(InMemoryBackend::new()),
        full: Arc::default(),
        syncs: Arc::default(),
    };
    let tally = Arc::new(Tally::new("a".to_owned()));
    let again = disk.clone();
    let opened = Outbox::over(
        open(&disk).unwrap(),
        Box::new(move || open(&again)),
        vec![Arc::clone(&tally)],
    );
    let (outbox, thread) = opened.unwrap();
    Fixture {
        disk,
        outbox,
        thread,
        tally,
    }
}

#[tokio::test]
async fn a_disk_that_fails_is_told_and_found_again() {
    let Fixture {
        disk,
        outbox,
        tally,
        ..
    } = fixture();
    outbox.add(vec![0], bytes("1")).await.unwrap();
    let first = soon("the first", outbox.next(0, Position::default()))
        .await
        .unwrap();
    assert_eq!(first[0].envelope, "1");
    disk.full.store(true, Ordering::SeqCst);
    assert_eq!(outbox.add(vec![0], bytes("2")).await, Err(Failed));
    assert_eq!(outbox.add(vec![0], bytes("3")).await, Err(Failed));
    // What was handed out before the failure is of an opening that is over.
    outbox.delivered(0, first[0].position).await;
    disk.full.store(false, Ordering::SeqCst);
    outbox.tick().await;
    outbox.add(vec![0], bytes("4")).await.unwrap();
    let after = first[0].position.after();
    let again = soon("all again", outbox.next(0, after)).await.unwrap();
    let said: Vec<&Bytes> = again.iter().map(|waiting| &waiting.envelope).collect();
    assert_eq!(said.first().copied(), Some(&bytes("1")));
    assert_eq!(said.last().copied(), Some(&bytes("4")));
    tally.update(|metrics| assert_eq!(metrics.lost, 2));
}

#[tokio::test]
async fn closing_stores_what_was_taken_and_takes_no_more() {
    let Fixture {
        disk,
        outbox,
        thread,
        ..
    } = fixture();
    outbox.try_add(vec![0], bytes("1")).unwrap();
    outbox.close().await;
    tokio::task::spawn_blocking(move || thread.join().unwrap())
        .await
        .unwrap();
    assert_eq!(outbox.add(vec![0], bytes("2")).await, Err(Failed));
    assert_eq!(outbox.try_add(vec![0], bytes("2")), Err(Failed));
    assert!(outbox.next(0, Position::default()).await.is_none());
    let store = open(&disk).unwrap();
    assert_eq!(store.cursors[0].pending(), 1);
}

#[tokio::test]
async fn a_deliverer_that_waits_is_told_of_the_next_event() {
    let Fixture { outbox, .. } = fixture();
    let waits = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.next(0, Position::default()).await.unwrap() }
    });
    outbox.try_add(vec![0], bytes("1")).unwrap();
    let told = soon("the event", waits).await.unwrap();
    assert_eq!(told[0].envelope, "1");
    assert!(!outbox.is_dropped(0, told[0].position));
    outbox.delivered(0, told[0].position).await;
    outbox.add(vec![0], bytes("2")).await.unwrap();
    let next = soon("the next", outbox.next(0, told[0].position.after()))
        .await
        .unwrap();
    assert_eq!(next[0].envelope, "2");
}

#[tokio::test]
async fn what_nobody_waits_for_is_synced_by_the_tick() {
    let Fixture { disk, outbox, .. } = fixture();
    let syncs = || disk.syncs.load(Ordering::SeqCst);
    let before = syncs();
    outbox.try_add(vec![0], bytes("1")).unwrap();
    let stored = outbox.next(0, Position::default()).await.unwrap();
    outbox.delivered(0, stored[0].position).await;
    outbox.try_add(vec![0], bytes("2")).unwrap();
    let after = stored[0].position.after();
    outbox.next(0, after).await.unwrap();
    assert_eq!(syncs(), before);
    outbox.tick().await;
    // Answered after the turn in which the tick came.
    outbox.next(0, after).await.unwrap();
    let ticked = syncs();
    assert!(ticked > before);
    outbox.tick().await;
    outbox.next(0, after).await.unwrap();
    assert_eq!(syncs(), ticked, "there was nothing to sync");
}
