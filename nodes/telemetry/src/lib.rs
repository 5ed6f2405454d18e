//! What a process tells about itself: logs, mails about them, access log, metrics, traces.
//!
//! Nothing here knows the configuration or the server: options come in as plain values, and what is observed as method
//! calls. Names and forms are the reference's, so that dashboards, alerts and log pipelines keep working.

pub mod access;
mod clock;
mod lines;
pub mod log;
pub mod mails;
pub mod metrics;
pub mod redact;
pub mod request;
pub mod startup;
pub mod traces;

pub use clock::{Clock, system_clock};
