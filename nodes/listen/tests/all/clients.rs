//! Certificates of clients, in all four modes.

use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose;
use roadstead_listen::{AcceptError, ClientAuth, Tls};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::TcpStream;

use crate::ca::{Ca, Pair, self_signed};
use crate::server::{Files, SOON, Server, text};
use crate::tools::curl;

const MODES: [ClientAuth; 4] = [
    ClientAuth::Request,
    ClientAuth::RequireAny,
    ClientAuth::VerifyIfGiven,
    ClientAuth::RequireAndVerify,
];

/// A server that trusts the clients of one authority.
struct Door {
    ca: Ca,
    files: Files,
}

impl Door {
    fn new() -> Self {
        let ca = Ca::new("root");
        let files = Files::new(&ca.server(2040));
        files.put("ca.crt", ca.root());
        Self { ca, files }
    }

    fn load(&self, mode: ClientAuth) -> Tls {
        let mut options = self.files.options();
        options.client_cas = vec![self.files.path("ca.crt")];
        options.client_auth = mode;
        Tls::load(options).unwrap()
    }

    /// What the server says it saw; none if it lets the client not in.
    async fn knock(
        &self,
        server: &Server,
        version: &[&str],
        with: Option<&Pair>,
    ) -> Option<String> {
        let ca = self.files.path("ca.crt");
        let url = server.url();
        let mut arguments = vec!["--http1.1", "--cacert", text(&ca)];
        arguments.extend(version);
        let (certificate, key);
        if let Some(pair) = with {
            certificate = self.files.put("client.crt", &pair.chain);
            key = self.files.put("client.key", &pair.key);
            arguments.extend(["--cert", text(&certificate), "--key", text(&key)]);
        }
        arguments.push(&url);
        let got = curl(&arguments).await;
        got.ok.then_some(got.output)
    }
}

#[tokio::test]
async fn each_mode_lets_in_whom_it_should() {
    let door = Door::new();
    let good = door.ca.client("alice", 2040);
    let below = door.ca.below("middle").client("bob", 2040);
    let expired = door.ca.client("carol", 2001);
    let foreign = Ca::new("root").client("mallory", 2040);
    let not_for_clients = door.ca.server(2040);
    let seen = |name: &str, verified: bool| Some(format!("http2=false {name} verified={verified}"));
    let nobody = Some("http2=false nobody".to_owned());
    for mode in MODES {
        let server = Server::start(door.load(mode)).await;
        let verifies = matches!(
            mode,
            ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify
        );
        let requires = matches!(mode, ClientAuth::RequireAny | ClientAuth::RequireAndVerify);
        let unless_verified = |name: &str| (!verifies).then(|| seen(name, false)).flatten();
        for (who, shown, expected) in [
            ("none", None, if requires { None } else { nobody.clone() }),
            ("good", Some(&good), seen("alice", verifies)),
            (
                "good, by an intermediate",
                Some(&below),
                seen("bob", verifies),
            ),
            ("expired", Some(&expired), unless_verified("carol")),
            ("foreign", Some(&foreign), unless_verified("mallory")),
            (
                "a server's",
                Some(&not_for_clients),
                unless_verified("server"),
            ),
        ] {
            for versions in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
                let got = door.knock(&server, versions, shown).await;
                assert_eq!(got, expected, "{mode:?}, {who}, {versions:?}");
            }
        }
    }
}

#[tokio::test]
async fn without_authorities_nobody_is_asked() {
    let door = Door::new();
    let mut options = door.files.options();
    options.client_auth = ClientAuth::RequireAndVerify;
    let server = Server::start(Tls::load(options).unwrap()).await;
    let alice = door.ca.client("alice", 2040);
    let got = door.knock(&server, &[], Some(&alice)).await;
    assert_eq!(got.as_deref(), Some("http2=false nobody"));
}

/// Without an authority: the client's own certificate is listed.
#[tokio::test]
async fn a_client_that_is_listed_itself_is_let_in() {
    let door = Door::new();
    let any = &[][..];
    let servers = [ExtendedKeyUsagePurpose::ServerAuth];
    let listed = [
        ("alice", 2040, any, true),
        ("carol", 2001, any, false),
        ("server", 2040, &servers, false),
    ]
    .map(|(name, until, usages, let_in)| (self_signed(name, until, usages), name, let_in));
    let bundle: String = listed
        .iter()
        .map(|(pair, ..)| pair.chain.as_str())
        .collect();
    let mut options = door.files.options();
    options.client_cas = vec![door.files.put("listed.crt", &bundle)];
    let server = Server::start(Tls::load(options).unwrap()).await;
    for (pair, name, let_in) in &listed {
        let got = door.knock(&server, &[], Some(pair)).await;
        let expected = format!("http2=false {name} verified=true");
        assert_eq!(got, let_in.then_some(expected), "{name}");
    }
    // The name alone does not count.
    let unlisted = self_signed("alice", 2040, any);
    assert_eq!(door.knock(&server, &[], Some(&unlisted)).await, None);
}

/// Shows a certificate and signs with a key, whether they belong together or not.
#[derive(Debug)]
struct Presenting(Arc<CertifiedKey>);

impl ResolvesClientCert for Presenting {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn presenting(
    ca: &Ca,
    shown: &Pair,
    own: &Pair,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(shown.chain.as_bytes()).unwrap()];
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.root().as_bytes()).unwrap();
    roots.add(root).unwrap();
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(Presenting(Arc::new(CertifiedKey::new(
            chain, key,
        )))))
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused_in_every_mode() {
    let door = Door::new();
    let alice = door.ca.client("alice", 2040);
    let own = door.ca.client("mallory", 2040);
    for mode in MODES {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let tls = door.load(mode);
            // Thus the same client is let in with what is its own.
            for (stolen, let_in) in [(&own, true), (&alice, false)] {
                let config = Arc::new(presenting(&door.ca, stolen, &own, version));
                let (client, stream) = duplex(64 * 1024);
                let name = ServerName::try_from("localhost").unwrap();
                let connecting = async {
                    let connector = tokio_rustls::TlsConnector::from(config);
                    let mut client = connector.connect(name, client).await.ok()?;
                    client.write_all(b"hello").await.ok()?;
                    client.read_u8().await.ok()
                };
                let accepting = async {
                    let stream = tls.accept(stream, SOON).await;
                    // Its end is the client's end.
                    stream.map(|stream| stream.client().cloned())
                };
                let (_heard, accepted) = tokio::join!(connecting, accepting);
                match accepted {
                    Ok(client) => {
                        assert!(let_in, "{mode:?}");
                        assert_eq!(client.unwrap().common_name.as_deref(), Some("mallory"));
                    }
                    Err(AcceptError::Handshake(error)) => {
                        assert!(!let_in, "{mode:?}: {error}");
                        assert!(error.to_string().contains("BadSignature"), "{error}");
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn authorities_are_reloaded_with_the_rest() {
    let door = Door::new();
    let tls = door.load(ClientAuth::RequireAndVerify);
    let server = Server::start(tls.clone()).await;
    let other = Ca::new("other");
    let (alice, bob) = (door.ca.client("alice", 2040), other.client("bob", 2040));
    let trusted = door.files.put("trusted.crt", door.ca.root());
    let mut options = door.files.options();
    options.client_cas = vec![trusted];
    let tls = Tls::load(options).unwrap();
    drop(server);
    let server = Server::start(tls.clone()).await;
    assert!(door.knock(&server, &[], Some(&alice)).await.is_some());
    assert!(door.knock(&server, &[], Some(&bob)).await.is_none());
    door.files.put("trusted.crt", other.root());
    tls.reload_now().await.unwrap();
    assert!(door.knock(&server, &[], Some(&alice)).await.is_none());
    assert!(door.knock(&server, &[], Some(&bob)).await.is_some());
    // A bundle that holds nothing is not an open door.
    door.files.put("trusted.crt", "");
    tls.reload_now().await.unwrap_err();
    assert!(door.knock(&server, &[], Some(&alice)).await.is_none());
    assert!(door.knock(&server, &[], Some(&bob)).await.is_some());
}

/// How the second of two connections of one client began.
async fn second_handshake(server: &Server, config: ClientConfig) -> Option<HandshakeKind> {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut kind = None;
    for _each in 0..2 {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = connector.connect(name, stream).await.unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        // Tickets come with the answer, if there are any.
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        kind = client.get_ref().1.handshake_kind();
    }
    kind
}

#[tokio::test]
async fn where_clients_show_certificates_each_connection_is_verified() {
    let door = Door::new();
    let alice = door.ca.client("alice", 2040);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let own = || presenting(&door.ca, &alice, &alice, version);
        let open = Server::start(door.files.load().unwrap()).await;
        let kind = second_handshake(&open, own()).await;
        assert_eq!(kind, Some(HandshakeKind::Resumed), "{version:?}");
        let asking = Server::start(door.load(ClientAuth::RequireAndVerify)).await;
        let kind = second_handshake(&asking, own()).await;
        assert_eq!(kind, Some(HandshakeKind::Full), "{version:?}");
    }
}
