//! Queues keep what they were given, in order and within bounds, over restarts and power cuts.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::*;

const LIMITS: Limits = Limits {
    events: 4,
    bytes: 100,
};

fn keys(names: &[&str]) -> Vec<Key> {
    names.iter().map(|&name| (name.to_owned(), 0)).collect()
}

fn add(queues: &[usize], envelope: &str) -> Change {
    Change::Add {
        queues: queues.to_vec(),
        envelope: Bytes::copy_from_slice(envelope.as_bytes()),
    }
}

fn read(store: &Store, queue: usize) -> Vec<String> {
    let found = store.read(queue, 0, 100, 1000).unwrap();
    let text = |(_, envelope): (u64, Bytes)| String::from_utf8(envelope.to_vec()).unwrap();
    found.into_iter().map(text).collect()
}

fn memory(names: &[&str]) -> Store {
    Store::open(&Home::Memory, &keys(names), LIMITS).unwrap()
}

#[test]
fn queues_go_each_at_its_own_pace() {
    let mut store = memory(&["a", "b"]);
    let changes = [add(&[0, 1], "1"), add(&[1], "2"), add(&[0, 1], "3")];
    assert_eq!(store.apply(&changes, true).unwrap(), [0, 0]);
    assert_eq!(read(&store, 0), ["1", "3"]);
    assert_eq!(read(&store, 1), ["1", "2", "3"]);
    let taken = Change::Delivered { queue: 1, place: 1 };
    store.apply(&[taken], false).unwrap();
    assert_eq!(read(&store, 0), ["1", "3"]);
    assert_eq!(read(&store, 1), ["3"]);
    assert_eq!(store.cursors[1].pending(), 1);
    // Told twice, or of what never was.
    let changes = [1, 100].map(|place| Change::Delivered { queue: 1, place });
    store.apply(&changes, false).unwrap();
    assert_eq!(store.cursors[1].pending(), 0);
    store.apply(&[add(&[1], "4")], true).unwrap();
    assert_eq!(read(&store, 1), ["4"]);
}

#[test]
fn reading_is_bounded_but_never_stuck() {
    let mut store = memory(&["a"]);
    let changes = [add(&[0], "11"), add(&[0], "22"), add(&[0], "33")];
    store.apply(&changes, true).unwrap();
    let places = |from, count, bytes| -> Vec<u64> {
        let found = store.read(0, from, count, bytes).unwrap();
        found.into_iter().map(|(place, _)| place).collect()
    };
    assert_eq!(places(0, 2, 100), [0, 1]);
    assert_eq!(places(0, 9, 5), [0, 1]);
    assert_eq!(places(1, 9, 0), [1]);
    assert_eq!(places(3, 9, 9), [0_u64; 0]);
}

#[test]
fn at_the_bound_the_oldest_go() {
    let mut store = memory(&["a"]);
    let changes: Vec<Change> = (0..6).map(|n| add(&[0], &n.to_string())).collect();
    assert_eq!(store.apply(&changes, true).unwrap(), [2]);
    assert_eq!(read(&store, 0), ["2", "3", "4", "5"]);
    let large = "x".repeat(98);
    assert_eq!(store.apply(&[add(&[0], &large)], true).unwrap(), [2]);
    assert_eq!(read(&store, 0), ["4", "5", &large]);
    // One that never fits takes nobody's place.
    let larger = "x".repeat(101);
    assert_eq!(store.apply(&[add(&[0], &larger)], true).unwrap(), [1]);
    assert_eq!(read(&store, 0), ["4", "5", &large]);
}

#[test]
fn a_queue_goes_by_its_name_and_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::File(directory.path().join("new/events.redb"));
    let mut store = Store::open(&home, &keys(&["a", "b", "c"]), LIMITS).unwrap();
    let changes = [add(&[0], "for a"), add(&[1], "for b"), add(&[2], "for c")];
    store.apply(&changes, true).unwrap();
    assert!(matches!(
        Store::open(&home, &keys(&["a"]), LIMITS),
        Err(StoreError::InUse)
    ));
    drop(store);
    // In another order, one gone, one new.
    let store = Store::open(&home, &keys(&["d", "c", "a"]), LIMITS).unwrap();
    assert!(read(&store, 0).is_empty());
    assert_eq!(read(&store, 1), ["for c"]);
    assert_eq!(read(&store, 2), ["for a"]);
    drop(store);
    let store = Store::open(&home, &keys(&["b", "a"]), LIMITS).unwrap();
    assert!(read(&store, 0).is_empty());
    assert_eq!(read(&store, 1), ["for a"]);
}

#[test]
fn another_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.redb");
    let database = Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(FORMAT).unwrap().insert((), 2).unwrap();
    write.commit().unwrap();
    drop(database);
    assert!(matches!(
        Store::open(&Home::File(path), &[], LIMITS),
        Err(StoreError::Format(2))
    ));
}

/// A disk on which only what was synced survives a power cut.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Bytewise>>);

#[derive(Debug, Default)]
struct Bytewise {
    now: Vec<u8>,
    synced: Vec<u8>,
}

impl Disk {
    fn after_a_power_cut(&self) -> Self {
        let synced = self.0.lock().unwrap().synced.clone();
        Self(Arc::new(Mutex::new(Bytewise {
            now: synced.clone(),
            synced,
        })))
    }

    fn store(&self) -> Store {
        let database = Database::builder().create_with_backend(self.clone());
        Store::over(database.unwrap(), &keys(&["a"]), LIMITS).unwrap()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0.lock().unwrap().now[from..from + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        self.0.lock().unwrap().now.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.synced = disk.now.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        self.0.lock().unwrap().now[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

#[test]
fn what_is_durable_survives_a_power_cut_and_the_rest_comes_with_it() {
    let disk = Disk::default();
    let mut store = disk.store();
    store.apply(&[add(&[0], "1")], true).unwrap();
    assert_eq!(read(&disk.after_a_power_cut().store(), 0), ["1"]);
    store.apply(&[add(&[0], "2")], false).unwrap();
    store
        .apply(&[Change::Delivered { queue: 0, place: 0 }], false)
        .unwrap();
    assert_eq!(read(&store, 0), ["2"]);
    assert_eq!(read(&disk.after_a_power_cut().store(), 0), ["1"]);
    store.apply(&[], true).unwrap();
    assert_eq!(read(&disk.after_a_power_cut().store(), 0), ["2"]);
}
