//! The connection to Redis while there is one, and when to give it up: the breaker.
//!
//! ```text
//! up --(lost, or so many late in a row)--> down --(the keeper connected, and was answered in time)--> up
//! ```
//! Down, nobody asks and nobody waits.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connect::Connection;
use crate::options::Patience;
use crate::watch::{Seen, Watch};

/// Late answers in a row after which Redis is down.
const LATE: u32 = 3;

/// Why commands were not carried out, as far as one knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They were not sent.
    Down,
    /// Redis said no.
    Refused,
    /// They may have been carried out, or be carried out yet.
    Unknown,
}

pub(crate) struct Link {
    live: Mutex<Option<Live>>,
    late: AtomicU32,
    pub(super) lost: Notify,
    patience: Patience,
    watch: Watch,
}

#[derive(Clone)]
struct Live {
    connection: Connection,
    /// Which connection of this process it is.
    number: u64,
    /// A refusal was told: once is enough.
    complained: bool,
}

impl Link {
    pub(crate) fn new(patience: Patience, watch: Watch) -> Self {
        Self {
            live: Mutex::new(None),
            late: AtomicU32::new(0),
            lost: Notify::new(),
            patience,
            watch,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.lock().is_some()
    }

    /// Takes a connection that has been tried.
    pub(super) fn take(&self, connection: Connection, number: u64) {
        self.late.store(0, Ordering::Relaxed);
        *self.lock() = Some(Live {
            connection,
            number,
            complained: false,
        });
        self.watch.tell(Seen::Redis { up: true });
    }

    /// Runs commands, in order, on one connection.
    pub(crate) async fn run(
        &self,
        commands: &[Cmd],
        within: Duration,
    ) -> Result<Vec<Value>, Fault> {
        let Some(Live {
            mut connection,
            number,
            ..
        }) = self.lock().clone()
        else {
            return Err(Fault::Down);
        };
        match timeout(within, connection.run(commands)).await {
            Ok(Ok(values)) => {
                self.late.store(0, Ordering::Relaxed);
                Ok(values)
            }
            Ok(Err(error)) if is_refusal(&error) => {
                self.complain(number, &error);
                Err(Fault::Refused)
            }
            Ok(Err(error)) => {
                self.give_up(number, &error);
                Err(Fault::Unknown)
            }
            Err(_late) => {
                if self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE {
                    self.give_up(number, &format_args!("no answer within {within:?}"));
                }
                Err(Fault::Unknown)
            }
        }
    }

    /// Whether a connection answers, and in time.
    pub(super) async fn answers(&self, connection: &mut Connection) -> RedisResult<()> {
        match timeout(self.patience.read, connection.ping()).await {
            Ok(answered) => answered,
            Err(_late) => Err(RedisError::from((
                ErrorKind::Io,
                "connected, but slow to answer",
            ))),
        }
    }

    /// Redis is down, unless somebody else said so and a new connection is there.
    fn give_up(&self, number: u64, reason: &dyn fmt::Display) {
        let mut live = self.lock();
        if live.as_ref().is_none_or(|live| live.number != number) {
            return;
        }
        *live = None;
        drop(live);
        tracing::warn!(%reason, "redis failed: going on without it");
        self.watch.tell(Seen::Redis { up: false });
        self.lost.notify_one();
    }

    fn complain(&self, number: u64, error: &RedisError) {
        if let Some(live) = self.lock().as_mut().filter(|live| live.number == number)
            && !std::mem::replace(&mut live.complained, true)
        {
            tracing::warn!(%error, "redis refuses a command: what it would have told is asked of the storage");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Redis answered, and did nothing. What says that this is not, or not yet, the master is as good as no connection.
fn is_refusal(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => !matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        ),
        // As OOM, when nothing may be evicted.
        ErrorKind::Extension => true,
        _ => false,
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}
