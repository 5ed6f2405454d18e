//! Waiting on a condition, with a sentence and a deadline, never for a time.

use std::time::Duration;

use tokio::time::Instant;

/// How often a condition is looked at: short beside everything that is waited for, long beside the look itself.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `condition` holds. `sentence` says what is waited for: "the upload is gone from the store".
///
/// # Panics
/// When it does not hold within `deadline`.
#[track_caller]
pub fn wait_until(sentence: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(sentence, deadline, || condition().then_some(()));
}

/// Looks until `look` finds something, and returns it.
///
/// # Panics
/// When it finds nothing within `deadline`.
#[track_caller]
pub fn wait_for<T>(sentence: &str, deadline: Duration, look: impl FnMut() -> Option<T>) -> T {
    let found = poll(deadline, look);
    assert!(
        found.is_some(),
        "waited {deadline:?} in vain until {sentence}"
    );
    found.expect("was just seen to be there")
}

/// As [`wait_for`], for those who say themselves what it means that nothing came.
pub fn poll<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = look();
        if found.is_some() || begun.elapsed() >= deadline {
            return found;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "cases without a runtime have nothing to stall"
        )]
        std::thread::sleep(LOOK_EVERY);
    }
}

/// As [`wait_until`], in a runtime; a paused clock governs it.
///
/// # Panics
/// When the condition does not hold within `deadline`.
pub async fn wait_until_async(
    sentence: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) {
    let begun = Instant::now();
    while !condition().await {
        assert!(
            begun.elapsed() < deadline,
            "waited {deadline:?} in vain until {sentence}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_time_is_returned() {
        let mut looks = 0;
        let found = wait_for("the third look", Duration::from_secs(5), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "in vain until pigs fly")]
    fn what_never_comes_is_named() {
        wait_until("pigs fly", Duration::from_millis(30), || false);
    }
}
