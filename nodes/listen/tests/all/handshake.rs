//! Handshakes with openssl and curl.

use roadstead_listen::{
    AcceptError, Address, Minimum, Options, Tls, TlsOptions, bind, first_bytes, tells_http,
};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, duplex};
use tokio::time::Instant;

use crate::ca::Ca;
use crate::server::{Files, SOON, Server, simple, text};
use crate::tools::{curl, openssl, run, s_client};

/// A server with these options, on files that `change` may add to.
async fn serving(change: impl FnOnce(&mut TlsOptions)) -> (Server, Files) {
    let ca = Ca::new("root");
    let files = Files::new(&ca.server(2040));
    files.put("ca.crt", ca.root());
    let mut options = files.options();
    change(&mut options);
    (Server::start(Tls::load(options).unwrap()).await, files)
}

#[tokio::test]
async fn a026_curl_and_openssl_trust_what_the_authority_signed() {
    let (server, files, _ca) = simple().await;
    let ca = files.path("ca.crt");
    let got = curl(&["--http1.1", "--cacert", text(&ca), &server.url()]).await;
    assert_eq!(got.went_well().output, "http2=false nobody");
    s_client(&server, &ca, &["-servername", "localhost"])
        .await
        .went_well()
        .has("Verify return code: 0 (ok)")
        .has("TLSv1.3");
}

#[tokio::test]
async fn a103_the_whole_chain_is_sent_leaf_first() {
    let root = Ca::new("root");
    let issuing = root.below("middle").below("issuing");
    let files = Files::new(&issuing.server(2040));
    let ca = files.put("ca.crt", root.root());
    let server = Server::start(files.load().unwrap()).await;
    let seen = s_client(&server, &ca, &["-showcerts"]).await.went_well();
    let seen = seen.has("Verification: OK");
    let subjects: Vec<&str> = seen
        .output
        .lines()
        .filter(|line| line.contains(" s:"))
        .collect();
    assert_eq!(
        subjects,
        [" 0 s:CN = server", " 1 s:CN = issuing", " 2 s:CN = middle"]
    );
}

#[tokio::test]
async fn a301_a306_rsa_4096_self_signed_with_only_a_name() {
    let files = Files::new(&Ca::new("unused").server(2040));
    let (certificate, key) = (files.certificate(), files.key());
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:4096",
        "-nodes",
        "-sha256",
        "-days",
        "365",
        "-subj",
        "/CN=unused",
        "-addext",
        "subjectAltName = DNS:registry-server",
        "-keyout",
        text(&key),
        "-out",
        text(&certificate),
    ])
    .await;
    let server = Server::start(files.load().unwrap()).await;
    let url = format!("https://registry-server:{}/", server.port());
    let resolve = format!("registry-server:{}:127.0.0.1", server.port());
    let trust = text(&certificate);
    curl(&["--cacert", trust, "--http1.1", "--resolve", &resolve, &url])
        .await
        .went_well()
        .has("nobody");
    let name = [
        "-servername",
        "registry-server",
        "-verify_hostname",
        "registry-server",
    ];
    s_client(&server, &certificate, &name)
        .await
        .has("Verification: OK")
        .has("Peer signature type: RSA-PSS")
        .has("Server Temp Key: X25519");
}

#[tokio::test]
async fn a414_an_own_authority_with_rsa_2048_and_a_request() {
    let files = Files::new(&Ca::new("unused").server(2040));
    let path = |name: &str| text(&files.path(name)).to_owned();
    let [ca_key, ca, key, request, leaf] =
        ["ca.key", "ca.crt", "tls.key", "tls.csr", "tls.crt"].map(path);
    openssl(&["genrsa", "-out", &ca_key, "2048"]).await;
    openssl(&[
        "req", "-x509", "-new", "-key", &ca_key, "-days", "10", "-subj", "/CN=own", "-out", &ca,
    ])
    .await;
    openssl(&["genrsa", "-out", &key, "2048"]).await;
    openssl(&[
        "req",
        "-new",
        "-key",
        &key,
        "-subj",
        "/CN=localhost",
        "-out",
        &request,
    ])
    .await;
    // Without extensions this makes a certificate of version 1, which openssl still trusts.
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-days",
        "10",
        "-out",
        &leaf,
    ])
    .await;
    let made = run("openssl", &["x509", "-noout", "-text", "-in", &leaf], "").await;
    made.has("Version: 1 (0x0)");
    let server = Server::start(files.load().unwrap()).await;
    s_client(&server, &files.path("ca.crt"), &["-tls1_2"])
        .await
        .went_well()
        .has("Verification: OK");
}

#[tokio::test]
async fn http2_is_agreed_on_where_both_want_it() {
    for (offered, wanted, agreed) in [
        (true, "h2,http/1.1", "ALPN protocol: h2"),
        (true, "http/1.1", "ALPN protocol: http/1.1"),
        (false, "h2,http/1.1", "ALPN protocol: http/1.1"),
    ] {
        let (server, files) = serving(|options| options.http2 = offered).await;
        let seen = s_client(&server, &files.path("ca.crt"), &["-alpn", wanted]).await;
        let seen = seen.went_well().has(agreed);
        seen.has(&format!("http2={}", agreed.ends_with("h2")));
    }
    let (server, files, _ca) = simple().await;
    let seen = s_client(&server, &files.path("ca.crt"), &[])
        .await
        .went_well();
    seen.has("No ALPN negotiated");
}

#[tokio::test]
async fn the_oldest_version_is_kept_to() {
    let weak = ["-cipher", "ALL:@SECLEVEL=0"];
    let (server, files) = serving(|_| {}).await;
    let ca = files.path("ca.crt");
    s_client(&server, &ca, &["-tls1_2"])
        .await
        .went_well()
        .has("TLSv1.2");
    for old in ["-tls1_1", "-tls1"] {
        let refused = s_client(&server, &ca, &[old, weak[0], weak[1]]).await;
        refused.was_refused().has("SSL alert number");
    }
    let (server, files) = serving(|options| options.minimum = Minimum::Tls13).await;
    let ca = files.path("ca.crt");
    s_client(&server, &ca, &["-tls1_3"])
        .await
        .went_well()
        .has("TLSv1.3");
    s_client(&server, &ca, &["-tls1_2"])
        .await
        .was_refused()
        .has("alert protocol version");
}

#[tokio::test]
async fn a_list_of_suites_governs_tls12_only() {
    let (server, files) = serving(|options| {
        options.cipher_suites = vec!["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".to_owned()];
    })
    .await;
    let ca = files.path("ca.crt");
    let [listed, other] = [
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ];
    let seen = s_client(&server, &ca, &["-tls1_2"]).await;
    seen.went_well().has(&format!("Cipher is {listed}"));
    let refused = s_client(&server, &ca, &["-tls1_2", "-cipher", other]).await;
    refused.was_refused().has("handshake failure");
    let tls13 = ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"];
    let seen = s_client(&server, &ca, &tls13).await;
    seen.went_well().has("Cipher is TLS_AES_128_GCM_SHA256");
}

#[tokio::test]
async fn plain_http_is_told_what_to_do() {
    let (server, _files, _ca) = simple().await;
    let url = format!("http://{}/v2/", server.address);
    for method in ["GET", "PATCH", "DELETE", "OPTIONS"] {
        let answer = curl(&["-i", "-X", method, &url]).await.went_well();
        assert!(
            answer.output.starts_with("HTTP/1.1 400 Bad Request"),
            "{answer:?}"
        );
        answer.has("Client sent an HTTP request to an HTTPS server.\n");
    }
    // Also when the client is still sending.
    let large = "x".repeat(40_000);
    let answer = curl(&["-i", "-H", "Expect:", "--data", &large, &url])
        .await
        .went_well();
    answer.has("Client sent an HTTP request to an HTTPS server.\n");
}

#[tokio::test]
async fn tls_is_spoken_over_a_unix_socket_too() {
    let (_server, files, _ca) = simple().await;
    let tls = files.load().unwrap();
    let path = files.path("registry.sock");
    let options = Options {
        setting: "http.addr",
        address: Address::Unix(path.clone()),
        inherited: None,
    };
    let listener = bind(options).await.unwrap().remove(0);
    let (ca, path) = (files.path("ca.crt"), text(&path).to_owned());
    let arguments = [
        "--cacert",
        text(&ca),
        "--unix-socket",
        &path,
        "https://localhost/",
    ];
    let asking = curl(&arguments);
    let answering = async {
        let (stream, _peer) = listener.accept().await.unwrap();
        let stream = tls.accept(stream, SOON).await.unwrap();
        assert!(stream.is_http2() && stream.is_write_vectored());
        let mut heard = first_bytes(stream, tells_http, SOON).await.unwrap();
        assert!(heard.first().starts_with(b"PRI * HTTP/2.0"));
        heard.shutdown().await.unwrap();
    };
    let (got, ()) = tokio::join!(asking, answering);
    got.was_refused();
}

#[tokio::test]
async fn other_protocols_and_silent_clients_are_told_apart() {
    let (_server, files, _ca) = simple().await;
    let tls = files.load().unwrap();
    let (mut client, stream) = duplex(1024);
    client.write_all(b"\x05\x01\x00").await.unwrap();
    let refused = tls.accept(stream, SOON).await.unwrap_err();
    assert!(matches!(refused, AcceptError::NotTls));
    let (client, stream) = duplex(1024);
    drop(client);
    let refused = tls.accept(stream, SOON).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Closed));
    let (mut client, stream) = duplex(1024);
    client
        .write_all(b"GET /v2/ HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    drop(client);
    let AcceptError::PlainHttp(plain) = tls.accept(stream, SOON).await.unwrap_err() else {
        panic!("not told apart");
    };
    let mut request = String::new();
    plain
        .into_inner()
        .read_to_string(&mut request)
        .await
        .unwrap();
    assert_eq!(request, "GET /v2/ HTTP/1.1\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_takes_too_long_is_given_up() {
    let pair = Ca::new("root").server(2040);
    let tls = Files::new(&pair).load().unwrap();
    // Nothing, and the head of a record whose body never comes.
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let (mut client, stream) = duplex(1024);
        client.write_all(said).await.unwrap();
        let began = Instant::now();
        let refused = tls.accept(stream, SOON).await.unwrap_err();
        assert!(matches!(refused, AcceptError::TimedOut), "{refused:?}");
        assert_eq!(began.elapsed(), SOON);
    }
}

#[tokio::test]
async fn what_only_begins_like_a_handshake_is_refused() {
    let (_server, files, _ca) = simple().await;
    let tls = files.load().unwrap();
    let (mut client, stream) = duplex(1024);
    client
        .write_all(b"\x16\x03\x01\x00\x05hello")
        .await
        .unwrap();
    let refused = tls.accept(stream, SOON).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Handshake(_)), "{refused:?}");
}
