//! Where redirects lead, and that TLS is checked.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::header;

#[test]
fn relative_locations_are_resolved() {
    let base: Uri = "http://host:81/a/b?q".parse().unwrap();
    for (location, target) in [
        ("https://other/x?y#z", Some("https://other/x?y")),
        ("http://user:pass@other/x", Some("http://other/x")),
        ("//other:82/x", Some("http://other:82/x")),
        ("/x?y", Some("http://host:81/x?y")),
        ("x", Some("http://host:81/a/x")),
        ("?y", Some("http://host:81/a/b?y")),
        (
            "x?to=http://other/",
            Some("http://host:81/a/x?to=http://other/"),
        ),
        ("ftp://other/x", None),
        ("http://", None),
        ("/a b", None),
    ] {
        let resolved = resolve(&base, location).map(|uri| uri.to_string());
        assert_eq!(resolved.as_deref(), target, "{location}");
    }
}

fn poster(url: &str) -> Poster {
    let headers = BTreeMap::from([("Authorization".to_owned(), vec!["Bearer s3cret".to_owned()])]);
    let place = Place::parse(url).unwrap();
    Poster {
        client: Client::new(&Trust::of(RootCertStore::empty()).unwrap()),
        headers: header::compile(&headers, &place).unwrap(),
        place,
        timeout: Duration::from_secs(20),
    }
}

#[test]
fn secrets_stay_with_the_host_and_under_tls() {
    let poster = poster("https://example.com/hook");
    let said = |uri: &str, method| {
        let request = poster.request(&method, &uri.parse().unwrap(), &Bytes::from("{}"));
        let headers = request.unwrap().headers().clone();
        let says = |name| headers.contains_key(name);
        (
            says("authorization"),
            says("content-type"),
            says("user-agent"),
        )
    };
    assert_eq!(
        said("https://example.com/x", Method::POST),
        (true, true, true)
    );
    assert_eq!(
        said("https://example.com:8443/x", Method::GET),
        (true, false, true)
    );
    assert_eq!(
        said("http://example.com/x", Method::POST),
        (false, true, true)
    );
    assert_eq!(
        said("https://example.org/x", Method::POST),
        (false, true, true)
    );
}

/// A server that takes connections under this certificate and answers each request with 202.
async fn https_server(key: &rcgen::CertifiedKey<rcgen::KeyPair>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            key.signing_key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(connection).await else {
                continue;
            };
            let (mut request, mut piece) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"{}") {
                match stream.read(&mut piece).await {
                    Ok(read @ 1..) => request.extend_from_slice(&piece[..read]),
                    _gone => break,
                }
            }
            let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _client_gone = stream.write_all(answer).await;
            let _client_gone = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn https_is_spoken_with_whom_the_roots_vouch_for() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let port = https_server(&key).await;
    let mut trusting = poster(&format!("https://localhost:{port}/hook"));
    let distrusted = trusting.attempt(Bytes::from("{}")).await.unwrap_err();
    let said = distrusted.to_string();
    assert!(said.contains("certificate"), "{said}");
    let mut roots = RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    trusting.client = Client::new(&Trust::of(roots).unwrap());
    let status = trusting.attempt(Bytes::from("{}")).await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED);
}
