//! Notifications: what happened in the registry, told to HTTP endpoints.
//!
//! [`Options`] are built into a [`Service`] and a handle, [`Events`]. [`Events::record`] returns when the event is on the
//! disk; [`Service::run`] delivers, to each endpoint in order and at least once, until the drain. What an endpoint cannot
//! take waits in its queue, over restarts, up to a bound.

mod client;
mod delivery;
mod event;
mod header;
mod options;
mod outbox;
mod service;
mod stats;

pub use client::ClientError;
pub use event::{Action, CONTENT_TYPE, Event, Request, Source, Target};
pub use options::{BuildError, EndpointOptions, Home, Limits, Mistake, Options};
pub use outbox::OpenError;
pub use service::{Events, RecordError, Service};
pub use stats::{EndpointStats, Ignore, Metrics};
