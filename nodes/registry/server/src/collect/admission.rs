//! Admission of what promises or references a digest: it must not be collected behind the request's back.
//!
//! ```text
//! flight (1) ──▶ admit (2) ──▶ act (3) ──▶ stands (4) ──▶ answer
//!                  ▲                          │
//!                  └──────────────────────────┘ something was condemned meanwhile
//! ```
//! While nothing is condemned this costs an entry in a table and two loads. That all is still in the store is not asked
//! again in (4): what was there in (3) is reaped only once this node has acknowledged that it is condemned, which (4) sees,
//! or has lost its lease. And what it learns for the cache is learnt with a ticket from before (2): a request that ends
//! without an answer is not vetoed any more, and would leave there what nobody rescued.

use std::sync::Arc;
use std::time::Duration;

use roadstead_cache::Ticket;
use roadstead_metadata::{CollectOutcome, Unavailable, Unit};
use roadstead_oci::{Child, Digest, Manifest, Name};
use tokio::time::Instant;

use super::flights::InFlight;
use crate::Registry;
use crate::error::Error;

/// How often a request begins again because something that it names was condemned meanwhile. A run condemns a unit once.
pub(crate) const ATTEMPTS: usize = 8;

/// How long a push waits until what it brings is removed. Proxies wait for a minute.
const WAIT: Duration = Duration::from_secs(25);

/// How often the log is asked meanwhile whether that is removed, when others still are.
const ASKED_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Goes on without a lease, and then promises nothing: pulls outlive the metadata service.
    Lookup,
    /// Writes, or says that something exists to one who does not bring it then.
    Promise,
}

/// A request in flight with what it names.
#[derive(Debug)]
pub(crate) struct Flight {
    kind: Kind,
    units: Arc<[Unit]>,
    entered: Arc<InFlight>,
    /// Of the lease in (2).
    epoch: Option<u64>,
    /// Known in (2).
    version: u64,
    /// From before (2). Good for nothing without a lease: the log was not asked.
    ticket: Ticket,
}

impl Flight {
    /// It turned out to name these as well. Whether that is news, so that it has to be admitted anew.
    pub(crate) fn widen(&mut self, more: impl IntoIterator<Item = Unit>) -> bool {
        let mut units = self.units.to_vec();
        units.extend(more);
        units.sort_unstable();
        units.dedup();
        if units.len() == self.units.len() {
            return false;
        }
        self.units = units.into();
        self.entered.widen(Arc::clone(&self.units));
        true
    }

    /// To learn with what exists.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// It is in flight as long as somebody has this.
    pub(crate) fn entered(&self) -> Arc<InFlight> {
        Arc::clone(&self.entered)
    }

    /// The epoch under which an admitted write writes links and tags.
    pub(crate) fn epoch(&self) -> Result<u64, Error> {
        self.epoch.ok_or_else(no_lease)
    }
}

impl Registry {
    /// (1) of a request that sends what exists.
    pub(crate) fn lookup(&self, units: Vec<Unit>) -> Flight {
        self.flight(Kind::Lookup, units)
    }

    /// (1) of a request that writes, or is relied on.
    pub(crate) fn promise(&self, units: Vec<Unit>) -> Flight {
        self.flight(Kind::Promise, units)
    }

    fn flight(&self, kind: Kind, mut units: Vec<Unit>) -> Flight {
        units.sort_unstable();
        units.dedup();
        let units: Arc<[Unit]> = units.into();
        Flight {
            kind,
            entered: Arc::new(
                self.following
                    .enter(Arc::clone(&units), kind == Kind::Promise),
            ),
            units,
            epoch: None,
            version: 0,
            ticket: Ticket::default(),
        }
    }

    /// (2). Answers with those of its units that are being reaped, and do not exist: a lookup finds nothing then, and a
    /// write has to wait.
    pub(crate) async fn admit(&self, flight: &mut Flight) -> Result<Vec<Unit>, Error> {
        for _ in 0..ATTEMPTS {
            flight.ticket = self.cache.begin();
            flight.epoch = self.lease.epoch();
            if flight.epoch.is_none() {
                flight.ticket = Ticket::default();
                return match flight.kind {
                    Kind::Lookup => Ok(Vec::new()),
                    Kind::Promise => Err(no_lease()),
                };
            }
            let (version, is_anything) = self.following.mark();
            flight.version = version;
            if !is_anything || !self.is_questioned(flight) {
                return Ok(Vec::new());
            }
            match self.following.rescue(version, &flight.units).await {
                Ok(CollectOutcome::Rescued) => return Ok(Vec::new()),
                Ok(CollectOutcome::Gone { units }) => {
                    self.following.follow().await?;
                    return Ok(units);
                }
                Ok(_stale) => self.following.follow().await?,
                // Once the lease is over, a lookup goes on without a promise.
                Err(error) if self.lease.is_held() => return Err(error.into()),
                Err(_unavailable) => {}
            }
        }
        Err(undone())
    }

    /// (2) of a write that waits for what it brings: until it is removed, and may come again.
    pub(crate) async fn admit_in_time(&self, flight: &mut Flight) -> Result<(), Error> {
        let until = Instant::now() + WAIT;
        while !self.admit(flight).await?.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Busy(
                    "what is pushed is being removed by the garbage collection",
                ));
            }
            let version = self.following.view().stamp.version;
            let _asked_again = self.following.ended(version, left.min(ASKED_EVERY)).await;
        }
        Ok(())
    }

    /// (4). Whether what was done may be answered for; otherwise it has to be admitted anew.
    pub(crate) fn stands(&self, flight: &Flight) -> Result<bool, Error> {
        let epoch = self.lease.epoch();
        match flight.kind {
            // Read from the store by a node that promises nothing.
            Kind::Lookup if flight.epoch.is_none() || epoch.is_none() => return Ok(true),
            Kind::Lookup if flight.epoch != epoch => return Ok(false),
            // A newer push may have been acknowledged elsewhere meanwhile.
            Kind::Promise if epoch.is_none() || flight.epoch != epoch => {
                let meanwhile = Unavailable::because("the node lost its lease meanwhile");
                return Err(meanwhile.into());
            }
            Kind::Lookup | Kind::Promise => {}
        }
        let (version, is_anything) = self.following.mark();
        Ok(version == flight.version || !is_anything || !self.is_questioned(flight))
    }

    fn is_questioned(&self, flight: &Flight) -> bool {
        let view = self.following.view();
        flight.units.iter().any(|unit| view.questions(unit))
    }
}

fn no_lease() -> Error {
    Unavailable::because("this node holds no lease").into()
}

/// A request that began again and again.
pub(crate) fn undone() -> Error {
    Unavailable::because("what it names is condemned again and again").into()
}

/// What a request names that is about a blob of a repository.
pub(crate) fn of_blob(name: &Name, digest: &Digest) -> Vec<Unit> {
    vec![layer(name, digest), data(digest)]
}

/// The same of a manifest.
pub(crate) fn of_manifest(name: &Name, digest: &Digest) -> Vec<Unit> {
    vec![revision(name, digest), data(digest)]
}

/// What a push of a manifest names: that and its children, of which an index may have pushed some as blobs.
pub(crate) fn of_push(name: &Name, digest: &Digest, manifest: &Manifest) -> Vec<Unit> {
    let mut units = of_manifest(name, digest);
    for child in manifest.children() {
        let digest = &child.descriptor().digest;
        units.extend(of_blob(name, digest));
        if matches!(child, Child::Manifest(_)) {
            units.push(revision(name, digest));
        }
    }
    units
}

pub(crate) fn data(digest: &Digest) -> Unit {
    Unit::Data {
        digest: digest.clone(),
    }
}

pub(crate) fn layer(name: &Name, digest: &Digest) -> Unit {
    Unit::Layer {
        repository: name.clone(),
        digest: digest.clone(),
    }
}

pub(crate) fn revision(name: &Name, digest: &Digest) -> Unit {
    Unit::Revision {
        repository: name.clone(),
        digest: digest.clone(),
    }
}

/// What a unit is about.
pub(crate) fn digest_of(unit: &Unit) -> &Digest {
    match unit {
        Unit::Revision { digest, .. } | Unit::Layer { digest, .. } | Unit::Data { digest } => {
            digest
        }
    }
}
