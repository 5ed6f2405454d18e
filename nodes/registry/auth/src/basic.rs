//! `Authorization: Basic` (RFC 7617), and taking a header's scheme off it.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::MAX_HEADER;

/// Clients disagree about the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A user's name and what claims to be their password.
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// What a header shows.
#[derive(Debug)]
pub(crate) enum Shown {
    /// Nothing that this scheme reads.
    Nothing,
    Credentials(Credentials),
    Malformed,
}

/// Reads an `Authorization` header. Credentials that are empty altogether are none: so skopeo and podman answer a challenge
/// when nobody logged in.
pub(crate) fn parse(header: Option<&[u8]>) -> Shown {
    let Some(encoded) = after_scheme(header, "basic") else {
        return Shown::Nothing;
    };
    match decode(encoded) {
        Some(shown) if shown.user.is_empty() && shown.password.is_empty() => Shown::Nothing,
        Some(shown) => Shown::Credentials(shown),
        None => Shown::Malformed,
    }
}

/// What follows the scheme, if the header is of that scheme and not too long.
pub(crate) fn after_scheme<'a>(header: Option<&'a [u8]>, scheme: &str) -> Option<&'a [u8]> {
    let header = header.filter(|header| header.len() <= MAX_HEADER)?;
    let space = header.iter().position(|b| *b == b' ')?;
    let (found, rest) = header.split_at(space);
    let rest = rest.trim_ascii();
    (found.eq_ignore_ascii_case(scheme.as_bytes()) && !rest.is_empty()).then_some(rest)
}

fn decode(encoded: &[u8]) -> Option<Credentials> {
    let bytes = Zeroizing::new(BASE64.decode(encoded).ok()?);
    let text = str::from_utf8(&bytes).ok()?;
    // The first colon: passwords may have more.
    let (user, password) = text.split_once(':')?;
    Some(Credentials {
        user: user.to_owned(),
        password: Zeroizing::new(password.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(header: &str) -> Option<(String, String)> {
        match parse(Some(header.as_bytes())) {
            Shown::Credentials(c) => Some((c.user.clone(), c.password.to_string())),
            Shown::Nothing | Shown::Malformed => None,
        }
    }

    #[test]
    fn the_first_colon_divides() {
        let of = |text: &str| shown(&format!("Basic {}", BASE64.encode(text)));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(of("user:pass:word"), pair("user", "pass:word"));
        assert_eq!(of("jürgen:größe"), pair("jürgen", "größe"));
        assert_eq!(of("user:"), pair("user", ""));
        assert_eq!(of(":x"), pair("", "x"));
        assert_eq!(shown("bAsIc dXNlcjpwYXNz"), pair("user", "pass"));
        assert_eq!(shown("Basic  dTpwYQ "), pair("u", "pa"));
    }

    #[test]
    fn what_is_malformed_is_told_from_what_is_absent() {
        for header in ["Basic !", "Basic dXNlcg==", "Basic /w==", "Basic dTpw dTpw"] {
            assert!(
                matches!(parse(Some(header.as_bytes())), Shown::Malformed),
                "{header}"
            );
        }
        let long = format!("Basic {}", "A".repeat(MAX_HEADER));
        for header in [
            "",
            "Basic",
            "Basic ",
            "Bearer dTpw",
            "Basic Og==",
            "BasicdTpw",
            &long,
        ] {
            assert!(
                matches!(parse(Some(header.as_bytes())), Shown::Nothing),
                "{header}"
            );
        }
        assert!(matches!(parse(None), Shown::Nothing));
    }

    #[test]
    fn credentials_do_not_show_in_debug_output() {
        let shown = parse(Some(b"Basic dXNlcjpwYXNz"));
        assert_eq!(format!("{shown:?}"), "Credentials(Credentials)");
    }

    proptest! {
        #[test]
        fn no_header_panics(header in prop::collection::vec(any::<u8>(), 0..200), encoded in any::<Vec<u8>>()) {
            drop(parse(Some(&header)));
            let mut basic = b"Basic ".to_vec();
            basic.extend_from_slice(&header);
            drop(parse(Some(&basic)));
            drop(parse(Some(format!("Basic {}", BASE64.encode(encoded)).as_bytes())));
        }
    }
}
