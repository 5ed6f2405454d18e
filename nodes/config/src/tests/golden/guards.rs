//! Samples about who is let in, and over what.

use std::path::PathBuf;
use std::time::Duration;

use super::{in_memory, read};
use crate::{
    Access, AccessAction, AccessRule, Auth, Certificate, Challenge, CipherSuite, ClientAuth,
    ClientCertificates, DebugServer, ExternalAccount, Http, Identity, Jwks, LetsEncrypt, Listen,
    Probe, Probes, Proxies, Secret, Tls, TlsVersion, Token,
};

fn tls() -> Tls {
    Tls {
        identity: Identity::Files(Certificate {
            certificate: PathBuf::from("/certs/domain.crt"),
            key: PathBuf::from("/certs/domain.key"),
        }),
        clients: None,
        minimum: TlsVersion::Tls12,
        cipher_suites: CipherSuite::ALL.to_vec(),
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn htpasswd() {
    let (config, told) = read(include_str!("../../../samples/htpasswd.yml"));
    assert_eq!(told, Vec::<String>::new());
    let mut expected = in_memory();
    expected.auth = Auth::Htpasswd {
        realm: "Registry Realm".to_owned(),
        path: PathBuf::from("/auth/htpasswd"),
    };
    expected.http.tls = Some(tls());
    assert_eq!(config, expected);
}

#[test]
fn token() {
    let (config, told) = read(include_str!("../../../samples/token.yml"));
    assert_eq!(told, Vec::<String>::new());
    let mut expected = in_memory();
    expected.auth = Auth::Token(Box::new(Token {
        realm: "https://auth.example/token".to_owned(),
        service: "registry.example".to_owned(),
        issuer: "auth.example".to_owned(),
        root_cert_bundle: Some(PathBuf::from("/certs/issuer.pem")),
        jwks: Some(Jwks::File(PathBuf::from("/certs/jwks.json"))),
        signing_algorithms: texts(&["EdDSA", "ES256"]),
        auto_redirect: Some("/token".to_owned()),
    }));
    assert_eq!(config, expected);
}

#[test]
fn silly() {
    let (config, told) = read(include_str!("../../../samples/silly.yml"));
    assert_eq!(told, Vec::<String>::new());
    let mut expected = in_memory();
    expected.auth = Auth::Silly {
        realm: "here".to_owned(),
        service: "registry".to_owned(),
    };
    assert_eq!(config, expected);
}

#[test]
fn tls_with_clients_certificates() {
    let (config, told) = read(include_str!("../../../samples/tls.yml"));
    assert_eq!(told, Vec::<String>::new());
    let mut expected = in_memory();
    expected.http = Http {
        addr: Listen::Tcp(":443".parse().unwrap()),
        host: Some("https://registry.example".to_owned()),
        tls: Some(Tls {
            clients: Some(ClientCertificates {
                authorities: vec!["/certs/ca.pem".into(), "/certs/another-ca.pem".into()],
                auth: ClientAuth::VerifyIfGiven,
            }),
            cipher_suites: vec![
                CipherSuite::Aes128GcmSha256,
                CipherSuite::Aes256GcmSha384,
                CipherSuite::Chacha20Poly1305,
                CipherSuite::EcdheEcdsaAes256GcmSha384,
                CipherSuite::EcdheRsaChacha20Poly1305,
            ],
            ..tls()
        }),
        ..Http::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn letsencrypt() {
    let (config, told) = read(include_str!("../../../samples/letsencrypt.yml"));
    assert_eq!(told, Vec::<String>::new());
    let mut expected = in_memory();
    expected.http.tls = Some(Tls {
        identity: Identity::LetsEncrypt(Box::new(LetsEncrypt {
            cache: Some(PathBuf::from("/var/lib/acme")),
            email: Some("me@registry.example".to_owned()),
            hosts: texts(&["hub.registry.example", "registry.example"]),
            directory_url: "https://acme.example/directory".to_owned(),
            directory_ca: Some(PathBuf::from("/etc/acme/ca.pem")),
            challenge: Challenge::Http01,
            challenge_addr: Some(":80".parse().unwrap()),
            external_account: Some(ExternalAccount {
                key_id: "customer-7".to_owned(),
                key: Secret::from("aHVudGVyMg".to_owned()),
            }),
            encryption_key: Some(Secret::from("not in a cluster".to_owned())),
        })),
        ..tls()
    });
    assert_eq!(config, expected);
}

#[test]
fn every_setting_of_http() {
    let (config, told) = read(include_str!("../../../samples/http.yml"));
    assert_eq!(told, Vec::<String>::new());
    let mut expected = in_memory();
    expected.http = Http {
        addr: Listen::Unix(PathBuf::from("/run/registry.sock")),
        tls: None,
        host: Some("https://registry.example".to_owned()),
        prefix: "/images/".to_owned(),
        secret: Some(Secret::from("hunter2".to_owned())),
        relative_urls: true,
        drain_timeout: Duration::from_secs(30),
        headers: vec![(
            "X-Content-Type-Options".to_owned(),
            vec!["nosniff".to_owned()],
        )],
        debug: Some(DebugServer {
            addr: "localhost:5001".parse().unwrap(),
            metrics_path: Some("/numbers".to_owned()),
        }),
        http2_disabled: true,
        h2c_enabled: true,
    };
    assert_eq!(config, expected);
}

#[test]
fn access() {
    let (config, told) = read(include_str!("../../../samples/access.yml"));
    assert_eq!(told, Vec::<String>::new());
    let rule = |repositories, users, groups, actions: &[AccessAction]| AccessRule {
        repositories: texts(repositories),
        users: texts(users),
        groups: texts(groups),
        anonymous: false,
        actions: actions.to_vec(),
    };
    use AccessAction::{Catalog, Delete, Pull, Push};
    let group = |name: &str, users: &[&str]| (name.to_owned(), texts(users));
    let mut expected = in_memory();
    expected.http.host = Some("https://registry.example".to_owned());
    expected.auth = Auth::Htpasswd {
        realm: "Images".to_owned(),
        path: PathBuf::from("/auth/htpasswd"),
    };
    expected.access = Some(Access {
        groups: [
            group("builders", &["ada", "grace"]),
            group("admins", &["linus"]),
        ]
        .into(),
        rules: vec![
            AccessRule {
                anonymous: true,
                ..rule(&["public/**"], &[], &[], &[Pull])
            },
            rule(
                &["team/**", "tools"],
                &["ken"],
                &["builders"],
                &[Pull, Push],
            ),
            rule(&["**"], &[], &["admins"], &[Pull, Push, Delete, Catalog]),
            rule(&[], &["ken"], &[], &[Catalog]),
        ],
    });
    let trusted = ["192.0.2.7/32", "2001:db8::/32", "10.0.0.0/8"];
    expected.proxies = Proxies {
        trusted: trusted.iter().map(|net| net.parse().unwrap()).collect(),
    };
    expected.probes = Probes {
        root: Probe::Health,
        requests: Probe::Health,
    };
    assert_eq!(config, expected);
}
