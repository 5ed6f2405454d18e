//! Endpoints that are elsewhere.

use std::collections::BTreeMap;

use super::*;
use crate::receiver::{Received, Reply};

/// Sends one event to a receiver, and answers with the requests that it took until it was taken.
async fn requests(mut receiver: Receiver) -> (Vec<Received>, EndpointStats) {
    let mut told = endpoint("a", receiver.url());
    told.headers = BTreeMap::from([("Authorization".to_owned(), vec!["Bearer s3cret".to_owned()])]);
    let running = Running::start(options(Home::Memory, [told]));
    running.record([7]).await;
    running
        .until("a", "it is taken", |stats| stats.metrics.successes == 1)
        .await;
    let stats = running.stats("a");
    running.record([8]).await;
    let mut requests = Vec::new();
    loop {
        let request = receiver.next().await;
        if !request.body.is_empty() && request.number() == 8 {
            break;
        }
        requests.push(request);
    }
    running.stop().await;
    (requests, stats)
}

fn lines(requests: &[Received]) -> Vec<String> {
    let line = |request: &Received| {
        format!(
            "{} {} {}",
            request.method,
            request.path,
            request.body.len() > 2
        )
    };
    requests.iter().map(line).collect()
}

#[tokio::test]
async fn three_hundreds_that_lead_nowhere_are_answers() {
    for (reply, status) in [
        (Reply::Status(304), "304 Not Modified"),
        (Reply::Status(302), "302 Found"),
        (
            Reply::Redirect(300, "/else".to_owned()),
            "300 Multiple Choices",
        ),
    ] {
        let (requests, stats) = requests(Receiver::first([reply]).await).await;
        assert_eq!(lines(&requests), ["POST /hook true"]);
        assert_eq!(stats.metrics.statuses[status], 1);
    }
}

#[tokio::test]
async fn permanent_and_temporary_redirects_repeat_the_request() {
    let replies = [307, 308].map(|status| Reply::Redirect(status, "else?where".to_owned()));
    let (requests, stats) = requests(Receiver::first(replies).await).await;
    let there = "POST /else?where true".to_owned();
    assert_eq!(
        lines(&requests),
        ["POST /hook true".to_owned(), there.clone(), there]
    );
    assert_eq!(stats.metrics.statuses["200 OK"], 1);
    assert_eq!(requests[0].body, requests[2].body);
    assert_eq!(requests[2].header("authorization"), ["Bearer s3cret"]);
}

#[tokio::test]
async fn the_older_redirects_become_a_get() {
    for status in [301, 302, 303] {
        let replies = [Reply::Redirect(status, "/else".to_owned())];
        let (requests, _) = requests(Receiver::first(replies).await).await;
        assert_eq!(lines(&requests), ["POST /hook true", "GET /else false"]);
        assert!(requests[1].header("content-type").is_empty());
    }
}

#[tokio::test]
async fn another_host_is_told_no_secrets() {
    let mut other = Receiver::always(Reply::Status(200)).await;
    let location = format!("http://localhost:{}/else", other.port);
    let (requests, _) = requests(Receiver::first([Reply::Redirect(307, location)]).await).await;
    assert_eq!(requests[0].header("authorization"), ["Bearer s3cret"]);
    let elsewhere = other.next().await;
    assert_eq!(elsewhere.number(), 7);
    assert!(elsewhere.header("authorization").is_empty());
}

#[tokio::test]
async fn a_loop_is_an_error_and_is_tried_again() {
    let mut count = 0;
    let receiver = Receiver::answering(move |_| {
        count += 1;
        if count <= 12 {
            Reply::Redirect(307, "/hook".to_owned())
        } else {
            Reply::Status(200)
        }
    });
    let (requests, stats) = requests(receiver.await).await;
    // Eleven requests of the first attempt; the second is led on once more.
    assert_eq!(requests.len(), 13);
    assert_eq!((stats.metrics.errors, stats.metrics.successes), (1, 1));
}

#[tokio::test]
async fn a_redirect_to_something_else_is_an_error() {
    let replies = [Reply::Redirect(307, "ftp://127.0.0.1/".to_owned())];
    let (_, stats) = requests(Receiver::first(replies).await).await;
    assert_eq!((stats.metrics.errors, stats.metrics.successes), (1, 1));
}
