//! When an endpoint is tried again, on a clock that is paused.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;
use crate::options::{Home, Limits};

/// Fails so often, then takes everything; remembers when it was asked for what.
#[derive(Default)]
struct Script {
    outcomes: Mutex<VecDeque<Result<StatusCode, AttemptError>>>,
    asked: Mutex<Vec<(Instant, Bytes)>>,
}

#[async_trait]
impl Attempt for Script {
    async fn attempt(&self, envelope: Bytes) -> Result<StatusCode, AttemptError> {
        self.asked.lock().unwrap().push((Instant::now(), envelope));
        let next = self.outcomes.lock().unwrap().pop_front();
        next.unwrap_or(Ok(StatusCode::OK))
    }
}

/// Tells that it was asked, and never answers.
struct Never(Mutex<Option<tokio::sync::oneshot::Sender<()>>>);

#[async_trait]
impl Attempt for Never {
    async fn attempt(&self, _envelope: Bytes) -> Result<StatusCode, AttemptError> {
        let told = self.0.lock().unwrap().take().map(|begun| begun.send(()));
        assert_eq!(told, Some(Ok(())), "asked once");
        std::future::pending().await
    }
}

const BACKOFF: Duration = Duration::from_mins(1);

struct Fixture {
    outbox: Outbox,
    tally: Arc<Tally>,
    drain: CancellationToken,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let tally = Arc::new(Tally::new("a".to_owned()));
        let keys = vec![("a".to_owned(), 0)];
        let opened = Outbox::open(Home::Memory, keys, limits, vec![Arc::clone(&tally)]);
        Self {
            outbox: opened.unwrap().0,
            tally,
            drain: CancellationToken::new(),
        }
    }

    async fn add(&self, envelope: &'static str) {
        let added = self
            .outbox
            .add(vec![0], Bytes::from_static(envelope.as_bytes()));
        added.await.unwrap();
    }

    fn deliver(&self, endpoint: Arc<dyn Attempt>) -> tokio::task::JoinHandle<()> {
        let deliverer = Deliverer {
            queue: 0,
            outbox: self.outbox.clone(),
            endpoint,
            tally: Arc::clone(&self.tally),
            patience: Patience::new(3, BACKOFF),
            grace: Duration::from_secs(5),
        };
        tokio::spawn(deliverer.run(self.drain.clone()))
    }

    /// Waits until the figures say so. Each look lets a second of the paused clock pass, and some real time as well:
    /// the thread that stores events knows no other.
    async fn until(&self, sentence: &str, done: impl Fn(&crate::Metrics) -> bool) {
        for _ in 0..20_000 {
            if self.tally.update(|metrics| done(metrics)) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let real = || std::thread::park_timeout(Duration::from_millis(1));
            tokio::task::spawn_blocking(real).await.unwrap();
        }
        panic!("{sentence}: {:?}", self.tally);
    }
}

/// What is answered before anything is taken.
fn refusals(count: usize) -> impl Iterator<Item = Result<StatusCode, AttemptError>> {
    std::iter::repeat_with(|| Ok(StatusCode::INTERNAL_SERVER_ERROR)).take(count)
}

#[tokio::test(start_paused = true)]
async fn it_backs_off_after_the_threshold_and_until_a_success() {
    let fixture = Fixture::new(Limits::default());
    let script = Arc::new(Script::default());
    {
        let mut outcomes = script.outcomes.lock().unwrap();
        outcomes.extend(refusals(1));
        outcomes.push_back(Err(AttemptError::Timeout));
        outcomes.extend(refusals(2));
        outcomes.push_back(Ok(StatusCode::OK));
        outcomes.extend(refusals(1));
    }
    fixture.add("1").await;
    fixture.add("2").await;
    let running = fixture.deliver(Arc::clone(&script) as Arc<dyn Attempt>);
    fixture
        .until("both are taken", |metrics| metrics.successes == 2)
        .await;
    fixture.drain.cancel();
    running.await.unwrap();
    let asked = script.asked.lock().unwrap();
    let said: Vec<&[u8]> = asked.iter().map(|(_, envelope)| &envelope[..]).collect();
    assert_eq!(said, [b"1", b"1", b"1", b"1", b"1", b"2", b"2"]);
    let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    for (pause, backed_off) in pauses.iter().zip([false, false, true, true, false, false]) {
        assert_eq!(*pause >= BACKOFF, backed_off, "{pauses:?}");
    }
    fixture.tally.update(|metrics| {
        assert_eq!((metrics.failures, metrics.errors), (4, 1));
        assert_eq!(metrics.statuses["500 Internal Server Error"], 4);
        assert_eq!(metrics.statuses["200 OK"], 2);
    });
}

/// Tells what it was asked, and answers when the test does.
struct Asking(tokio::sync::mpsc::UnboundedSender<(Bytes, Answer)>);

type Answer = tokio::sync::oneshot::Sender<StatusCode>;

#[async_trait]
impl Attempt for Asking {
    async fn attempt(&self, envelope: Bytes) -> Result<StatusCode, AttemptError> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.0.send((envelope, answer)).unwrap();
        Ok(answered.await.unwrap())
    }
}

#[tokio::test]
async fn an_event_that_is_dropped_meanwhile_is_not_tried_again() {
    let fixture = Fixture::new(Limits {
        events: 2,
        bytes: 1000,
    });
    let (asking, mut asked) = tokio::sync::mpsc::unbounded_channel();
    fixture.add("1").await;
    let running = fixture.deliver(Arc::new(Asking(asking)));
    let (said, refuse) = asked.recv().await.unwrap();
    assert_eq!(said, "1");
    for envelope in ["2", "3", "4"] {
        fixture.add(envelope).await;
    }
    refuse.send(StatusCode::INTERNAL_SERVER_ERROR).unwrap();
    for expected in ["3", "4"] {
        let (said, take) = asked.recv().await.unwrap();
        assert_eq!(said, expected);
        take.send(StatusCode::OK).unwrap();
    }
    fixture.drain.cancel();
    running.await.unwrap();
    fixture
        .tally
        .update(|metrics| assert_eq!(metrics.dropped, 2));
}

#[tokio::test(start_paused = true)]
async fn the_drain_ends_pauses_at_once_and_attempts_soon() {
    let fixture = Fixture::new(Limits::default());
    let script = Arc::new(Script::default());
    script.outcomes.lock().unwrap().extend(refusals(100));
    fixture.add("1").await;
    let pausing = fixture.deliver(script);
    let sentence = "it pauses";
    fixture
        .until(sentence, |metrics| metrics.failures == 3)
        .await;
    let began = Instant::now();
    fixture.drain.cancel();
    pausing.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    let other = Fixture::new(Limits::default());
    other.add("1").await;
    let (begun, wait) = tokio::sync::oneshot::channel();
    let hanging = other.deliver(Arc::new(Never(Mutex::new(Some(begun)))));
    wait.await.unwrap();
    other.drain.cancel();
    hanging.await.unwrap();
    other.tally.update(|metrics| assert_eq!(metrics.pending, 1));
}
