//! A clock that nobody sets.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since some beginning: never set, and it goes on while the machine sleeps.
pub type Elapsed = Arc<dyn Fn() -> Duration + Send + Sync>;

/// `CLOCK_BOOTTIME`.
pub fn boot_time() -> Elapsed {
    Arc::new(|| {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    })
}
