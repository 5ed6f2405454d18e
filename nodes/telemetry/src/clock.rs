//! The time of day, handed in, and how the reference writes times and durations.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// Tells the time of day: the machine's, or a test's.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The operating system's clock.
pub fn system_clock() -> Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where time enters logs; nothing is decided by it"
    )]
    Arc::new(SystemTime::now)
}

/// RFC 3339 in UTC with up to nine digits of a second, without zeros at their end: Go's `RFC3339Nano`.
pub(crate) fn write_rfc3339(out: &mut String, time: SystemTime) {
    let time = OffsetDateTime::from(time);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    let _infallible = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    );
    if time.nanosecond() > 0 {
        let fraction = format!("{:09}", time.nanosecond());
        out.push('.');
        out.push_str(fraction.trim_end_matches('0'));
    }
    out.push('Z');
}

/// The time within the day, `15:04:05` in UTC: what a person at a terminal needs.
pub(crate) fn write_time_of_day(out: &mut String, time: SystemTime) {
    let (hour, minute, second) = OffsetDateTime::from(time).to_hms();
    let _infallible = write!(out, "{hour:02}:{minute:02}:{second:02}Z");
}

/// `02/Jan/2006:15:04:05 +0000`: the time of the Common Log Format, always in UTC.
pub(crate) fn write_common_log(out: &mut String, time: SystemTime) {
    let time = OffsetDateTime::from(time);
    let (hour, minute, second) = time.to_hms();
    let month = time.month().to_string();
    let month = month.get(..3).unwrap_or(&month);
    let _infallible = write!(
        out,
        "{:02}/{month}/{:04}:{hour:02}:{minute:02}:{second:02} +0000",
        time.day(),
        time.year()
    );
}

/// A duration as Go prints it: `36.188µs`, `1.229103ms`, `1m0.5s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GoDuration(pub(crate) Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0 => out.write_str("0s"),
            1..1_000 => write!(out, "{nanos}ns"),
            1_000..1_000_000 => decimal(out, nanos, 3, "µs"),
            1_000_000..1_000_000_000 => decimal(out, nanos, 6, "ms"),
            _ => {
                let minutes = nanos / 60_000_000_000;
                if minutes >= 60 {
                    write!(out, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(out, "{}m", minutes % 60)?;
                }
                decimal(out, nanos % 60_000_000_000, 9, "s")
            }
        }
    }
}

/// `nanos` in a unit of ten to the power of `digits`, without zeros at the end of the fraction.
fn decimal(out: &mut fmt::Formatter<'_>, nanos: u128, digits: u32, unit: &str) -> fmt::Result {
    let one = 10u128.pow(digits);
    write!(out, "{}", nanos / one)?;
    let width = usize::try_from(digits).unwrap_or(0);
    let fraction = format!("{:0width$}", nanos % one);
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        write!(out, ".{fraction}")?;
    }
    out.write_str(unit)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn durations_look_as_go_prints_them() {
        for (nanos, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (36_188, "36.188µs"),
            (1_229_103, "1.229103ms"),
            (7_000_000, "7ms"),
            (1_500_000_000, "1.5s"),
            (60_500_000_000, "1m0.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (86_399_999_999_999, "23h59m59.999999999s"),
        ] {
            assert_eq!(
                GoDuration(Duration::from_nanos(nanos)).to_string(),
                expected
            );
        }
    }

    #[test]
    fn fractions_lose_their_zeros() {
        for (nanos, expected) in [
            (0, "2026-11-21T10:32:54Z"),
            (500_000_000, "2026-11-21T10:32:54.5Z"),
            (682_245_443, "2026-11-21T10:32:54.682245443Z"),
            (10, "2026-11-21T10:32:54.00000001Z"),
        ] {
            let time = UNIX_EPOCH + Duration::new(1_795_257_174, nanos);
            let mut out = String::new();
            write_rfc3339(&mut out, time);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn access_times_are_in_utc() {
        let mut out = String::new();
        write_common_log(&mut out, UNIX_EPOCH + Duration::from_secs(1_795_257_174));
        assert_eq!(out, "21/Nov/2026:10:32:54 +0000");
    }
}
