//! What waits, waits on: over restarts, for endpoints that come back, up to a bound.

use super::*;
use crate::receiver::Reply;

#[tokio::test]
async fn what_was_not_delivered_is_delivered_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let home = on_disk(directory.path());
    let refusing = Receiver::always(Reply::Status(503)).await;
    let running = Running::start(options(home.clone(), [endpoint("a", refusing.url())]));
    running.record(0..50).await;
    running
        .until("a", "it was refused", |stats| stats.metrics.failures > 1)
        .await;
    running.stop().await;
    // The endpoint has moved; its queue has not.
    let mut taking = Receiver::always(Reply::Status(200)).await;
    let running = Running::start(options(home.clone(), [endpoint("a", taking.url())]));
    running.record([50]).await;
    assert_eq!(taking.numbers(51).await, (0..=50).collect::<Vec<_>>());
    running
        .until("a", "nothing waits", |stats| stats.metrics.pending == 0)
        .await;
    running.stop().await;
    // What was delivered is not delivered again.
    let running = Running::start(options(home, [endpoint("a", taking.url())]));
    assert_eq!(running.stats("a").metrics.pending, 0);
    running.record([51]).await;
    assert_eq!(taking.numbers(1).await, [51]);
    running.stop().await;
}

#[tokio::test]
async fn what_is_recorded_before_and_after_the_run_is_stored_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let home = on_disk(directory.path());
    let mut taking = Receiver::always(Reply::Status(200)).await;
    let (service, events) = options(home.clone(), [endpoint("a", taking.url())])
        .build()
        .unwrap();
    events.record(&event(0)).await.unwrap();
    let again = options(home, [endpoint("a", taking.url())]).build();
    assert!(again.map(|_built| ()).unwrap_err().is_in_use());
    let running = Running::run(service, events.clone());
    assert_eq!(taking.numbers(1).await, [0]);
    running.stop().await;
    let after = events.record(&event(1)).await;
    assert_eq!(after, Err(roadstead_events::RecordError::Unavailable));
    events.note(&event(2));
    assert_eq!(events.stats()[0].metrics.lost, 1);
}

#[tokio::test]
async fn the_queue_of_an_endpoint_that_is_gone_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let home = on_disk(directory.path());
    let nowhere = |name| endpoint(name, "http://127.0.0.1:1");
    let (service, events) = options(home.clone(), [nowhere("a"), nowhere("b")])
        .build()
        .unwrap();
    for number in 0..3 {
        events.record(&event(number)).await.unwrap();
    }
    let drained = CancellationToken::new();
    drained.cancel();
    soon("the end", service.run(drained.clone())).await;
    let pending = |endpoints: Vec<EndpointOptions>| {
        let (home, drained) = (home.clone(), drained.clone());
        async move {
            let (service, events) = options(home, endpoints).build().unwrap();
            let stats = events.stats();
            soon("the end", service.run(drained)).await;
            stats
                .into_iter()
                .map(|stats| stats.metrics.pending)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(pending(vec![nowhere("b")]).await, [3]);
    assert_eq!(pending(vec![nowhere("a"), nowhere("b")]).await, [0, 3]);
    assert_eq!(pending(Vec::new()).await, [0_u64; 0]);
    assert_eq!(pending(vec![nowhere("a"), nowhere("b")]).await, [0, 0]);
}

#[tokio::test]
async fn a_disabled_endpoint_keeps_what_waits_and_is_told_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let home = on_disk(directory.path());
    let refusing = Receiver::always(Reply::Status(503)).await;
    let running = Running::start(options(home.clone(), [endpoint("a", refusing.url())]));
    running.record([0]).await;
    running.stop().await;
    let disabled = EndpointOptions {
        disabled: true,
        ..endpoint("a", refusing.url())
    };
    let running = Running::start(options(home.clone(), [disabled]));
    running.record([1]).await;
    running.stop().await;
    let mut taking = Receiver::always(Reply::Status(200)).await;
    let running = Running::start(options(home, [endpoint("a", taking.url())]));
    running.record([2]).await;
    assert_eq!(taking.numbers(2).await, [0, 2]);
    running.stop().await;
}

#[tokio::test]
async fn endpoints_of_the_same_name_have_queues_of_their_own() {
    let mut first = Receiver::always(Reply::Status(200)).await;
    let mut second = Receiver::always(Reply::Status(200)).await;
    let both = [endpoint("", first.url()), endpoint("", second.url())];
    let running = Running::start(options(Home::Memory, both));
    running.record(0..3).await;
    assert_eq!(first.numbers(3).await, [0, 1, 2]);
    assert_eq!(second.numbers(3).await, [0, 1, 2]);
    running.stop().await;
}

#[tokio::test]
async fn at_the_bound_the_oldest_are_dropped_and_counted() {
    let mut receiver = Receiver::first([Reply::Status(503)]).await;
    let mut limited = options(Home::Memory, [endpoint("a", receiver.url())]);
    limited.limits.events = 3;
    let (service, events) = limited.build().unwrap();
    for number in 0..10 {
        events.record(&event(number)).await.unwrap();
    }
    let metrics = events.stats()[0].metrics.clone();
    assert_eq!(
        (metrics.pending, metrics.dropped, metrics.events),
        (3, 7, 10)
    );
    let running = Running::run(service, events);
    assert_eq!(receiver.numbers(4).await, [7, 7, 8, 9]);
    running.stop().await;
}
