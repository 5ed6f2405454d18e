//! Keeps the connection: makes it, waits until it is lost, makes another.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::connect::{self, Connection};
use super::link::Link;
use crate::epoch::Epoch;
use crate::options::RedisOptions;

/// What a start waits for the first connection. The first requests would rather have it, and a start must not hang.
const AT_START: Duration = Duration::from_secs(1);

/// Between two attempts: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A connection that lived so long was a good one; after others, pauses go on growing.
const GOOD: Duration = Duration::from_secs(30);

/// Starts keeping; returns after the first attempt, or a moment.
pub(super) async fn start(
    options: RedisOptions,
    link: Arc<Link>,
    epoch: Arc<Epoch>,
) -> AbortOnDropHandle<()> {
    let (tried, first) = oneshot::channel();
    let keeper = AbortOnDropHandle::new(tokio::spawn(keep(options, link, epoch, tried)));
    if timeout(AT_START, first).await.is_err() {
        tracing::warn!("redis takes its time to answer: starting without it");
    }
    keeper
}

async fn keep(
    options: RedisOptions,
    link: Arc<Link>,
    epoch: Arc<Epoch>,
    tried: oneshot::Sender<()>,
) {
    let mut tried = Some(tried);
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    for number in 0.. {
        match connected(&options, &link).await {
            Ok(connection) => {
                // It may be another server, or the same with an older state: a removal may not have happened there.
                epoch.doubt();
                link.take(connection, number);
                tracing::info!("redis is used: {}", connect::place(&options.servers));
                told = true;
                let since = Instant::now();
                let _nobody_waits_any_more = tried.take().map(|tried| tried.send(()));
                link.lost.notified().await;
                if since.elapsed() >= GOOD {
                    pause = FIRST_PAUSE;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    let place = connect::place(&options.servers);
                    tracing::warn!(%error, "redis cannot be used: {place}; going on without it, and trying again");
                }
                let _nobody_waits_any_more = tried.take().map(|tried| tried.send(()));
            }
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn connected(options: &RedisOptions, link: &Link) -> Result<Connection, RedisError> {
    let mut connection = connect::connect(options).await?;
    link.answers(&mut connection).await?;
    Ok(connection)
}

/// Between half of it and all: many processes lose the same Redis at the same time.
fn jittered(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}
