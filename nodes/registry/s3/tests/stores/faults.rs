//! What the driver does when the store, or the way to it, does not do its part.

use std::sync::atomic::Ordering;

use futures::TryStreamExt as _;
use roadstead_s3::{Credentials, Options, S3};
use roadstead_storage::{Attempt, Driver as _, Error, Put};

use crate::cases::{connect, path, pattern, put, read, stage};
use crate::proxy;
use crate::server::{ADMIN, READER, Seaweed, credentials};

const LENGTH: usize = 3 << 20;

/// A driver behind a link, with nothing but the endpoint of its own.
async fn behind(seaweed: &Seaweed, endpoint: String, root: &str) -> S3 {
    let options = Options {
        endpoint: Some(endpoint),
        ..seaweed.options(root)
    };
    connect(options).await
}

/// Connections break over and over; the reader sees one stream.
pub(crate) async fn downloads_go_on(seaweed: &Seaweed) {
    let driver = seaweed.driver("broken").await;
    let staged = stage(&driver, pattern(0, LENGTH)).await;
    let target = path("/broken/data");
    driver
        .publish(&[staged], &target, Attempt::First)
        .await
        .expect("published");
    let (endpoint, faults) = proxy::start(seaweed.endpoint()).await;
    faults.cut.store(700_000, Ordering::Relaxed);
    let driver = behind(seaweed, endpoint, "broken").await;
    let opened = driver.open(&target).await.expect("opened");
    let all = read(opened).await.expect("read");
    assert!(all == pattern(0, LENGTH), "its bytes, each once");
    let broken = faults.broken.load(Ordering::Relaxed);
    assert!(broken >= 4, "{broken} connections were broken");
    let whole = driver.get(&target, LENGTH).await;
    assert!(whole.is_err(), "less than the whole is an error");
    faults.cut.store(100, Ordering::Relaxed);
    let driver = behind(seaweed, faults.endpoint.clone(), "broken").await;
    assert!(
        driver.open(&target).await.is_err(),
        "no answer is no absence"
    );
}

/// A stream that has to be taken up again takes up what it was, or ends with an error.
pub(crate) async fn replaced_while_read(seaweed: &Seaweed) {
    let target = path("/replaced/data");
    let at = "/replaced/data";
    let direct = seaweed.driver("replaced").await;
    put(&direct, at, pattern(0, LENGTH)).await;
    let (endpoint, faults) = proxy::start(seaweed.endpoint()).await;
    faults.cut.store(700_000, Ordering::Relaxed);
    let driver = behind(seaweed, endpoint, "replaced").await;
    let opened = driver.open(&target).await.expect("opened");
    put(&direct, at, pattern(1, LENGTH)).await;
    let read = read(opened).await;
    assert!(
        matches!(read, Err(Error::Io { .. })),
        "it is not what was opened"
    );
    let opened = direct.open(&target).await.expect("opened");
    let mut stream = opened.object.read(0..opened.size + 1);
    let mut last = stream.try_next().await;
    while let Ok(Some(_)) = last {
        last = stream.try_next().await;
    }
    assert!(last.is_err(), "a file that is shorter is an error");
}

/// A store that asks for less is asked again, later.
pub(crate) async fn slow_down(seaweed: &Seaweed) {
    let direct = seaweed.driver("slow").await;
    put(&direct, "/x", "content".into()).await;
    let (endpoint, faults) = proxy::start(seaweed.endpoint()).await;
    let driver = behind(seaweed, endpoint, "slow").await;
    faults.refuse.store(2, Ordering::Relaxed);
    let got = driver.get(&path("/x"), 100).await;
    assert_eq!(got.expect("in the end"), "content");
    assert_eq!(driver.requests(), 3, "two were refused");
    faults.refuse.store(1000, Ordering::Relaxed);
    let driver = behind(seaweed, faults.endpoint.clone(), "slow").await;
    let error = driver.get(&path("/x"), 100).await.expect_err("never");
    let text = error.to_string();
    assert!(text.contains("503 SlowDown"), "{text}");
    assert_eq!(driver.requests(), 6, "six tries are enough");
}

/// What may not be done says so, and never who asked with which secret.
pub(crate) async fn refusals(seaweed: &Seaweed) {
    let direct = seaweed.driver("refused").await;
    put(&direct, "/x", "content".into()).await;
    let driver = |credentials: Credentials, bucket: &str| Options {
        bucket: bucket.to_owned(),
        credentials: Some(credentials),
        ..seaweed.options("refused")
    };
    let reader = connect(driver(credentials(READER), "images")).await;
    let got = reader.get(&path("/x"), 100).await;
    assert_eq!(got.expect("may be read"), "content");
    let write = Put {
        path: path("/x"),
        content: "other".into(),
    };
    let error = reader
        .put(vec![write])
        .await
        .expect_err("may not be written");
    assert!(matches!(error, Error::ReadOnly(_)), "{error}");
    let options = driver(credentials((ADMIN.0, "wrong")), "images");
    let stranger = connect(options.clone()).await;
    let error = stranger
        .get(&path("/x"), 100)
        .await
        .expect_err("a stranger");
    assert!(
        !error.is_not_found() && !error.is_write_refused(),
        "{error}"
    );
    let elsewhere = connect(driver(credentials(ADMIN), "no-such-bucket")).await;
    let error = elsewhere
        .get(&path("/x"), 100)
        .await
        .expect_err("no bucket");
    assert!(
        !error.is_not_found(),
        "a bucket is missing, not a file: {error}"
    );
    let all = format!("{options:?} {stranger:?} {reader:?} {error} {error:?}");
    for secret in [ADMIN.1, READER.1, "wrong"] {
        assert!(!all.contains(secret), "{all}");
    }
}

/// Nothing listens: it is said within the time of the tries.
pub(crate) async fn nobody_there() {
    let driver = connect(Options {
        endpoint: Some("http://127.0.0.1:9".to_owned()),
        force_path_style: true,
        credentials: Some(credentials(ADMIN)),
        ..Options::new("images")
    });
    let error = driver
        .await
        .get(&path("/x"), 100)
        .await
        .expect_err("nobody");
    assert!(!error.is_not_found(), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}
