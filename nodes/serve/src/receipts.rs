//! When a request came to the cluster. A gateway may send a request to another node long after it came: the rest of a
//! download of hours, the next chunk of an upload. What the client showed was good when it asked, and may not be any more.
//!
//! A receipt vouches for the time, and for nothing else: the node judges itself what the client shows, as of then. It is signed
//! with a key that is made of a secret that gateways and nodes share, over the method, the target, which names repository and
//! digest or session, and what the client showed. Whatever of that is another, whoever has no secret, and whoever comes with
//! it later than a minute, is judged as of now.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::Sha256;

/// The header that a receipt comes in.
pub const RECEIPT: HeaderName = HeaderName::from_static("x-roadstead-receipt");

/// What is signed begins with this: a signature for anything else is none for this.
const PURPOSE: &[u8] = b"roadstead receipt 1\n";

/// How long a receipt is good for once it is signed; and how far the clocks of a gateway and a node may be apart.
const GOOD_FOR: Duration = Duration::from_mins(1);

/// No request that came longer ago is vouched for.
const LONGEST: Duration = Duration::from_hours(24);

/// Writes and reads receipts. Cheap to clone.
#[derive(Clone)]
pub struct Receipts(Hmac<Sha256>);

/// What a receipt is about: a request as a node sees it.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a str,
    pub headers: &'a HeaderMap,
}

impl Receipts {
    /// For all who have this secret.
    pub fn of(secret: &[u8]) -> Self {
        let keyed = |key: &[u8]| {
            Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes a key of any length")
        };
        let own = keyed(secret).chain_update(PURPOSE).finalize();
        Self(keyed(&own.into_bytes()))
    }

    /// The header for a request that came then. None where it shows nothing that could have run out.
    pub fn write(
        &self,
        request: Received<'_>,
        came: SystemTime,
        now: SystemTime,
    ) -> Option<HeaderValue> {
        if !request.headers.contains_key(AUTHORIZATION) {
            return None;
        }
        let times = format!("{}.{}", seconds(came), seconds(now));
        let mac = self.over(&times, request).finalize().into_bytes();
        let mut value = HeaderValue::try_from(format!("{times}.{}", hex(&mac))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// When the request came, if a gateway of this cluster says so.
    pub fn read(&self, request: Received<'_>, now: SystemTime) -> Option<SystemTime> {
        let mut all = request.headers.get_all(RECEIPT).iter();
        let (Some(only), None) = (all.next(), all.next()) else {
            return None;
        };
        let (times, hex) = only.to_str().ok()?.rsplit_once('.')?;
        let mac = self.over(times, request);
        mac.verify_slice(&bytes(hex)?).ok()?;
        let (came, signed) = times.split_once('.')?;
        let (came, signed) = (came.parse::<u64>().ok()?, signed.parse::<u64>().ok()?);
        let (now, leeway) = (seconds(now), GOOD_FOR.as_secs());
        let is_fresh = now.abs_diff(signed) <= leeway;
        let is_recent = came <= signed && signed - came <= LONGEST.as_secs();
        (is_fresh && is_recent).then(|| UNIX_EPOCH + Duration::from_secs(came))
    }

    fn over(&self, times: &str, request: Received<'_>) -> Hmac<Sha256> {
        let shown = request.headers.get_all(AUTHORIZATION).iter();
        let head = format!("{times}\n{}\n{}", request.method, request.target);
        let begun = self.0.clone().chain_update(head);
        // No header, method or target holds a line's end.
        shown.fold(begun, |mac, value| {
            mac.chain_update(b"\n").chain_update(value.as_bytes())
        })
    }
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _infallible = write!(hex, "{byte:02x}");
        hex
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (hex.len() == 64)
        .then(|| digits.map(byte).collect())
        .flatten()
}

/// Without its headers.
impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("method", self.method)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "/v2/a/blobs/sha256:1";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_790_000_000 + seconds)
    }

    fn shown(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, token.parse().unwrap());
        headers
    }

    fn get<'a>(target: &'a str, headers: &'a HeaderMap) -> Received<'a> {
        Received {
            method: &Method::GET,
            target,
            headers,
        }
    }

    /// A request that came at 0 and was sent again at 500.
    fn sent_again(receipts: &Receipts) -> HeaderMap {
        let mut headers = shown("Bearer x");
        let receipt = receipts.write(get(TARGET, &headers), at(0), at(500));
        headers.insert(RECEIPT, receipt.unwrap());
        headers
    }

    #[test]
    fn a_receipt_says_when_the_request_came_for_a_minute() {
        let receipts = Receipts::of(b"secret");
        let headers = sent_again(&receipts);
        let node = Receipts::of(b"secret");
        for now in [440, 500, 560] {
            assert_eq!(node.read(get(TARGET, &headers), at(now)), Some(at(0)));
        }
        for now in [439, 561] {
            assert_eq!(node.read(get(TARGET, &headers), at(now)), None);
        }
    }

    #[test]
    fn it_is_good_for_nothing_else() {
        let receipts = Receipts::of(b"secret");
        let headers = sent_again(&receipts);
        let read = |request| receipts.read(request, at(500));
        assert_eq!(read(get("/v2/a/blobs/sha256:2", &headers)), None);
        let other = Received {
            method: &Method::PUT,
            ..get(TARGET, &headers)
        };
        assert_eq!(read(other), None);
        let mut another = headers.clone();
        another.insert(AUTHORIZATION, "Bearer y".parse().unwrap());
        assert_eq!(read(get(TARGET, &another)), None);
        let mut two = headers.clone();
        two.append(RECEIPT, headers[RECEIPT].clone());
        assert_eq!(read(get(TARGET, &two)), None);
        let others = Receipts::of(b"another secret");
        assert_eq!(others.read(get(TARGET, &headers), at(500)), None);
    }

    #[test]
    fn neither_days_nor_the_future_are_vouched_for() {
        let receipts = Receipts::of(b"secret");
        let day = LONGEST.as_secs();
        for (came, signed, good) in [(0, day, true), (0, day + 1, false), (2, 1, false)] {
            let mut headers = shown("Bearer x");
            let receipt = receipts.write(get(TARGET, &headers), at(came), at(signed));
            headers.insert(RECEIPT, receipt.unwrap());
            let read = receipts.read(get(TARGET, &headers), at(signed));
            assert_eq!(read, good.then(|| at(came)));
        }
    }

    #[test]
    fn nothing_that_is_shown_needs_none_and_nothing_of_it_is_printed() {
        let receipts = Receipts::of(b"secret");
        assert!(
            receipts
                .write(get(TARGET, &HeaderMap::new()), at(0), at(1))
                .is_none()
        );
        let printed = format!("{:?} {receipts:?}", sent_again(&receipts));
        assert!(printed.contains("Sensitive") && !printed.contains("1790000500"));
    }

    #[test]
    fn what_is_malformed_is_nothing() {
        let receipts = Receipts::of(b"secret");
        for wrong in ["", ".", "..", "1.2.3", "a.b.é", &"f".repeat(200)] {
            let mut headers = shown("Bearer x");
            headers.insert(RECEIPT, HeaderValue::from_bytes(wrong.as_bytes()).unwrap());
            assert_eq!(receipts.read(get(TARGET, &headers), at(0)), None, "{wrong}");
        }
    }
}
