//! Chains that lead to the bundle, and those that do not.

use proptest::prelude::*;

use super::super::algorithm::Algorithm;
use super::super::forge::{Holder, Kind, now};
use super::*;

fn bundle(certificates: &[&Holder]) -> Bundle {
    let pem: String = certificates.iter().map(|holder| holder.pem()).collect();
    Bundle::parse(pem.as_bytes()).unwrap()
}

fn leads(bundle: &Bundle, chain: &[&Holder]) -> bool {
    let chain: Vec<_> = chain.iter().map(|holder| holder.der.clone()).collect();
    bundle.key_of(&chain, now()).is_ok()
}

#[test]
fn a_chain_leads_to_the_bundle_or_nowhere() {
    let root = Holder::self_signed(Kind::ROOT, Algorithm::ES256);
    let foreign = Holder::self_signed(Kind::ROOT, Algorithm::ES256);
    let middle = Holder::below(&root, Kind::MIDDLE);
    let leaf = Holder::below(&root, Kind::LEAF);
    let below_middle = Holder::below(&middle, Kind::LEAF);
    let below_leaf = Holder::below(&leaf, Kind::LEAF);
    let of_foreign = Holder::below(&foreign, Kind::LEAF);
    let trusted = bundle(&[&root]);
    assert!(leads(&trusted, &[&leaf]));
    assert!(leads(&trusted, &[&leaf, &root]));
    assert!(leads(&trusted, &[&below_middle, &middle]));
    assert!(leads(&trusted, &[&below_middle, &of_foreign, &middle]));
    assert!(leads(&bundle(&[&middle]), &[&below_middle]));
    assert!(!leads(&trusted, &[]));
    assert!(!leads(&trusted, &[&below_middle]));
    // Of an authority with the same name, and with the trusted one beside it.
    assert!(!leads(&trusted, &[&of_foreign]));
    assert!(!leads(&trusted, &[&of_foreign, &foreign]));
    assert!(!leads(&trusted, &[&of_foreign, &root]));
    // Signed by somebody who is no authority.
    assert!(!leads(&trusted, &[&below_leaf, &leaf]));
}

#[test]
fn certificates_hold_for_their_time() {
    let root = Holder::self_signed(Kind::ROOT, Algorithm::ES256);
    let trusted = bundle(&[&root]);
    let expired = Holder::below(&root, Kind::LEAF.valid(-1000, -1));
    let coming = Holder::below(&root, Kind::LEAF.valid(1, 1000));
    let old_middle = Holder::below(&root, Kind::MIDDLE.valid(-1000, -1));
    let below = Holder::below(&old_middle, Kind::LEAF);
    assert!(!leads(&trusted, &[&expired]) && !leads(&trusted, &[&coming]));
    assert!(!leads(&trusted, &[&below, &old_middle]));
    let old_root = Holder::self_signed(Kind::ROOT.valid(-1000, -1), Algorithm::ES256);
    let leaf = Holder::below(&old_root, Kind::LEAF);
    assert!(!leads(&bundle(&[&old_root]), &[&leaf]));
    assert!(!leads(&bundle(&[&old_root]), &[&old_root]));
    // One that is still valid beside it.
    assert!(leads(&bundle(&[&old_root, &root]), &[&root]));
}

/// `openssl req -x509` makes authorities, and token servers sign with their keys.
#[test]
fn a_certificate_of_the_bundle_is_a_chain() {
    for algorithm in [
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::ES512,
        Algorithm::RS256,
        Algorithm::EdDSA,
    ] {
        let root = Holder::self_signed(Kind::ROOT, algorithm);
        let key = bundle(&[&root])
            .key_of(std::slice::from_ref(&root.der), now())
            .unwrap();
        assert!(key.is_for(algorithm), "{algorithm:?}");
    }
}

#[test]
fn keys_are_called_by_both_their_names() {
    for algorithm in [
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::ES512,
        Algorithm::RS256,
        Algorithm::EdDSA,
    ] {
        let root = Holder::self_signed(Kind::ROOT, algorithm);
        let bundle = bundle(&[&root]);
        let name = root.signer.thumbprint();
        assert!(bundle.keys.get(&name)[0].is_for(algorithm), "{algorithm:?}");
        let (_, parsed) = X509Certificate::from_der(&root.der).unwrap();
        let old = libtrust_id(parsed.public_key().raw);
        assert!(bundle.keys.get(&old)[0].is_for(algorithm), "{algorithm:?}");
    }
    // Of the SHA-256 of `abc`, with Python's base64.
    let expected = "XJ4B:NP4P:AHH6:UQKB:IDPF:3LRC:EOYA:GYND:SYLX:VHFU:CD7W:D4QA";
    assert_eq!(libtrust_id(b"abc"), expected);
}

#[test]
fn bundles_that_cannot_be_used_are_told() {
    let told = |content: &str| Bundle::parse(content.as_bytes()).unwrap_err().to_string();
    assert_eq!(told(""), "it has no certificate");
    assert_eq!(told("junk"), "it has no certificate");
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(told(key), "it has no certificate");
    let root = Holder::self_signed(Kind::ROOT, Algorithm::ES256);
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        told(&format!("{}{bad}", root.pem())),
        "certificate 2 is malformed"
    );
    let beside = format!("{key}# text\n{}", root.pem());
    assert!(leads(&Bundle::parse(beside.as_bytes()).unwrap(), &[&root]));
}

proptest! {
    #[test]
    fn no_certificate_panics(bytes in any::<Vec<u8>>(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let root = Holder::self_signed(Kind::ROOT, Algorithm::ES256);
        let trusted = bundle(&[&root]);
        let mut leaf = Holder::below(&root, Kind::LEAF).der;
        let whole = leaf.clone();
        for (at, byte) in flips {
            let at = at.index(leaf.len());
            leaf[at] = byte;
        }
        prop_assert!(leaf == whole || trusted.key_of(&[leaf], now()).is_err());
        prop_assert!(trusted.key_of(std::slice::from_ref(&bytes), now()).is_err());
        drop(Bundle::parse(&bytes));
    }
}
