//! Saying in time that a certificate must be renewed.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::TlsOptions;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Certificates of ninety days are renewed thirty days before their end: at fourteen something is wrong.
const SOON: Duration = Duration::from_hours(14 * 24);

/// How a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    Later,
    Soon,
    Expired,
}

impl Expiry {
    /// What is not there yet does not expire soon.
    pub(super) fn of(not_after: Option<SystemTime>, now: SystemTime) -> Self {
        match not_after.map(|not_after| not_after.duration_since(now)) {
            Some(Err(_is_past)) => Self::Expired,
            Some(Ok(left)) if left < SOON => Self::Soon,
            Some(Ok(_)) | None => Self::Later,
        }
    }

    /// Whoever supplies certificates renews them in time, or says why not: they may live for a few days only.
    pub(super) fn tell(self, options: &TlsOptions, not_after: Option<SystemTime>) {
        let is_usual = self == Self::Soon && options.supplied.is_some();
        if let Some(not_after) = not_after
            && !is_usual
        {
            self.warn(&options.certificate, not_after);
        }
    }

    fn warn(self, path: &Path, not_after: SystemTime) {
        let certificate = path.display();
        let not_after = OffsetDateTime::from(not_after)
            .format(&Rfc3339)
            .unwrap_or_default();
        match self {
            Self::Later => {}
            Self::Soon => tracing::warn!(%certificate, not_after, "the certificate expires soon"),
            Self::Expired => {
                tracing::warn!(%certificate, not_after, "the certificate has expired: clients refuse it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_weeks_are_soon() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
        let second = Duration::from_secs(1);
        assert_eq!(Expiry::of(Some(now + SOON), now), Expiry::Later);
        assert_eq!(Expiry::of(Some(now + SOON - second), now), Expiry::Soon);
        assert_eq!(Expiry::of(Some(now), now), Expiry::Soon);
        assert_eq!(Expiry::of(Some(now - second), now), Expiry::Expired);
    }
}
