//! Serving what the files say now, if it can be served.
//!
//! ```text
//!   look (read all files) ── as last tried ──────────────────────────> nothing
//!        │ other than last tried
//!        ├─ watch, and not what the last look saw ── remember it ───> nothing yet
//!        └─ watch, and seen twice; or reload_now ── try ┬─ good ────> new connections are served with it
//!                                                       └─ bad ─────> log why; the old one stays
//! ```
//! A renewal writes several files, in any order and not at once. What is half written differs from one look to the next,
//! or does not fit together; either way the next look tries again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::expiry::Expiry;
use super::files::Files;
use super::loaded::Loaded;
use super::{Tls, TlsError, TlsOptions};

/// What is known of the files.
pub(super) struct Seen {
    /// What the last attempt was made of, whether it was good or not.
    tried: Look,
    /// What the last look saw, when it was something else.
    unsettled: Option<Look>,
    /// What was last said of the served certificate's end.
    expiry: Expiry,
}

/// The files, or why they cannot be read: what looks are compared by.
type Look = Result<Arc<Files>, String>;

fn look_of(read: &Result<Arc<Files>, TlsError>) -> Look {
    match read {
        Ok(files) => Ok(Arc::clone(files)),
        Err(error) => Err(error.in_full()),
    }
}

impl Seen {
    /// The first look, and what is to be served.
    pub(super) fn first(options: &TlsOptions) -> Result<(Self, Loaded), TlsError> {
        let files = Files::read(options)?;
        let loaded = Loaded::new(&files, options)?;
        let expiry = Expiry::of(loaded.not_after, now());
        expiry.tell(options, loaded.not_after);
        let seen = Self {
            tried: Ok(Arc::new(files)),
            unsettled: None,
            expiry,
        };
        Ok((seen, loaded))
    }

    /// Whether this look is to be tried: it is new, and the look before saw the same.
    fn is_due(&mut self, look: Look) -> bool {
        if look == self.tried {
            self.unsettled = None;
            return false;
        }
        let is_settled = self.unsettled.as_ref() == Some(&look);
        self.unsettled = Some(look);
        is_settled
    }

    fn say_when_it_expires(&mut self, tls: &Tls) {
        let not_after = tls.not_after();
        let expiry = Expiry::of(not_after, now());
        if expiry != self.expiry {
            expiry.tell(&tls.0.options, not_after);
            self.expiry = expiry;
        }
    }
}

impl Tls {
    /// Looks at the files every so often, forever: run it beside the server, and drop it with it. A few seconds are
    /// often enough.
    ///
    /// A change is served once two looks in a row have seen it. New connections see it, those that exist go on as they
    /// are. What cannot be served is logged once, and the old pair stays. A certificate that comes near its end is
    /// logged too.
    pub async fn watch(self, every: Duration) -> Infallible {
        let mut looks = interval_at(Instant::now() + every, every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let mut seen = self.0.seen.lock().await;
            let read = self.read().await;
            if seen.is_due(look_of(&read)) {
                let _logged = self.attempt(&mut seen, read).await;
            }
            seen.say_when_it_expires(&self);
        }
    }

    /// Reads the files and serves what they say, as for a SIGHUP. If that cannot be done the old pair stays; why is
    /// logged here, and returned.
    pub async fn reload_now(&self) -> Result<(), TlsError> {
        let mut seen = self.0.seen.lock().await;
        let read = self.read().await;
        self.attempt(&mut seen, read).await
    }

    async fn read(&self) -> Result<Arc<Files>, TlsError> {
        let inner = Arc::clone(&self.0);
        spawn_blocking(move || Files::read(&inner.options).map(Arc::new))
            .await
            .unwrap_or(Err(TlsError::Ending))
    }

    async fn attempt(
        &self,
        seen: &mut Seen,
        read: Result<Arc<Files>, TlsError>,
    ) -> Result<(), TlsError> {
        let look = look_of(&read);
        let made = match read {
            Ok(files) => self.make(files).await,
            Err(error) => Err(error),
        };
        // Only now: an attempt that was given up half-way is made again.
        seen.tried = look;
        seen.unsettled = None;
        let certificate = self.0.options.certificate.display();
        match made {
            Ok(loaded) => {
                self.serve(loaded);
                tracing::info!(%certificate, "new connections are served with the certificate as it is now");
                seen.say_when_it_expires(self);
                Ok(())
            }
            Err(error) => {
                tracing::error!(
                    %certificate, error = error.in_full(),
                    "the certificate was not reloaded; the old one is still served"
                );
                Err(error)
            }
        }
    }

    async fn make(&self, files: Arc<Files>) -> Result<Loaded, TlsError> {
        let inner = Arc::clone(&self.0);
        spawn_blocking(move || Loaded::new(&files, &inner.options))
            .await
            .unwrap_or(Err(TlsError::Ending))
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(UnixTime::now().as_secs())
}
