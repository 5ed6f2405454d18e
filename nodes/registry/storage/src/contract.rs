//! What every driver must do, as one suite. Panics with a sentence where a driver does not.

#![expect(
    clippy::panic,
    reason = "a suite of assertions, which only tests compile"
)]

mod creating;
mod ensured;
mod fencing;
mod leaves;
mod removing;

use std::future::Future;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt as _;

use crate::driver::{Attempt, Driver, Entry, Publication, Put, Staged};
use crate::{Error, StorePath};

/// What becomes of a file that is removed while somebody reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is read to its end.
    Stays,
    /// The store keeps nothing: it is read to its end, or the stream ends with an error.
    MayBreak,
}

/// What stores of a kind promise, beyond what all do.
#[derive(Debug, Clone, Copy)]
pub struct Promises {
    pub removed: Removed,
    /// Of several who each write a file that is not there yet, all learn whose is.
    pub makes_one: bool,
    /// A file that is put while another writer removes the one before it is never removed instead.
    pub removes_only_what_was_seen: bool,
    /// A directory in which there is no file any more is not listed.
    pub forgets_empty_directories: bool,
    pub fenced: Fenced,
}

/// How writers are kept from writing late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fenced {
    /// By what is in the store.
    AtOnce,
    /// Their requests expire.
    ByExpiry,
}

/// Runs the whole suite; `make` gives an empty store each time.
pub async fn check(make: &(dyn Fn() -> Box<dyn Driver> + Sync)) {
    let all = Promises {
        removed: Removed::Stays,
        makes_one: true,
        removes_only_what_was_seen: true,
        forgets_empty_directories: true,
        fenced: Fenced::AtOnce,
    };
    check_with(make, all).await;
}

/// Runs the whole suite against a store of that kind.
pub async fn check_with(make: &(dyn Fn() -> Box<dyn Driver> + Sync), promises: Promises) {
    small_files(&*make()).await;
    ensured::small_files(&*make()).await;
    creating::small_files(&*make()).await;
    if promises.makes_one {
        creating::races(&*make()).await;
    }
    absence(&*make()).await;
    listing(&*make()).await;
    removing::removal(&*make()).await;
    staging(&*make()).await;
    publishing(&*make()).await;
    publishing_what_is_damaged(&*make()).await;
    reading(&*make(), promises.removed).await;
    atomicity(make()).await;
    removing::racing_removals(make()).await;
    removing::removal_of_what_was_seen(&*make()).await;
    leaves::of_directories(&*make()).await;
    fencing::writes(&*make(), promises.fenced).await;
    fencing::removals(make().into(), promises.fenced).await;
    if promises.forgets_empty_directories {
        removing::empty_directories(&*make()).await;
    }
    if promises.removes_only_what_was_seen {
        removing::racing_replacements(&*make()).await;
    }
}

fn path(text: &str) -> StorePath {
    text.parse().expect("a path")
}

async fn put(driver: &dyn Driver, at: &str, content: &'static [u8]) {
    driver
        .put(vec![Put {
            path: path(at),
            content: content.into(),
        }])
        .await
        .expect("a small file is written");
}

async fn get(driver: &dyn Driver, at: &str) -> Bytes {
    driver
        .get(&path(at), 1 << 20)
        .await
        .expect("a small file is read")
}

async fn is_absent<T>(what: impl Future<Output = Result<T, Error>>) {
    assert!(
        matches!(what.await, Err(Error::NotFound(_))),
        "what is absent is NotFound"
    );
}

async fn small_files(driver: &dyn Driver) {
    put(driver, "/a/b/c", b"one").await;
    assert_eq!(get(driver, "/a/b/c").await, "one");
    put(driver, "/a/b/c", b"another").await;
    assert_eq!(
        get(driver, "/a/b/c").await,
        "another",
        "a second put replaces the first"
    );
    put(driver, "/a/empty", b"").await;
    assert_eq!(get(driver, "/a/empty").await, "");
    let stat = driver.stat(&path("/a/b/c")).await.expect("stat of a file");
    assert_eq!((stat.size, stat.is_directory), (7, false));
    assert!(
        driver
            .stat(&path("/a/b"))
            .await
            .expect("stat of a directory")
            .is_directory
    );
    let limited = driver.get(&path("/a/b/c"), 6).await;
    assert!(
        matches!(limited, Err(Error::TooLarge { limit: 6, .. })),
        "a limit is kept"
    );
    assert_eq!(
        driver
            .get(&path("/a/b/c"), 7)
            .await
            .expect("just as large as the limit"),
        "another"
    );
    driver
        .settle(&[path("/a/b/c"), path("/a/empty")])
        .await
        .expect("what is there can be settled");
    let many = (0..20)
        .map(|n| Put {
            path: path(&format!("/many/{n}/x")),
            content: "x".into(),
        })
        .collect();
    driver.put(many).await.expect("many at once");
    assert_eq!(get(driver, "/many/19/x").await, "x");
}

async fn absence(driver: &dyn Driver) {
    let nowhere = path("/no/where");
    is_absent(driver.stat(&nowhere)).await;
    is_absent(driver.get(&nowhere, 10)).await;
    is_absent(driver.open(&nowhere)).await;
    is_absent(driver.remove(&nowhere)).await;
    is_absent(driver.settle(std::slice::from_ref(&nowhere))).await;
    is_absent(driver.list(&nowhere, None, 10)).await;
    put(driver, "/file", b"x").await;
    is_absent(driver.get(&path("/file/below"), 10)).await;
    is_absent(driver.get(&path("/fil"), 10)).await;
    put(driver, "/dir/file", b"x").await;
    is_absent(driver.get(&path("/dir"), 10)).await;
    assert!(driver.open_staged("nothing").await.is_err());
    driver
        .discard(&["nothing".to_owned()])
        .await
        .expect("giving up what is not there is no error");
}

async fn listing(driver: &dyn Driver) {
    for name in ["b", "a-b", "a/x", "a.b", "a0", "c/d/e"] {
        put(driver, &format!("/l/{name}"), b"").await;
    }
    let all = driver
        .list(&path("/l"), None, 100)
        .await
        .expect("a listing");
    let entry = |name: &str, is_directory| Entry {
        name: name.to_owned(),
        is_directory,
    };
    let expected = [
        entry("a", true),
        entry("a-b", false),
        entry("a.b", false),
        entry("a0", false),
        entry("b", false),
        entry("c", true),
    ];
    assert_eq!(all, expected, "names in byte order, each once");
    for limit in 1..7 {
        let mut pages = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = driver
                .list(&path("/l"), after.as_deref(), limit)
                .await
                .expect("a page");
            let Some(last) = page.last() else { break };
            assert!(page.len() <= limit, "a page is no longer than asked for");
            after = Some(last.name.clone());
            pages.extend(page);
        }
        assert_eq!(pages, expected, "pages of {limit} add up");
    }
    assert_eq!(
        driver
            .list(&path("/l"), Some("zzz"), 5)
            .await
            .expect("behind the end"),
        []
    );
    assert_eq!(
        driver
            .list(&path("/l"), None, 0)
            .await
            .expect("nothing asked"),
        []
    );
}

/// Pieces of odd sizes, `length` bytes in all, each byte telling its place.
fn pieces(from: usize, length: usize) -> Vec<Bytes> {
    let content: Vec<u8> = (from..from + length).map(byte).collect();
    content.chunks(977).map(Bytes::copy_from_slice).collect()
}

fn byte(at: usize) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8)).to_le_bytes()[0]
}

async fn stage(driver: &dyn Driver, from: usize, length: usize) -> Staged {
    let mut stage = driver.stage("contract").await.expect("a stage");
    let pieces = pieces(from, length);
    let (first, second) = pieces.split_at(pieces.len() / 2);
    stage.write(first.to_vec()).await.expect("a write");
    stage.write(Vec::new()).await.expect("a write of nothing");
    stage.write(second.to_vec()).await.expect("a write");
    let staged = stage.finish().await.expect("finished");
    assert_eq!(staged.length, length as u64);
    staged
}

async fn content(opened: crate::driver::Opened, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut stream = opened.object.read(range);
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece.expect("a piece"));
    }
    all
}

/// Whether these are the bytes that [`pieces`] gives from here.
fn is_pattern(bytes: &[u8], from: usize) -> bool {
    bytes
        .iter()
        .enumerate()
        .all(|(at, read)| *read == byte(from + at))
}

async fn places(driver: &dyn Driver) -> Vec<String> {
    let future = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 200);
    driver
        .staged(future, None, 100)
        .await
        .expect("a listing of what is staged")
}

async fn staging(driver: &dyn Driver) {
    let staged = stage(driver, 0, 100_000).await;
    let opened = driver
        .open_staged(&staged.place)
        .await
        .expect("what is staged can be read");
    assert_eq!(opened.size, 100_000);
    let read = content(opened, 0..100_000).await;
    assert!(is_pattern(&read, 0), "staged bytes come back");
    assert_eq!(places(driver).await, [staged.place.as_str()]);
    assert_eq!(
        driver
            .staged(SystemTime::UNIX_EPOCH, None, 10)
            .await
            .expect("none is that old"),
        [""; 0]
    );
    let other = stage(driver, 0, 5).await;
    assert_ne!(
        other.place, staged.place,
        "each stage has a place of its own"
    );
    driver
        .discard(&[staged.place, other.place])
        .await
        .expect("discarded");
    assert_eq!(places(driver).await, [""; 0]);
    let mut abandoned = driver.stage("abandoned").await.expect("a stage");
    abandoned.write(pieces(0, 10)).await.expect("a write");
    drop(abandoned);
    for _ in 0..1000 {
        if places(driver).await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("an abandoned stage takes its bytes with it");
}

async fn publishing(driver: &dyn Driver) {
    for parts in 0..4_usize {
        let target = path(&format!("/deep/er/{parts}/data"));
        let mut staged = Vec::new();
        for part in 0..parts {
            staged.push(stage(driver, part * 70_000, 70_000).await);
        }
        let published = driver.publish(&staged, &target, Attempt::First).await;
        assert_eq!(published.expect("published"), Publication::New);
        let opened = driver
            .open(&target)
            .await
            .expect("what is published can be read");
        let size = opened.size;
        assert_eq!(size, parts as u64 * 70_000);
        let read = content(opened, 0..size).await;
        assert!(is_pattern(&read, 0), "{parts} parts in their order");
        let again: Vec<Staged> = match parts {
            0 => Vec::new(),
            _ => vec![stage(driver, 0, parts * 70_000).await],
        };
        let published = driver.publish(&again, &target, Attempt::First).await;
        assert_eq!(published.expect("published again"), Publication::Existed);
    }
}

async fn publishing_what_is_damaged(driver: &dyn Driver) {
    let target = path("/deep/lost/data");
    let lost = Staged {
        place: "contract.lost".to_owned(),
        length: 3,
    };
    let published = driver.publish(&[lost], &target, Attempt::First).await;
    assert!(
        matches!(published, Err(Error::Damaged)),
        "missing parts are damage"
    );
    is_absent(driver.stat(&target)).await;
    let short = Staged {
        length: 9,
        ..stage(driver, 0, 5).await
    };
    let published = driver.publish(&[short], &target, Attempt::First).await;
    assert!(
        matches!(published, Err(Error::Damaged)),
        "so are short ones"
    );
    is_absent(driver.stat(&target)).await;
    let torn = path("/torn/data");
    put(
        driver,
        torn.as_str(),
        b"what a crash of another registry left",
    )
    .await;
    let whole = stage(driver, 0, 70_000).await;
    assert_eq!(
        driver
            .publish(&[whole], &torn, Attempt::First)
            .await
            .expect("replaced"),
        Publication::New
    );
    assert_eq!(driver.stat(&torn).await.expect("there").size, 70_000);
}

async fn reading(driver: &dyn Driver, removed: Removed) {
    let length = 1_000_003_usize;
    let staged = stage(driver, 0, length).await;
    let target = path("/read/data");
    driver
        .publish(&[staged], &target, Attempt::First)
        .await
        .expect("published");
    let end = length as u64;
    let piece = 256 * 1024;
    for range in [
        0..end,
        0..1,
        end - 1..end,
        piece - 1..piece + 1,
        12_345..987_654,
        5..5,
        piece..2 * piece,
    ] {
        let opened = driver.open(&target).await.expect("open");
        let read = content(opened, range.clone()).await;
        assert_eq!(
            read.len() as u64,
            range.end - range.start,
            "{range:?} has its length"
        );
        let first = usize::try_from(range.start).expect("small");
        assert!(is_pattern(&read, first), "{range:?} has its bytes");
    }
    let opened = driver.open(&target).await.expect("open");
    driver.remove(&target).await.expect("removed while open");
    let mut stream = opened.object.read(0..end);
    let mut read = Vec::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => read.extend_from_slice(&piece),
            Err(_) if removed == Removed::MayBreak => return,
            Err(error) => panic!("what is open stays readable: {error}"),
        }
    }
    assert_eq!(read.len(), length, "a stream without an error is whole");
    assert!(is_pattern(&read, 0), "and has its bytes");
}

/// Readers see one writer's content, whole, at every moment.
async fn atomicity(driver: Box<dyn Driver>) {
    let driver: std::sync::Arc<dyn Driver> = driver.into();
    let target = path("/atomic/x");
    driver
        .put(vec![Put {
            path: target.clone(),
            content: vec![b'0'; 5000].into(),
        }])
        .await
        .expect("first");
    let writers = (0..4_u8).map(|n| {
        let (driver, target) = (std::sync::Arc::clone(&driver), target.clone());
        tokio::spawn(async move {
            for _ in 0..50 {
                let content = vec![b'a' + n; 5000].into();
                driver
                    .put(vec![Put {
                        path: target.clone(),
                        content,
                    }])
                    .await
                    .expect("written");
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let read = driver
            .get(&target, 1 << 20)
            .await
            .expect("there at every moment");
        assert_eq!(read.len(), 5000, "never half a file");
        assert!(read.iter().all(|b| *b == read[0]), "never a mix of two");
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.expect("no writer failed");
    }
}
