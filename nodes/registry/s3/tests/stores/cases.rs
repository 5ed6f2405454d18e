//! What the driver does with a bucket.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt as _;
use roadstead_s3::{Options, Parts, S3};
use roadstead_storage::contract::{self, Promises, Removed};
use roadstead_storage::{
    Attempt, Driver, Error, Fetch, Gone, Opened, Publication, Put, Read, Staged, StorePath,
};

use crate::server::{READER, Seaweed, credentials};

const MIB: usize = 1 << 20;
/// Long enough for a request on a machine that has better things to do.
const SOON: Duration = Duration::from_secs(30);

pub(crate) fn path(text: &str) -> StorePath {
    text.parse().expect("a path")
}

/// Bytes that tell where they stand.
pub(crate) fn pattern(from: usize, length: usize) -> Bytes {
    let byte = |at: usize| (at.wrapping_mul(31) ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0];
    (from..from + length).map(byte).collect()
}

pub(crate) async fn read(opened: Opened) -> Result<Vec<u8>, Error> {
    let size = opened.size;
    let mut all = Vec::new();
    let mut stream = opened.object.read(0..size);
    while let Some(piece) = stream.try_next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// Options for a part of a bucket.
pub(crate) type Make<'a> = &'a (dyn Fn(&str) -> Options + Sync);

/// Parts as small as S3 allows, so that little makes many.
fn small_parts(make: Make<'_>, root: &str) -> Options {
    Options {
        parts: Parts {
            chunk: 5 << 20,
            copy_chunk: 5 << 20,
            copy_threshold: 5 << 20,
            copy_concurrency: 4,
        },
        ..make(root)
    }
}

pub(crate) async fn connect(options: Options) -> S3 {
    S3::connect(&options).await.expect("a driver")
}

pub(crate) async fn put(driver: &S3, at: &str, content: Bytes) {
    let write = Put {
        path: path(at),
        content,
    };
    driver.put(vec![write]).await.expect("written");
}

pub(crate) async fn stage(driver: &S3, content: Bytes) -> Staged {
    let mut stage = driver.stage("case").await.expect("a stage");
    for piece in content.chunks(300_000) {
        let piece = content.slice_ref(piece);
        stage.write(vec![piece]).await.expect("written");
    }
    stage.finish().await.expect("finished")
}

pub(crate) fn far() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 200)
}

/// More than the suite asks for.
const STORES: usize = 20;

/// Those that are as strict as Amazon's keep more promises than others.
pub(crate) async fn contract(make: Make<'_>, is_strict: bool) {
    let mut drivers = Vec::new();
    for n in 0..STORES {
        drivers.push(connect(make(&format!("contract/{n}"))).await);
    }
    let drivers = Mutex::new(drivers);
    let next = || -> Box<dyn Driver> {
        let driver = drivers.lock().expect("not poisoned").pop();
        Box::new(driver.expect("enough"))
    };
    let promises = Promises {
        removed: Removed::MayBreak,
        makes_one: true,
        removes_only_what_was_seen: is_strict,
        forgets_empty_directories: is_strict,
        fenced: contract::Fenced::ByExpiry,
    };
    contract::check_with(&next, promises).await;
}

/// What has expired is refused, and a removal costs a listing and a request for each file.
pub(crate) async fn fences(make: Make<'_>) {
    let driver = connect(make("fences")).await;
    driver
        .prove_fences()
        .await
        .expect("what expired is refused");
    let gone = driver.stat(&path("/roadstead/fence")).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
    let all: Vec<StorePath> = (0..20).map(|n| path(&format!("/f/{n}"))).collect();
    for directory in &all {
        put(&driver, &format!("{directory}/link"), "x".into()).await;
    }
    let before = driver.requests();
    let yes = || futures::FutureExt::boxed(std::future::ready(true));
    let gone = driver.remove_fenced(&all, &yes).await.expect("removed");
    assert_eq!(gone, [Gone::Entirely; 20]);
    assert_eq!(driver.requests() - before, 40);
    // A store that lists directories for a while after their files are gone may list this one.
    let left = driver.leaves(&path("/f"), "link", Read::Nothing).await;
    let left = left.expect("listed");
    assert!(left.iter().all(|leaf| leaf.file.is_none()), "{left:?}");
}

/// Keys are the reference's, so that either finds what the other wrote.
pub(crate) async fn keys(make: Make<'_>) {
    let (bucket, driver) = (connect(make("")).await, connect(make("/some/where/")).await);
    let link = "/docker/registry/v2/repositories/a/_layers/sha256/00/link";
    put(&driver, link, "x".into()).await;
    let key = path(&format!("/some/where{link}"));
    assert_eq!(bucket.get(&key, 10).await.expect("its key"), "x");
    let staged = stage(&driver, "y".into()).await;
    let key = path(&format!("/some/where/roadstead/uploads/{}", staged.place));
    assert_eq!(bucket.get(&key, 10).await.expect("its key"), "y");
    let seen = bucket.list(&path("/some"), None, 10).await;
    assert_eq!(seen.expect("a listing").len(), 1);
}

/// What a push costs: nothing looks for what it knows.
pub(crate) async fn requests_of_a_push(make: Make<'_>) {
    let driver = connect(small_parts(make, "requests")).await;
    let push = async |name: &str, length: usize| {
        let before = driver.requests();
        let staged = stage(&driver, pattern(0, length)).await;
        let published = driver
            .publish(&[staged], &path(&format!("/{name}/data")), Attempt::First)
            .await;
        assert_eq!(published.expect("published"), Publication::New);
        put(&driver, &format!("/{name}/link"), "sha256:0".into()).await;
        driver.requests() - before
    };
    assert_eq!(push("empty", 0).await, 4, "put, head, put, link");
    assert_eq!(push("small", MIB).await, 4, "put, head, copy, link");
    assert_eq!(
        push("a-part", 5 * MIB).await,
        4,
        "as much as one part holds is one object"
    );
    let (parts, copies) = (3, 3);
    assert_eq!(
        push("large", 11 * MIB).await - parts - copies,
        6,
        "create, complete, head, create, complete, link"
    );
}

/// Several places become one blob: equal parts, copied where a place holds one, joined where two meet.
pub(crate) async fn joining(make: Make<'_>) {
    let driver = connect(small_parts(make, "joining")).await;
    for (n, lengths) in [
        vec![12 * MIB, 7 * MIB, 3, 0, 5 * MIB],
        vec![5 * MIB, 5 * MIB],
        vec![100, 200],
        vec![0, 9 * MIB],
        vec![1, 6 * MIB],
    ]
    .iter()
    .enumerate()
    {
        let (mut places, mut total) = (Vec::new(), 0);
        for length in lengths {
            places.push(stage(&driver, pattern(total, *length)).await);
            total += length;
        }
        // As a node would that did not write them.
        let elsewhere = connect(small_parts(make, "joining")).await;
        let target = path(&format!("/{n}/data"));
        let published = elsewhere.publish(&places, &target, Attempt::First).await;
        assert_eq!(published.expect("published"), Publication::New);
        let read = read(driver.open(&target).await.expect("there")).await;
        assert!(read.expect("read") == pattern(0, total), "{lengths:?}");
        let again = elsewhere.publish(&places, &target, Attempt::First).await;
        assert_eq!(again.expect("again"), Publication::Existed);
    }
    let (first, second) = (
        stage(&driver, pattern(0, 6 * MIB)).await,
        stage(&driver, pattern(0, 6 * MIB)).await,
    );
    // Gone behind this driver's back: it remembers the place and finds out when it copies.
    let elsewhere = connect(small_parts(make, "joining")).await;
    let gone = [second.place.clone()];
    elsewhere.discard(&gone).await.expect("discarded");
    let target = path("/lost/data");
    let published = driver
        .publish(&[first, second], &target, Attempt::First)
        .await;
    assert!(matches!(published, Err(Error::Damaged)), "{published:?}");
    let there = driver.stat(&target).await;
    assert!(
        matches!(there, Err(Error::NotFound(_))),
        "nothing half made"
    );
}

/// One after the other is lost while the store copies; each has less to do.
pub(crate) async fn joining_goes_on(make: Make<'_>) {
    let options = |copy_concurrency| {
        let mut options = small_parts(make, "goes-on");
        options.parts.copy_concurrency = copy_concurrency;
        options
    };
    let driver = connect(options(4)).await;
    let (mut places, mut total) = (Vec::new(), 0);
    for length in [25 * MIB, 25 * MIB, 12 * MIB, 9 * MIB] {
        places.push(stage(&driver, pattern(total, length)).await);
        total += length;
    }
    let target = path("/goes-on/data");
    for attempt in [Attempt::First, Attempt::Again] {
        let lost = connect(options(1)).await;
        let looks = if attempt == Attempt::First { 6 } else { 7 };
        tokio::select! {
            published = lost.publish(&places, &target, attempt) => panic!("too soon: {published:?}"),
            () = async {
                while lost.requests() < looks + 5 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            } => {}
        }
    }
    let last = connect(options(4)).await;
    let published = last.publish(&places, &target, Attempt::Again).await;
    assert_eq!(published.expect("published"), Publication::New);
    let requests = last.requests();
    assert!(requests < 15 + 8, "{requests} are as many as for all of it");
    let read = read(driver.open(&target).await.expect("there")).await;
    assert!(read.expect("read") == pattern(0, total));
    assert_eq!(driver.sweep(far()).await.expect("swept"), 0);
}

/// Who goes away takes parts along; who is killed leaves them to be swept.
pub(crate) async fn abandoned_uploads(seaweed: &Seaweed) {
    let make = |root: &str| seaweed.options(root);
    let driver = connect(small_parts(&make, "abandoned")).await;
    let begin = async || {
        let mut stage = driver.stage("case").await.expect("a stage");
        let written = stage.write(vec![pattern(0, 11 * MIB)]).await;
        written.expect("written");
        stage
    };
    drop(begin().await);
    // Who may not abort fails as long as there is something to abort.
    let reader = connect(Options {
        credentials: Some(credentials(READER)),
        ..small_parts(&make, "abandoned")
    });
    let reader = reader.await;
    let aborted = tokio::time::timeout(SOON, async {
        while reader.sweep(far()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    aborted.await.expect("a dropped stage aborts its upload");
    let killed = Box::leak(begin().await);
    assert!(reader.sweep(far()).await.is_err(), "an upload is there");
    let none = driver.sweep(SystemTime::UNIX_EPOCH).await;
    assert_eq!(none.expect("swept"), 0, "none is that old");
    assert_eq!(driver.sweep(far()).await.expect("swept"), 1, "ours");
    assert_eq!(driver.sweep(far()).await.expect("swept"), 0, "once");
    // More than is on its way at a time: some of it is waited for.
    let late = killed.write(vec![pattern(0, 33 * MIB)]).await;
    assert!(late.is_err(), "who wakes up late writes nowhere");
    let places = driver.staged(far(), None, 10).await;
    assert_eq!(places.expect("a listing"), [""; 0]);
}

/// More than one answer holds.
pub(crate) async fn large_directories(make: Make<'_>) {
    let driver = connect(make("many")).await;
    let name = |n: usize| format!("1.{}.{}-x", n / 50, n % 50);
    let writes = (0..1150).map(|n| Put {
        path: path(&format!("/tags/{}/link", name(n))),
        content: "x".into(),
    });
    driver.put(writes.collect()).await.expect("written");
    put(&driver, "/tags/1.3/link", "x".into()).await;
    put(&driver, "/tags/1/link", "x".into()).await;
    let mut expected: Vec<String> = (0..1150).map(name).collect();
    expected.extend(["1.3".to_owned(), "1".to_owned()]);
    expected.sort();
    for limit in [97, 5000] {
        let (mut all, mut after) = (Vec::<String>::new(), None);
        loop {
            let page = driver.list(&path("/tags"), after.as_deref(), limit).await;
            let page = page.expect("a page");
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            assert!(page.iter().all(|entry| entry.is_directory));
            all.extend(page.into_iter().map(|entry| entry.name));
        }
        assert!(all == expected, "pages of {limit} add up, in byte order");
    }
    driver.remove(&path("/tags")).await.expect("removed");
    let gone = driver.stat(&path("/tags")).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}

/// A client reads by itself, from where it is told to.
pub(crate) async fn presigned(seaweed: &Seaweed) {
    let driver = seaweed.driver("presigned").await;
    put(&driver, "/a/data", "content".into()).await;
    let (at, valid) = (path("/a/data"), Duration::from_mins(5));
    let url = driver
        .redirect(&at, Fetch::Get, valid)
        .await
        .expect("signed")
        .expect("a URL");
    let head = driver
        .redirect(&at, Fetch::Head, valid)
        .await
        .expect("signed")
        .expect("a URL");
    let forged = url.replace("/a/data", "/b/data");
    let (got, known, refused) = tokio::task::spawn_blocking(move || {
        (
            ureq::get(&url)
                .call()
                .map(|mut got| got.body_mut().read_to_string()),
            ureq::head(&head).call().map(|got| got.status().as_u16()),
            ureq::get(&forged).call().err(),
        )
    })
    .await
    .expect("asked");
    assert_eq!(got.expect("answered").expect("read"), "content");
    assert_eq!(known.expect("answered"), 200);
    assert!(
        matches!(refused, Some(ureq::Error::StatusCode(403))),
        "good for one file alone: {refused:?}"
    );
    let outside = connect(Options {
        redirect_endpoint: Some("https://images.example.com".to_owned()),
        ..seaweed.options("presigned")
    });
    let url = outside.await.redirect(&at, Fetch::Get, valid).await;
    let url = url.expect("signed").expect("a URL");
    assert!(
        url.starts_with("https://images.example.com/images/presigned/a/data?"),
        "{url}"
    );
}
