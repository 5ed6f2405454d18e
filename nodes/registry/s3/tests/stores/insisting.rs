//! The driver against the strict store.

use std::time::Duration;

use roadstead_s3::Options;
use roadstead_storage::{Driver as _, Error, Publication};

use crate::cases::{self, connect, path, pattern, read, stage};
use crate::strict::Strict;

const MIB: usize = 1 << 20;
/// Long enough for a request on a machine that has better things to do.
const SOON: Duration = Duration::from_secs(30);

fn under(options: &Options) -> impl Fn(&str) -> Options {
    |root| Options {
        root: root.to_owned(),
        ..options.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept() {
    let (_, options) = Strict::start().await;
    cases::contract(&under(&options), true).await;
}

/// A page may hold less than was asked for, and names come in another order than keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_page_by_page() {
    for keys in [1, 2, 3] {
        let (strict, options) = Strict::start().await;
        strict.pages_of(keys);
        cases::contract(&under(&options), true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_directories_are_listed_in_the_order_of_names() {
    let (_, options) = Strict::start().await;
    cases::large_directories(&under(&options)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_equal_and_requests_few() {
    let (_, options) = Strict::start().await;
    cases::keys(&under(&options)).await;
    cases::requests_of_a_push(&under(&options)).await;
    cases::joining(&under(&options)).await;
}

/// The store has done it, and nobody heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_whose_answer_is_lost_is_done() {
    let (strict, options) = Strict::start().await;
    let driver = connect(options).await;
    strict.lose_completions(1);
    let staged = stage(&driver, pattern(0, 11 * MIB)).await;
    strict.lose_completions(1);
    let target = path("/lost/data");
    let published = driver.publish(&[staged], &target).await;
    assert_eq!(published.expect("published"), Publication::New);
    let read = read(driver.open(&target).await.expect("there")).await;
    assert!(read.expect("read") == pattern(0, 11 * MIB));
}

/// Whoever goes away takes along what is not finished, wherever it stood.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_uploads_are_aborted() {
    let (strict, options) = Strict::start().await;
    let driver = connect(options).await;
    let mut abandoned = driver.stage("case").await.expect("a stage");
    let content = vec![pattern(0, 11 * MIB)];
    abandoned.write(content).await.expect("written");
    assert_eq!(strict.uploads(), 1);
    drop(abandoned);
    none_left(&strict).await;
    let first = stage(&driver, pattern(0, 6 * MIB)).await;
    let second = stage(&driver, pattern(0, 6 * MIB)).await;
    // Gone behind this driver's back: it remembers the place and finds out when it copies.
    let key = path(&format!("/roadstead/uploads/{}", second.place));
    driver.remove(&key).await.expect("removed");
    let target = path("/damaged/data");
    let published = driver.publish(&[first, second], &target).await;
    assert!(matches!(published, Err(Error::Damaged)), "{published:?}");
    let there = driver.stat(&target).await;
    assert!(
        matches!(there, Err(Error::NotFound(_))),
        "nothing half made"
    );
    none_left(&strict).await;
}

async fn none_left(strict: &Strict) {
    let gone = tokio::time::timeout(SOON, async {
        while strict.uploads() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    gone.await
        .expect("the store is told that nothing will come");
}
