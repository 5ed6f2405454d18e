//! A process with a certificate that is good for long.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::SystemTime;

use async_trait::async_trait;
use roadstead_listen::{Supplied, TlsOptions};

use super::*;
use crate::keep::Seen;
use crate::{Challenge, Clock};

const DAY: Duration = Duration::from_hours(24);

/// A cluster's record that only this process follows. Each look and each write would be an entry of the cluster's log.
#[derive(Default)]
struct Counted {
    kept: Mutex<(u64, Document)>,
    adopted: AtomicU64,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Keep for Counted {
    async fn look(&self) -> Result<Seen, KeepError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (version, document) = self.kept.lock().unwrap().clone();
        let is_new = self.adopted.load(Ordering::Relaxed) != version;
        Ok(Seen {
            version,
            document: is_new.then_some(document),
            right: Some(1),
            unaware: 0,
        })
    }

    fn adopted(&self, version: u64) {
        self.adopted.store(version, Ordering::Relaxed);
    }

    async fn write(&self, _term: u64, document: &Document) -> Result<u64, KeepError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock().unwrap();
        *kept = (kept.0 + 1, document.clone());
        Ok(kept.0)
    }

    async fn leave(&self) {}
}

/// Goes with the runtime's time, which is paused.
fn clock() -> Clock {
    let (began, at) = (Instant::now(), UNIX_EPOCH + 10_000 * DAY);
    Arc::new(move || at + began.elapsed())
}

fn hosts() -> Vec<String> {
    vec!["a.example".to_owned()]
}

/// Good for so long from now on, before it is to be renewed.
fn certificate(now: SystemTime, good_for: Duration) -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(hosts()).unwrap();
    let chain = params.self_signed(&key).unwrap().pem();
    let mut certificate = Certificate::of(chain, key.serialize_pem()).unwrap();
    let renew_at = now + good_for;
    certificate.renew_at = renew_at.duration_since(UNIX_EPOCH).unwrap().as_secs();
    certificate
}

/// A process, and how often it has asked.
fn process(clock: &Clock) -> (Arc<Inner>, Arc<AtomicUsize>) {
    let kept = Counted::default();
    let asked = Arc::clone(&kept.asked);
    let tls = Tls::load(TlsOptions {
        certificate: "supplied".into(),
        supplied: Some(Supplied::default()),
        ..TlsOptions::default()
    });
    let options = Options {
        setting: "letsencrypt",
        hosts: hosts(),
        email: None,
        directory_url: "https://ca.invalid/directory".to_owned(),
        directory_ca: None,
        external_account: None,
        challenge: Challenge::Http01,
        home: Home::Path("unused".into()),
        clock: Arc::clone(clock),
        tell: Arc::new(|_| {}),
    };
    let inner = Inner {
        keep: Box::new(kept),
        client: Client::new(trust::trusting(None).unwrap()),
        options,
        answers: Answers::default(),
        tls: tls.unwrap(),
        known: Mutex::default(),
        is_told: AtomicBool::new(false),
    };
    (Arc::new(inner), asked)
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_due_hardly_anything_is_asked() {
    let clock = clock();
    let (inner, asked) = process(&clock);
    let Right::Held(term) = inner.look().await.right else {
        panic!("nobody else is there");
    };
    let document = Document {
        directory: inner.options.directory_url.clone(),
        certificate: Some(certificate(clock(), 2 * DAY)),
        ..Document::default()
    };
    inner.write(term, &document).await.unwrap();
    asked.store(0, Ordering::Relaxed);
    let drain = CancellationToken::new();
    let running = tokio::spawn(Acme(Arc::clone(&inner)).run(drain.clone()));
    sleep(DAY).await;
    let in_a_day = asked.load(Ordering::Relaxed);
    assert!((24..=300).contains(&in_a_day), "{in_a_day} in a day");
    // All are heard often enough to be counted before it is due.
    sleep(DAY.saturating_sub(Duration::from_mins(5))).await;
    asked.store(0, Ordering::Relaxed);
    sleep(Duration::from_mins(1)).await;
    let in_a_minute = asked.load(Ordering::Relaxed);
    assert!(in_a_minute >= 9, "{in_a_minute} in a minute");
    drain.cancel();
    running.await.unwrap();
}

/// The first order failed, say: when the second succeeds, it is soon asked when to renew.
#[tokio::test(start_paused = true)]
async fn before_there_is_a_certificate_the_next_question_is_soon() {
    let (inner, _asked) = process(&clock());
    let again = suggestion::run(inner, 1).await;
    assert_eq!(again, renewal::LOOK_EVERY);
}
