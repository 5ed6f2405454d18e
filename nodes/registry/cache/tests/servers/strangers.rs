//! Passwords, users, TLS.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use roadstead_cache::{Cache, Credentials, EpochSource, RedisOptions, Tls};
use tempfile::TempDir;

use super::server::{Server, free_port};
use super::{addr, at, cache, key, learn, redis};

fn credentials(username: Option<&str>, password: &str) -> Credentials {
    Credentials {
        username: username.map(str::to_owned),
        password: Some(password.to_owned()),
    }
}

async fn with(server: &Server, credentials: Credentials) -> Cache {
    let options = RedisOptions {
        credentials,
        ..redis(at(server.port))
    };
    cache(options, EpochSource::Own).await
}

#[tokio::test]
async fn a_password_is_needed_and_given() {
    let server = Server::start(&["--requirepass", "of-the-tests"]).await;
    let wrong = with(&server, credentials(None, "wrong")).await;
    assert_eq!(wrong.redis_is_up(), Some(false));
    assert_eq!(wrong.find(wrong.begin(), &key("a blob")).await, None);
    assert!(!wrong.removing(&key("a blob")).await.end().await);
    let right = with(&server, credentials(None, "of-the-tests")).await;
    learn(&right, &key("a blob")).await;
}

/// The commands that an operator has to allow.
#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    let server = Server::start(&[]).await;
    let allowed = [
        "ACL",
        "SETUSER",
        "registry",
        "on",
        ">of-the-tests",
        "~blobs::*",
        "~repository::*",
        "-@all",
        "+ping",
        "+client|setname",
        "+hello",
        "+select",
        "+sismember",
        "+hmget",
        "+hmset",
        "+hsetnx",
        "+sadd",
        "+srem",
        "+del",
        "+hdel",
    ];
    assert_eq!(server.says(&allowed), "OK");
    let options = RedisOptions {
        credentials: credentials(Some("registry"), "of-the-tests"),
        client_name: Some("roadstead-tests".to_owned()),
        db: 3,
        protocol: 2,
        ..redis(at(server.port))
    };
    let cache = cache(options, EpochSource::Own).await;
    learn(&cache, &key("a blob")).await;
    assert!(cache.removing(&key("a blob")).await.end().await);
    learn(&cache, &key("a blob")).await;
    assert_eq!(server.says(&["-n", "3", "DBSIZE"]), "3");
    assert!(
        server
            .says(&["CLIENT", "LIST"])
            .contains("name=roadstead-tests")
    );
}

/// Who signs for these tests, and a certificate of its own for the server and one for the client.
struct Authority {
    directory: TempDir,
    root: String,
    client: (String, String),
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut root = params(name, Vec::new());
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(root, key).expect("a root");
        let signed = |subject: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = params(subject, vec!["localhost".to_owned()]);
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            (certificate.pem(), key.serialize_pem())
        };
        let (server, client) = (signed("server"), signed("client"));
        let directory = TempDir::new().expect("a directory");
        let root = issuer.pem();
        for (name, pem) in [
            ("ca.pem", &root),
            ("server.pem", &server.0),
            ("server.key", &server.1),
        ] {
            std::fs::write(directory.path().join(name), pem).expect("a file");
        }
        Self {
            directory,
            root,
            client,
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// A subject of its own: one that is its issuer's passes for signed by itself.
fn params(subject: &str, names: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}

/// With a certificate of ours and without, and never with a server that somebody else vouches for.
#[tokio::test]
async fn tls_is_checked_on_both_sides() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("others"));
    let port = free_port();
    let port_text = port.to_string();
    let arguments = |clients: &'static str| {
        [
            ("--tls-port", port_text.clone()),
            ("--tls-cert-file", authority.path("server.pem")),
            ("--tls-key-file", authority.path("server.key")),
            ("--tls-ca-cert-file", authority.path("ca.pem")),
            ("--tls-auth-clients", clients.to_owned()),
        ]
    };
    let used = |identity: Option<&(String, String)>, root: &str| {
        let pem = |text: &String| text.clone().into_bytes();
        let mut servers = addr(port);
        servers.host = "localhost".to_owned();
        let tls = Tls {
            identity: identity.map(|(certificate, key)| (pem(certificate), pem(key))),
            authorities: Some(root.as_bytes().to_vec()),
        };
        let options = RedisOptions {
            tls: Some(tls),
            ..redis(roadstead_cache::Servers::Single(servers))
        };
        cache(options, EpochSource::Own)
    };
    for (clients, identity, root, works) in [
        ("no", None, &authority.root, true),
        ("no", None, &stranger.root, false),
        ("yes", Some(&authority.client), &authority.root, true),
        ("yes", None, &authority.root, false),
        ("yes", Some(&stranger.client), &authority.root, false),
    ] {
        let arguments = arguments(clients);
        let arguments: Vec<&str> = arguments
            .iter()
            .flat_map(|(name, value)| [*name, value.as_str()])
            .collect();
        // Its plain port is for the test alone.
        let _server = Server::start(&arguments).await;
        let cache = used(identity, root).await;
        if works {
            super::up(&cache).await;
            learn(&cache, &key("a blob")).await;
        } else {
            // A first attempt has been made, and failed.
            assert_eq!(cache.redis_is_up(), Some(false), "{clients} {identity:?}");
        }
    }
}
