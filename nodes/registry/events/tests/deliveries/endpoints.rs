//! What endpoints are sent, and how they hold up nobody but themselves.

use std::collections::BTreeMap;

use roadstead_events::{BuildError, RecordError};

use super::*;
use crate::receiver::Reply;

#[tokio::test]
async fn events_arrive_one_by_one_in_order() {
    let mut receiver = Receiver::always(Reply::Status(202)).await;
    let mut told = endpoint("a", receiver.url());
    told.headers = BTreeMap::from([
        ("Authorization".to_owned(), vec!["Bearer s3cret".to_owned()]),
        ("X-Two".to_owned(), vec!["1".to_owned(), "2".to_owned()]),
    ]);
    let running = Running::start(options(Home::Memory, [told]));
    running.record([0]).await;
    let first = receiver.next().await;
    assert_eq!(
        (first.method.as_str(), first.path.as_str()),
        ("POST", "/hook")
    );
    assert_eq!(
        first.header("content-type"),
        [roadstead_events::CONTENT_TYPE]
    );
    assert_eq!(first.header("authorization"), ["Bearer s3cret"]);
    assert_eq!(first.header("x-two"), ["1", "2"]);
    let agent = format!("roadstead/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(first.header("user-agent"), [agent]);
    assert!(
        first
            .body
            .starts_with(b"{\n   \"events\": [\n      {\n         \"id\": \"")
    );
    let sent = (1..150).map(|number| (number, event(number)));
    for (number, event) in sent {
        if number % 2 == 0 {
            running.events.note(&event);
        } else {
            running.events.record(&event).await.unwrap();
        }
    }
    let expected: Vec<u64> = (1..150).collect();
    assert_eq!(receiver.numbers(149).await, expected);
    running
        .until("a", "nothing waits", |stats| stats.metrics.pending == 0)
        .await;
    let metrics = running.stats("a").metrics;
    assert_eq!((metrics.events, metrics.successes), (150, 150));
    assert_eq!((metrics.failures, metrics.errors), (0, 0));
    assert_eq!(
        metrics.statuses,
        BTreeMap::from([("202 Accepted".to_owned(), 150)])
    );
    running.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_never_answers_holds_up_nobody() {
    let mut hanging = Receiver::always(Reply::Hang).await;
    let mut other = Receiver::always(Reply::Status(200)).await;
    let both = [
        endpoint("slow", hanging.url()),
        endpoint("fast", other.url()),
    ];
    let running = Running::start(options(Home::Memory, both));
    running.record(0..100).await;
    assert_eq!(other.numbers(100).await, (0..100).collect::<Vec<_>>());
    assert_eq!(hanging.next().await.number(), 0);
    assert_eq!(running.stats("slow").metrics.pending, 100);
    running
        .until("fast", "nothing waits", |stats| stats.metrics.pending == 0)
        .await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_in_time_is_asked_again() {
    let mut receiver = Receiver::first([Reply::Hang]).await;
    let mut told = endpoint("a", receiver.url());
    told.timeout = Duration::from_millis(20);
    let running = Running::start(options(Home::Memory, [told]));
    running.record([0]).await;
    running
        .until("a", "it is taken", |stats| stats.metrics.successes == 1)
        .await;
    assert!(running.stats("a").metrics.errors >= 1);
    assert_eq!(receiver.numbers(2).await, [0, 0]);
    running.stop().await;
}

/// The client must not go on reading them: not until the timeout, and not after it.
#[tokio::test]
async fn interim_answers_without_end_are_an_error_and_end_the_connection() {
    let mut receiver = Receiver::first([Reply::Interim, Reply::Interim]).await;
    let mut told = endpoint("a", receiver.url());
    told.timeout = Duration::from_mins(10);
    let running = Running::start(options(Home::Memory, [told]));
    running.record([0]).await;
    running
        .until("a", "it is taken", |stats| stats.metrics.successes == 1)
        .await;
    assert_eq!(running.stats("a").metrics.errors, 2);
    assert_eq!(receiver.numbers(3).await, [0, 0, 0]);
    running.stop().await;
    let closed = async {
        while receiver.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("all connections are closed", closed).await;
}

#[tokio::test]
async fn what_is_refused_is_sent_until_it_is_taken_and_nothing_overtakes_it() {
    let replies = [
        Reply::Status(500),
        Reply::Close,
        Reply::Status(404),
        Reply::Status(204),
    ];
    let mut receiver = Receiver::first(replies).await;
    let running = Running::start(options(Home::Memory, [endpoint("a", receiver.url())]));
    running.record(0..3).await;
    running
        .until("a", "all are taken", |stats| stats.metrics.successes == 3)
        .await;
    let metrics = running.stats("a").metrics;
    assert_eq!((metrics.failures, metrics.errors), (2, 1));
    assert_eq!(metrics.statuses["500 Internal Server Error"], 1);
    assert_eq!(metrics.statuses["404 Not Found"], 1);
    assert_eq!(metrics.statuses["204 No Content"], 1);
    assert_eq!(receiver.numbers(6).await, [0, 0, 0, 0, 1, 2]);
    running.stop().await;
}

#[tokio::test]
async fn a_status_is_an_answer_whatever_comes_of_its_body() {
    let mut receiver = Receiver::always(Reply::Unfinished(200)).await;
    let running = Running::start(options(Home::Memory, [endpoint("a", receiver.url())]));
    running.record(0..3).await;
    assert_eq!(receiver.numbers(3).await, [0, 1, 2]);
    running
        .until("a", "all are taken", |stats| stats.metrics.successes == 3)
        .await;
    assert_eq!(running.stats("a").metrics.errors, 0);
    running.stop().await;
}

#[tokio::test]
async fn endpoints_are_told_what_they_want() {
    let mut all = Receiver::always(Reply::Status(200)).await;
    let mut some = Receiver::always(Reply::Status(200)).await;
    let mut choosy = endpoint("some", some.url());
    choosy.ignored_actions = vec!["pull".to_owned(), "unknown".to_owned()];
    choosy.ignored_media_types = vec!["application/octet-stream".to_owned()];
    let disabled = EndpointOptions {
        disabled: true,
        ..endpoint("off", "http://127.0.0.1:1")
    };
    let running = Running::start(options(
        Home::Memory,
        [endpoint("all", all.url()), choosy, disabled],
    ));
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    for (number, action, media_type) in [
        (0, Action::Push, "application/octet-stream"),
        (1, Action::Push, manifest),
        (2, Action::Pull, manifest),
        (3, Action::Delete, ""),
    ] {
        let mut event = event(number);
        event.action = action;
        event.target.media_type = media_type.to_owned();
        running.events.record(&event).await.unwrap();
    }
    assert_eq!(all.numbers(4).await, [0, 1, 2, 3]);
    assert_eq!(some.numbers(2).await, [1, 3]);
    let names: Vec<String> = running
        .events
        .stats()
        .into_iter()
        .map(|endpoint| endpoint.name)
        .collect();
    assert_eq!(names, ["all", "some"]);
    running.stop().await;
}

#[tokio::test]
async fn without_an_endpoint_that_wants_it_an_event_need_not_be_made() {
    let mut choosy = endpoint("a", "http://127.0.0.1:1");
    choosy.ignored_actions = vec!["pull".to_owned()];
    let directory = tempfile::tempdir().unwrap();
    let (_service, events) = options(Home::Memory, [choosy]).build().unwrap();
    assert!(events.is_wanted(Action::Push, ""));
    assert!(!events.is_wanted(Action::Pull, ""));
    let home = on_disk(directory.path());
    let (_service, events) = options(home, []).build().unwrap();
    assert!(!events.is_wanted(Action::Push, ""));
    events.record(&event(0)).await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_told_is_counted() {
    let running = Running::start(options(Home::Memory, [endpoint("a", "http://127.0.0.1:1")]));
    let mut malformed = event(0);
    malformed.timestamp = datetime!(-0001-01-01 00:00 UTC);
    let recorded = running.events.record(&malformed).await;
    assert_eq!(recorded, Err(RecordError::Malformed));
    running.events.note(&malformed);
    let mut large = event(1);
    large.target.url = "x".repeat(17 << 20);
    assert_eq!(
        running.events.record(&large).await,
        Err(RecordError::Malformed)
    );
    let metrics = running.stats("a").metrics;
    assert_eq!((metrics.lost, metrics.events), (3, 0));
    running.stop().await;
}

#[tokio::test]
async fn secrets_are_nowhere_to_be_read() {
    let mut told = endpoint("a", "http://user:s3cret@127.0.0.1:1/hook?token=s3cret");
    told.headers = BTreeMap::from([("X-Token".to_owned(), vec!["s3cret".to_owned()])]);
    let mut mistaken = told.clone();
    mistaken
        .headers
        .insert("X-Key".to_owned(), vec!["s3cret\n".to_owned()]);
    let mut misplaced = told.clone();
    misplaced.url = "http//user:s3cret@127.0.0.1".to_owned();
    let wrong = options(Home::Memory, [told.clone(), mistaken, misplaced]);
    assert!(!format!("{wrong:?}").contains("s3cret"));
    let error = wrong.build().map(|_built| ()).unwrap_err();
    assert!(matches!(error, BuildError::Mistakes(_)));
    assert!(!format!("{error} {error:?}").contains("s3cret"));
    let said = error.to_string();
    assert!(
        said.contains("notifications.endpoints[1].headers.X-Key: "),
        "{said}"
    );
    assert!(said.contains("notifications.endpoints[2].url: "), "{said}");
    let running = Running::start(options(Home::Memory, [told]));
    let stats = running.events.stats();
    let json = serde_json::to_string(&stats).unwrap();
    for printed in [format!("{:?} {stats:?}", running.events), json] {
        assert!(!printed.contains("s3cret"), "{printed}");
    }
    running.stop().await;
}

#[tokio::test]
async fn the_figures_have_the_names_of_the_reference() {
    let mut told = endpoint("a", "http://127.0.0.1:1/hook");
    told.headers = BTreeMap::from([("X-Token".to_owned(), vec!["x".to_owned()])]);
    told.ignored_actions = vec!["pull".to_owned()];
    (told.timeout, told.threshold, told.backoff) = (Duration::ZERO, 0, Duration::ZERO);
    let (_service, events) = options(Home::Memory, [told]).build().unwrap();
    let second = 1_000_000_000;
    let expected = serde_json::json!([{
        "name": "a",
        "url": "http://127.0.0.1:1/hook",
        "Headers": { "X-Token": ["[redacted]"] },
        "Timeout": second,
        "Threshold": 10,
        "Backoff": second,
        "IgnoredMediaTypes": [],
        "Ignore": { "MediaTypes": [], "Actions": ["pull"] },
        "Metrics": {
            "Pending": 0, "Events": 0, "Successes": 0, "Failures": 0, "Errors": 0, "Statuses": {},
            "Dropped": 0, "Lost": 0,
        },
    }]);
    assert_eq!(serde_json::to_value(events.stats()).unwrap(), expected);
}
