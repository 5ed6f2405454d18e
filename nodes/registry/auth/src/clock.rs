//! The present, handed in so that tests can choose it.

use std::sync::Arc;
use std::time::SystemTime;

/// Tells the time of day.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where this room asks for the time of day"
    )]
    Arc::new(SystemTime::now)
}
