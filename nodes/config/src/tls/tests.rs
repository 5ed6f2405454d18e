//! `http.tls`, key by key.

use super::{CipherSuite, ClientAuth, SUITES, Tls, TlsVersion};
use crate::Config;

fn load(yaml: &str) -> Result<(Option<Tls>, Vec<String>), String> {
    let text = format!("version: 0.1\nstorage: inmemory\nhttp:\n  tls: {yaml}\n");
    let loaded = Config::load(&text, []).map_err(|mistakes| mistakes.to_string())?;
    let warnings = loaded.warnings.iter().map(ToString::to_string);
    Ok((loaded.config.http.tls, warnings.collect()))
}

/// With a certificate and its key.
fn with(yaml: &str) -> Result<(Tls, Vec<String>), String> {
    let (tls, warnings) = load(&format!("{{certificate: /c, key: /k, {yaml}}}"))?;
    Ok((tls.expect("a certificate"), warnings))
}

#[test]
fn nothing_set_is_plain_http() {
    for yaml in [
        "",
        "{}",
        "{certificate: '', letsencrypt: {cachefile: ~, hosts: []}}",
    ] {
        assert_eq!(load(yaml), Ok((None, Vec::new())), "{yaml}");
    }
}

#[test]
fn anything_set_is_https_or_a_mistake() {
    let certificate =
        "http.tls.certificate (line 4): is missing; write the path of the chain in PEM";
    let key = "http.tls.key (line 4): is missing; write the path of the certificate's key in PEM";
    assert_eq!(load("{certificate: /c}").unwrap_err(), key);
    assert_eq!(load("{key: /k}").unwrap_err(), certificate);
    let both = format!("{certificate}\n{key}");
    assert_eq!(load("{minimumtls: tls1.3}").unwrap_err(), both);
    assert_eq!(load("{clientcas: [/ca]}").unwrap_err(), both);
}

#[test]
fn only_versions_that_are_not_broken_are_spoken() {
    let minimum =
        |version: &str| with(&format!("minimumtls: {version}")).map(|(tls, _)| tls.minimum);
    assert_eq!(with("").unwrap().0.minimum, TlsVersion::Tls12);
    assert_eq!(minimum("tls1.2"), Ok(TlsVersion::Tls12));
    assert_eq!(minimum("tls1.3"), Ok(TlsVersion::Tls13));
    assert_eq!(minimum("TLS1.3"), Ok(TlsVersion::Tls13));
    for old in ["tls1.0", "tls1.1"] {
        let expected = format!(
            "http.tls.minimumtls (line 4): \"{old}\" is broken and no longer spoken (RFC 8996); \
             write tls1.2 or tls1.3"
        );
        assert_eq!(minimum(old), Err(expected));
    }
    assert!(
        minimum("1.2")
            .unwrap_err()
            .contains("is not one of tls1.2, tls1.3")
    );
}

#[test]
fn clients_show_certificates_in_one_of_four_ways() {
    let auth = |mode: &str| {
        let yaml = format!("clientcas: [/ca], clientauth: {mode}");
        with(&yaml).unwrap().0.clients.unwrap().auth
    };
    assert_eq!(with("").unwrap().0.clients, None);
    assert_eq!(auth("''"), ClientAuth::RequireAndVerify);
    assert_eq!(auth("request-client-cert"), ClientAuth::Request);
    assert_eq!(auth("require-any-client-cert"), ClientAuth::RequireAny);
    assert_eq!(
        auth("verify-client-cert-if-given"),
        ClientAuth::VerifyIfGiven
    );
    assert_eq!(
        auth("require-and-verify-client-cert"),
        ClientAuth::RequireAndVerify
    );
    let told = with("clientcas: [/ca], clientauth: require-any-client-certs").unwrap_err();
    assert!(
        told.ends_with("did you mean require-any-client-cert?"),
        "{told}"
    );
}

#[test]
fn certificates_that_nobody_would_ask_for_are_a_mistake() {
    let told = with("clientauth: require-and-verify-client-cert").unwrap_err();
    let expected = "http.tls.clientauth (line 4): nobody would be asked for a certificate without clientcas beside it";
    assert_eq!(told, expected);
    let (tls, warnings) = with("clientauth: request-client-cert").unwrap();
    assert_eq!(tls.clients, None);
    assert_eq!(
        warnings,
        ["http.tls.clientauth (line 4): has no effect without clientcas"]
    );
}

#[test]
fn suites_of_tls_1_2_are_chosen_and_those_of_1_3_always_there() {
    let newest = &CipherSuite::ALL[..3];
    assert!(
        newest
            .iter()
            .all(|suite| suite.version() == TlsVersion::Tls13)
    );
    assert_eq!(with("").unwrap().0.cipher_suites, CipherSuite::ALL);
    let chosen = |names: &str| with(&format!("ciphersuites: [{names}]")).unwrap();
    let (tls, warnings) = chosen("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256");
    let expected = [newest, &[CipherSuite::EcdheRsaAes128GcmSha256]].concat();
    assert_eq!((tls.cipher_suites, warnings), (expected, Vec::new()));
    let (tls, warnings) = chosen("TLS_RSA_WITH_AES_128_CBC_SHA");
    assert_eq!(tls.cipher_suites, newest);
    let expected =
        "http.tls.ciphersuites (line 4): too weak, and not offered: TLS_RSA_WITH_AES_128_CBC_SHA";
    assert_eq!(warnings, [expected]);
}

#[test]
fn a_suite_that_is_unknown_is_a_mistake_with_a_suggestion() {
    let told = with("ciphersuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265]").unwrap_err();
    let expected = "http.tls.ciphersuites[0] (line 4): \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265\" is not a cipher \
                    suite; did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?";
    assert_eq!(told, expected);
}

#[test]
fn suites_have_no_effect_on_tls_1_3() {
    let (_, warnings) =
        with("minimumtls: tls1.3, ciphersuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]").unwrap();
    assert_eq!(
        warnings,
        ["http.tls.ciphersuites (line 4): has no effect on TLS 1.3"]
    );
}

#[test]
fn suites_have_their_names_in_go() {
    for suite in CipherSuite::ALL {
        assert!(SUITES.contains(&(suite.name(), suite)));
    }
    let name = CipherSuite::EcdheRsaChacha20Poly1305.name();
    assert_eq!(name, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256");
}
