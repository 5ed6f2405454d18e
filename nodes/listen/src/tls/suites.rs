//! Versions and cipher suites, by the names that Go gives them.

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

use super::{TlsError, TlsOptions};

/// The oldest version of TLS that is spoken. 1.0 and 1.1 are spoken by nobody any more (RFC 8996).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Minimum {
    /// 1.2 and 1.3.
    #[default]
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// Those of TLS 1.2 that are supported: with forward secrecy and authenticated encryption.
const OF_TLS12: [(&str, SupportedCipherSuite); 6] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Those of TLS 1.3: accepted in a list, where they change nothing.
const OF_TLS13: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

/// What the reference also knows, and nobody should want.
const UNSUPPORTED: [&str; 10] = [
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// The provider with the suites that the options leave, and the versions that can be spoken with them.
pub(super) fn chosen(
    options: &TlsOptions,
) -> Result<(CryptoProvider, &'static [&'static SupportedProtocolVersion]), TlsError> {
    let provider = aws_lc_rs::default_provider();
    match options.minimum {
        Minimum::Tls13 => Ok((provider, NEWEST)),
        Minimum::Tls12 if options.cipher_suites.is_empty() => Ok((provider, BOTH)),
        Minimum::Tls12 => {
            check(&options.cipher_suites)?;
            let (provider, any) = narrowed(provider, &options.cipher_suites);
            // With no suite left for it, TLS 1.2 is not spoken.
            Ok((provider, if any { BOTH } else { NEWEST }))
        }
    }
}

/// Leaves of TLS 1.2 what is listed, and says whether that is anything.
fn narrowed(mut provider: CryptoProvider, listed: &[String]) -> (CryptoProvider, bool) {
    let wanted = |suite: &SupportedCipherSuite| {
        OF_TLS12
            .iter()
            .any(|(name, of)| of.suite() == suite.suite() && listed.iter().any(|own| own == name))
    };
    provider
        .cipher_suites
        .retain(|suite| suite.version().version == version::TLS13.version || wanted(suite));
    let any = provider.cipher_suites.iter().any(wanted);
    (provider, any)
}

fn supported() -> Vec<&'static str> {
    let of_tls12 = OF_TLS12.iter().map(|(name, _)| *name);
    of_tls12.chain(OF_TLS13).collect()
}

fn check(listed: &[String]) -> Result<(), TlsError> {
    let supported = supported();
    let (remaining, others): (Vec<String>, Vec<String>) = listed
        .iter()
        .cloned()
        .partition(|name| supported.contains(&name.as_str()));
    let (unsupported, unknown): (Vec<String>, Vec<String>) = others
        .into_iter()
        .partition(|name| UNSUPPORTED.contains(&name.as_str()));
    if !unknown.is_empty() {
        return Err(TlsError::UnknownSuites { unknown, supported });
    }
    if !unsupported.is_empty() {
        return Err(TlsError::UnsupportedSuites {
            unsupported,
            remaining,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> TlsOptions {
        TlsOptions {
            cipher_suites: names.iter().map(|&name| name.to_owned()).collect(),
            ..TlsOptions::default()
        }
    }

    fn suites(options: &TlsOptions) -> (Vec<String>, usize) {
        let (provider, versions) = chosen(options).unwrap();
        let names = provider.cipher_suites.iter();
        let names = names.map(|suite| format!("{:?}", suite.suite()));
        (names.collect(), versions.len())
    }

    #[test]
    fn nothing_listed_is_all_nine() {
        assert_eq!(suites(&listing(&[])).0.len(), 9);
        assert_eq!(suites(&listing(&[])).1, 2);
    }

    #[test]
    fn a_list_governs_tls12_and_leaves_tls13() {
        for (name, suite) in OF_TLS12 {
            let (left, versions) = suites(&listing(&[name]));
            assert_eq!(left.len(), 4, "{left:?}");
            assert!(left.contains(&format!("{:?}", suite.suite())), "{left:?}");
            assert_eq!(format!("{:?}", suite.suite()), name);
            assert_eq!(versions, 2);
        }
    }

    #[test]
    fn a_list_of_tls13_leaves_no_tls12() {
        let (left, versions) = suites(&listing(&["TLS_AES_128_GCM_SHA256"]));
        assert_eq!((left.len(), versions), (3, 1));
    }

    #[test]
    fn what_cannot_be_had_is_named_with_what_can() {
        let error = chosen(&listing(&[
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_RSA_WITH_AES_256_GCM_SHA384",
        ]));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_256_GCM_SHA384;"),
            "{error}"
        );
        assert!(
            error.ends_with("the list is: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            "{error}"
        );
        let error = chosen(&listing(&["ECDHE-RSA-AES128-GCM-SHA256"])).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("unknown: ECDHE-RSA-AES128-GCM-SHA256"),
            "{error}"
        );
        assert!(
            error.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            "{error}"
        );
    }

    #[test]
    fn with_tls13_as_the_minimum_the_list_is_not_read() {
        let options = TlsOptions {
            minimum: Minimum::Tls13,
            ..listing(&["NONSENSE"])
        };
        assert_eq!(suites(&options).1, 1);
    }
}
