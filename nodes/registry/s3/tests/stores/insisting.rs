//! The driver against the strict store.

use std::time::Duration;

use roadstead_s3::Options;
use roadstead_storage::{Driver as _, Error, Publication};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

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
