//! A certificate that does not come from files, and what authorities look for.

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};
use roadstead_listen::{AcceptError, Supplied, Tls, TlsOptions, Validation};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::ca::{Ca, Pair};
use crate::server::{Files, SOON, Server, loopback, text};
use crate::tools::{curl, s_client};

/// A server whose certificate is not there yet, and clients' authorities if they are to show certificates.
fn without_certificate(files: &Files, asks: bool) -> (Tls, Supplied) {
    let supplied = Supplied::default();
    let options = TlsOptions {
        certificate: "supplied".into(),
        supplied: Some(supplied.clone()),
        client_cas: asks.then(|| files.path("ca.crt")).into_iter().collect(),
        http2: true,
        ..TlsOptions::default()
    };
    (Tls::load(options).unwrap(), supplied)
}

/// What an authority looks for: signed by itself, with an extension that nobody else understands.
fn proof() -> Pair {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "proof");
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
    let key = KeyPair::generate().unwrap();
    Pair {
        chain: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn validation(host: &str, proof: &Pair) -> Validation {
    Validation {
        host: host.to_owned(),
        certificate: CertificateDer::from_pem_slice(proof.chain.as_bytes()).unwrap(),
        key: PrivateKeyDer::from_pem_slice(proof.key.as_bytes()).unwrap(),
    }
}

#[tokio::test]
async fn nobody_is_served_before_there_is_a_certificate_and_everybody_after() {
    let ca = Ca::new("root");
    let own = ca.server(2040);
    let files = Files::new(&own);
    let trusted = files.put("ca.crt", ca.root());
    let (tls, supplied) = without_certificate(&files, false);
    assert_eq!(tls.not_after(), None);
    let server = Server::start(tls.clone()).await;
    curl(&["--cacert", text(&trusted), &server.url()])
        .await
        .was_refused();
    supplied.give(own.chain.as_bytes(), own.key.as_bytes());
    tls.reload_now().await.unwrap();
    assert!(tls.not_after().is_some());
    let got = curl(&["--http1.1", "--cacert", text(&trusted), &server.url()]).await;
    assert_eq!(got.went_well().output, "http2=false nobody");
    supplied.give(own.chain.as_bytes(), ca.server(2041).key.as_bytes());
    tls.reload_now().await.unwrap_err();
    let got = curl(&["--http1.1", "--cacert", text(&trusted), &server.url()]).await;
    got.went_well();
}

/// Also where clients must show certificates: an authority has none.
#[tokio::test]
async fn an_authority_finds_its_challenge_and_nothing_else() {
    let ca = Ca::new("root");
    let (own, proof) = (ca.server(2040), proof());
    let files = Files::new(&own);
    let trusted = files.put("ca.crt", ca.root());
    let (tls, supplied) = without_certificate(&files, true);
    supplied.give(own.chain.as_bytes(), own.key.as_bytes());
    tls.reload_now().await.unwrap();
    supplied
        .show(vec![validation("a.example", &proof)])
        .unwrap();
    let server = Server::start(tls).await;
    let asked = |host: &'static str, alpn: &'static str| {
        let (server, trusted) = (&server, trusted.clone());
        async move {
            let arguments = ["-servername", host, "-alpn", alpn];
            s_client(server, &trusted, &arguments).await
        }
    };
    let seen = asked("A.example", "acme-tls/1").await;
    seen.has("ALPN protocol: acme-tls/1").has("i:CN = proof");
    // Another name, and a client that would speak HTTP as well.
    asked("b.example", "acme-tls/1").await.was_refused();
    let client = asked("a.example", "acme-tls/1,http/1.1").await;
    client.has("ALPN protocol: http/1.1").has("i:CN = root");
    supplied.show(Vec::new()).unwrap();
    asked("a.example", "acme-tls/1").await.was_refused();
}

#[tokio::test]
async fn a_validation_is_no_connection() {
    let proof = proof();
    let files = Files::new(&proof);
    let (tls, supplied) = without_certificate(&files, false);
    supplied
        .show(vec![validation("a.example", &proof)])
        .unwrap();
    let listener = loopback().await;
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let (stream, _peer) = listener.accept().await.unwrap();
        tls.accept(stream, SOON).await
    });
    let connect = address.to_string();
    let arguments = [
        "s_client",
        "-connect",
        &connect,
        "-servername",
        "a.example",
        "-alpn",
        "acme-tls/1",
    ];
    crate::tools::openssl(&arguments).await;
    let accepted = accepting.await.unwrap();
    assert!(
        matches!(accepted, Err(AcceptError::Validated)),
        "{accepted:?}"
    );
}
