//! When something is to be done: pure, so that years go by in a test.

use std::time::Duration;

use crate::document::{Certificate, Document};

/// In seconds. After the first failure, and then three times as long each: five in the first hour, which is what Let's
/// Encrypt allows for one name.
const FIRST_PAUSE: u64 = 30;
const LONGEST_PAUSE: u64 = 6 * 3600;

/// An authority that says that it was asked too often is left alone for as long.
pub(crate) const LIMITED_PAUSE: u64 = 3600;

/// How often it is looked what is new. Certificates are loaded, and challenges answered, within this. In a cluster each look
/// is an entry of its log, and whoever is not heard for 20 s is not counted: three looks fit in.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(6);

/// While somebody orders, others are waited for.
const LOOK_OFTEN: Duration = Duration::from_secs(1);

/// With a certificate that is good for long nobody has anything to say: all know from the document when it is to be renewed,
/// and are there again by then.
pub(crate) const LOOK_SELDOM: Duration = Duration::from_mins(5);
const THERE_BEFORE: Duration = Duration::from_mins(10);

/// A time to renew that is earlier than the others knew is not before this, in seconds: they learn of it first.
const NOTICE: u64 = LOOK_SELDOM.as_secs() + 60;

/// How long nothing new is to be expected.
pub(crate) fn look_again_after(document: &Document, hosts: &[String], now: u64) -> Duration {
    if document.under_way {
        return LOOK_OFTEN;
    }
    let current = document.certificate.as_ref();
    let current = current.filter(|certificate| certificate.is_for(hosts));
    let renew_at = current.map_or(0, |certificate| certificate.renew_at);
    let quiet = Duration::from_secs(renew_at.saturating_sub(now)).saturating_sub(THERE_BEFORE);
    if document.order.is_some() {
        LOOK_EVERY
    } else {
        quiet.clamp(LOOK_EVERY, LOOK_SELDOM)
    }
}

/// Whether it is time to order, or to go on with an order.
pub(crate) fn is_due(document: &Document, hosts: &[String], now: u64) -> bool {
    // A clock that was wrong when this was written must not stop renewals for years.
    let held_back = document.not_before > now && document.not_before <= now + 2 * LONGEST_PAUSE;
    if document.order.is_some() && document.under_way {
        // Whoever was at it is gone.
        return true;
    }
    if held_back {
        return false;
    }
    if document.order.is_some() {
        return true;
    }
    let current = document.certificate.as_ref();
    let current = current.filter(|certificate| certificate.is_for(hosts));
    current.is_none_or(|certificate| now >= certificate.renew_at)
}

/// Seconds to the next order, after so many tries without success. `random` is even over all of its values.
pub(crate) fn pause(tries: u32, random: u32) -> u64 {
    let exponent = tries.saturating_sub(1).min(20);
    let pause = FIRST_PAUSE.saturating_mul(3u64.saturating_pow(exponent));
    let pause = pause.min(LONGEST_PAUSE);
    pause + share(pause / 10, random)
}

/// When a certificate is to be renewed: at two thirds of its life, and a little later, since many have the same life.
pub(crate) fn renew_at(certificate: &Certificate, random: u32) -> u64 {
    let life = certificate.not_after.saturating_sub(certificate.not_before);
    certificate.not_before + life / 3 * 2 + share(life / 30, random)
}

/// Another time to renew, at random within what the authority suggests, if the time that is set is not within that. Never
/// in the last tenth of the life, whatever it says.
pub(crate) fn suggested(
    certificate: &Certificate,
    (start, end): (u64, u64),
    now: u64,
    random: u32,
) -> Option<u64> {
    let life = certificate.not_after.saturating_sub(certificate.not_before);
    let latest = certificate.not_after.saturating_sub(life / 10);
    let (start, end) = (start.min(latest), end.min(latest));
    if start > end || (start..=end).contains(&certificate.renew_at) {
        return None;
    }
    let earliest = now.saturating_add(NOTICE).min(certificate.renew_at);
    Some((start + share(end - start, random)).max(earliest))
}

/// A random part of it.
pub(crate) fn share(whole: u64, random: u32) -> u64 {
    let part = u128::from(whole) * u128::from(random) / u128::from(u32::MAX);
    u64::try_from(part).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Order;

    const DAY: u64 = 24 * 3600;

    fn hosts() -> Vec<String> {
        vec!["a.example".to_owned()]
    }

    /// A certificate of ninety days from day 1000 on.
    fn certificate() -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(hosts()).unwrap();
        let chain = params.self_signed(&key).unwrap().pem();
        let mut certificate = Certificate::of(chain, key.serialize_pem()).unwrap();
        certificate.not_before = 1000 * DAY;
        certificate.not_after = 1090 * DAY;
        certificate.renew_at = renew_at(&certificate, 0);
        certificate
    }

    #[test]
    fn it_is_renewed_at_two_thirds_of_its_life() {
        let mut certificate = certificate();
        assert_eq!(certificate.renew_at, 1060 * DAY);
        assert_eq!(renew_at(&certificate, u32::MAX), 1063 * DAY);
        certificate.not_after = certificate.not_before;
        assert_eq!(renew_at(&certificate, u32::MAX), 1000 * DAY);
    }

    #[test]
    fn the_authority_may_want_it_earlier_or_later_but_not_too_late() {
        let mut certificate = certificate();
        let now = 1010 * DAY;
        let suggested =
            |certificate: &_, window, random| suggested(certificate, window, now, random);
        let window = (1070 * DAY, 1072 * DAY);
        assert_eq!(suggested(&certificate, window, 0), Some(1070 * DAY));
        assert_eq!(suggested(&certificate, window, u32::MAX), Some(1072 * DAY));
        certificate.renew_at = 1071 * DAY;
        assert_eq!(suggested(&certificate, window, 0), None, "it is within");
        let past = (DAY, 2 * DAY);
        let others_know = Some(now + NOTICE);
        assert_eq!(suggested(&certificate, past, u32::MAX), others_know);
        let late = (2000 * DAY, 3000 * DAY);
        assert_eq!(suggested(&certificate, late, 9), Some(1081 * DAY));
        assert_eq!(suggested(&certificate, (5, 4), 9), None);
        certificate.renew_at = now + 7;
        let soon = Some(certificate.renew_at);
        assert_eq!(suggested(&certificate, past, 0), soon, "all are there");
    }

    #[test]
    fn all_are_there_when_something_is_to_be_done_and_quiet_before() {
        let mut document = Document::default();
        let after = |document: &Document, now| look_again_after(document, &hosts(), now);
        assert_eq!(after(&document, 1000 * DAY), LOOK_EVERY, "there is none");
        document.certificate = Some(certificate());
        let renew_at = 1060 * DAY;
        assert_eq!(after(&document, renew_at - DAY), LOOK_SELDOM);
        assert_eq!(after(&document, renew_at - 700), Duration::from_secs(100));
        assert_eq!(after(&document, renew_at - 600), LOOK_EVERY);
        assert_eq!(after(&document, renew_at + DAY), LOOK_EVERY, "it failed");
        document.under_way = true;
        assert_eq!(after(&document, renew_at - DAY), LOOK_OFTEN);
    }

    #[test]
    fn only_what_is_needed_is_ordered() {
        let mut document = Document::default();
        assert!(is_due(&document, &hosts(), 0), "there is none");
        document.certificate = Some(certificate());
        assert!(!is_due(&document, &hosts(), 1060 * DAY - 1));
        assert!(is_due(&document, &hosts(), 1060 * DAY));
        let others = ["a.example".to_owned(), "b.example".to_owned()];
        assert!(is_due(&document, &others, 1001 * DAY), "another name");
    }

    #[test]
    fn what_failed_is_not_tried_again_at_once_but_what_somebody_died_over_is_gone_on_with() {
        let now = 1000 * DAY;
        let mut document = Document {
            not_before: now + 1,
            under_way: true,
            ..Document::default()
        };
        assert!(
            !is_due(&document, &hosts(), now),
            "it may have been ordered"
        );
        document.order = Some(Order {
            url: "https://ca/order/1".to_owned(),
            hosts: hosts(),
            key: String::new(),
        });
        assert!(is_due(&document, &hosts(), now));
        document.under_way = false;
        assert!(!is_due(&document, &hosts(), now), "it failed");
        assert!(is_due(&document, &hosts(), now + 1));
        document.not_before = now + 1000 * DAY;
        assert!(is_due(&document, &hosts(), now), "the clock was wrong then");
    }

    #[test]
    fn pauses_grow_to_six_hours_and_differ() {
        let pauses: Vec<u64> = (1..=8).map(|tries| pause(tries, 0)).collect();
        assert_eq!(pauses, [30, 90, 270, 810, 2430, 7290, 21600, 21600]);
        assert_eq!(pause(u32::MAX, u32::MAX), 21600 + 2160);
        let first_hour = pauses.iter().scan(0, |at, pause| {
            *at += pause;
            Some(*at)
        });
        assert_eq!(
            first_hour.filter(|at| *at < 3600).count(),
            4,
            "after the first try"
        );
    }
}
