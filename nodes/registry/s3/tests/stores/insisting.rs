//! The driver against the strict store.

use std::time::Duration;

use roadstead_s3::Options;
use roadstead_storage::{Attempt, Driver as _, Error, Publication};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::cases::{self, connect, far, path, pattern, read, stage};
use crate::strict::{Refuse, Strict};

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
    let published = driver.publish(&[staged], &target, Attempt::First).await;
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
    let target = path("/docker/registry/v2/blobs/damaged/data");
    let published = driver
        .publish(&[first, second], &target, Attempt::First)
        .await;
    assert!(matches!(published, Err(Error::Damaged)), "{published:?}");
    let there = driver.stat(&target).await;
    assert!(
        matches!(there, Err(Error::NotFound(_))),
        "nothing half made"
    );
    assert_eq!(driver.sweep(far()).await.expect("swept"), 1);
}

/// Whoever publishes is lost when so many parts were to be copied in all, and so many were.
async fn lost_at<T: std::fmt::Debug>(
    strict: &Strict,
    (asked, copied): (usize, usize),
    publish: impl Future<Output = T>,
) {
    tokio::select! {
        published = publish => panic!("parts are held: {published:?}"),
        () = async { tokio::join!(strict.asked(asked), strict.copied(copied)); } => {}
    }
}

/// Six parts, of which three are there when the one who copies them is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_goes_on_where_another_was_lost() {
    let (strict, options) = Strict::start().await;
    let (first, last) = (connect(options.clone()).await, connect(options).await);
    let staged = [stage(&first, pattern(0, 30 * MIB)).await];
    let target = path("/lost/data");
    strict.hold(4..100);
    for (asked, attempt) in [(6, Attempt::First), (9, Attempt::Again)] {
        let publish = first.publish(&staged, &target, attempt);
        lost_at(&strict, (asked, 3), publish).await;
        assert_eq!((strict.copies(), strict.uploads()), (3, 1));
    }
    strict.lose_held();
    let published = last.publish(&staged, &target, Attempt::Again).await;
    assert_eq!(published.expect("published"), Publication::New);
    let looks = "head, place, uploads, two pages of parts, three copies, complete";
    assert_eq!(last.requests(), 9, "{looks}");
    assert_eq!((strict.copies(), strict.uploads()), (6, 0));
    let read = read(last.open(&target).await.expect("there")).await;
    assert!(read.expect("read") == pattern(0, 30 * MIB));
}

/// One is paused while it copies, and another goes on with its upload, or begins its own. Both find it published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_join_the_same_do_no_harm() {
    let (strict, options) = Strict::start().await;
    let (first, second) = (connect(options.clone()).await, connect(options).await);
    let mut asked = 0;
    for (n, held, theirs, ours) in [(0, 4, 6, 3), (1, 1, 4, 4)] {
        let staged = [stage(&first, pattern(n, 30 * MIB)).await];
        let target = path(&format!("/paused/{n}/data"));
        strict.hold(held..100);
        let mut all = Vec::new();
        for (driver, attempt, parts) in [
            (first.clone(), Attempt::First, theirs),
            (second.clone(), Attempt::Again, ours),
        ] {
            let (target, staged) = (target.clone(), staged.clone());
            let publish = async move { driver.publish(&staged, &target, attempt).await };
            all.push(tokio::spawn(publish));
            asked += parts;
            strict.asked(asked).await;
        }
        strict.hold(0..0);
        for published in all {
            let published = published.await.expect("no panic");
            assert_eq!(published.expect("published"), Publication::New);
        }
        let read = read(second.open(&target).await.expect("there")).await;
        assert!(read.expect("read") == pattern(n, 30 * MIB));
        asked = strict.all_asked();
    }
}

/// The second of 10 and 5 MiB is as long as the second of three of 5 MiB, and has other bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_goes_on_with_what_is_cut_in_other_sizes() {
    let (strict, options) = Strict::start().await;
    let mut larger = options.clone();
    larger.parts.copy_chunk = 10 << 20;
    let (theirs, ours) = (connect(larger).await, connect(options).await);
    let staged = [stage(&ours, pattern(0, 15 * MIB)).await];
    for held in [1..2, 2..3] {
        let target = path(&format!("/cut/{}/data", held.start));
        strict.hold(held);
        let (asked, copies) = (strict.all_asked(), strict.copies());
        let publish = theirs.publish(&staged, &target, Attempt::First);
        lost_at(&strict, (asked + 2, copies + 1), publish).await;
        let left = strict.uploads();
        strict.lose_held();
        let published = ours.publish(&staged, &target, Attempt::Again).await;
        assert_eq!(published.expect("published"), Publication::New);
        let read = read(ours.open(&target).await.expect("there")).await;
        assert!(read.expect("read") == pattern(0, 15 * MIB));
        assert_eq!(strict.uploads(), left, "theirs is left alone");
    }
}

/// What cannot be completed is not gone on with for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_refused_is_begun_anew() {
    let (strict, options) = Strict::start().await;
    let driver = connect(options).await;
    let staged = [stage(&driver, pattern(0, 15 * MIB)).await];
    let target = path("/refused/data");
    strict.hold(2..100);
    let publish = driver.publish(&staged, &target, Attempt::First);
    lost_at(&strict, (3, 1), publish).await;
    strict.lose_held();
    for refuse in [Refuse::Unknown, Refuse::Broken] {
        let uploads = strict.uploads();
        strict.refuse_completions_of_all_begun(refuse);
        let published = driver.publish(&staged, &target, Attempt::Again).await;
        assert_eq!(
            published.expect("published"),
            Publication::New,
            "{refuse:?}"
        );
        assert_eq!(strict.uploads(), uploads, "the bad one is left, no other");
        let read = read(driver.open(&target).await.expect("there")).await;
        assert!(read.expect("read") == pattern(0, 15 * MIB));
        driver.remove(&target).await.expect("removed");
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_are_proved() {
    let (_, options) = Strict::start().await;
    cases::fences(&under(&options)).await;
}

/// A store that says yes to everything cannot keep anybody from writing late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_what_has_expired_is_found_out() {
    let endpoint = yes_to_everything().await;
    let (_, options) = Strict::start().await;
    let options = Options {
        endpoint: Some(endpoint),
        ..options
    };
    let proved = connect(options).await.prove_fences().await;
    let error = proved.expect_err("nothing is refused").to_string();
    assert!(error.contains("have expired"), "{error}");
}

async fn yes_to_everything() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut asked, mut buffer) = (Vec::new(), [0; 4096]);
                while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(read) => asked.extend_from_slice(&buffer[..read]),
                    }
                }
                let listing = "<ListBucketResult></ListBucketResult>";
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 20:00:00 GMT\r\nConnection: close\r\n\
                     Content-Length: {}\r\n\r\n{listing}",
                    listing.len()
                );
                let _gone_already = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}
