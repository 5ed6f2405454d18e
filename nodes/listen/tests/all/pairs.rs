//! What can be served, and what is said of what cannot.

use roadstead_listen::{Tls, TlsError};

use crate::ca::Ca;
use crate::server::{Files, Server, text};
use crate::tools::{openssl, run, s_client};

/// Makes a self-signed certificate for the key that lies in the directory.
async fn certify(files: &Files) {
    openssl(&[
        "req",
        "-x509",
        "-key",
        text(&files.key()),
        "-days",
        "10",
        "-subj",
        "/CN=localhost",
        "-out",
        text(&files.certificate()),
    ])
    .await;
}

#[tokio::test]
async fn keys_of_all_kinds_and_forms_are_served() {
    let files = Files::new(&Ca::new("root").server(2040));
    let key = files.key();
    let key = text(&key);
    let p384 = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-384",
        "-out",
        key,
    ];
    let p521 = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-521",
        "-out",
        key,
    ];
    let kinds: [(&str, &[&str], &str); 6] = [
        (
            "PKCS#1, RSA",
            &["genrsa", "-traditional", "-out", key, "2048"],
            "RSA PRIVATE",
        ),
        (
            "PKCS#8, RSA",
            &["genrsa", "-out", key, "3072"],
            "BEGIN PRIVATE",
        ),
        // With the parameters in a section before the key, as this command has always written it.
        (
            "SEC1, P-256",
            &["ecparam", "-name", "prime256v1", "-genkey", "-out", key],
            "EC PRIVATE",
        ),
        ("PKCS#8, P-384", &p384, "BEGIN PRIVATE"),
        ("PKCS#8, P-521", &p521, "BEGIN PRIVATE"),
        (
            "PKCS#8, Ed25519",
            &["genpkey", "-algorithm", "ed25519", "-out", key],
            "BEGIN PRIVATE",
        ),
    ];
    for (kind, make, form) in kinds {
        openssl(make).await;
        assert!(
            std::fs::read_to_string(key).unwrap().contains(form),
            "{kind}"
        );
        certify(&files).await;
        let server = Server::start(files.load().unwrap()).await;
        for version in ["-tls1_2", "-tls1_3"] {
            let seen = s_client(&server, &files.certificate(), &[version]).await;
            seen.went_well().has("Verification: OK").has("nobody");
        }
    }
}

fn refusal(files: &Files) -> String {
    let error = files.load().unwrap_err();
    let secret = std::fs::read_to_string(files.key()).unwrap_or_default();
    let said = format!("{error} {error:?}");
    for line in secret.lines().filter(|line| line.len() > 40) {
        assert!(!said.contains(line), "{said}");
    }
    error.to_string()
}

#[tokio::test]
async fn a_key_with_a_passphrase_is_refused_with_the_remedy() {
    let files = Files::new(&Ca::new("root").server(2040));
    let (plain, key) = (files.put("plain.key", ""), files.key());
    openssl(&["genrsa", "-out", text(&plain), "2048"]).await;
    for form in [
        &["rsa", "-traditional", "-aes128"][..],
        &["pkey", "-aes128"],
    ] {
        let mut arguments = form.to_vec();
        arguments.extend([
            "-in",
            text(&plain),
            "-out",
            text(&key),
            "-passout",
            "pass:secret",
        ]);
        run("openssl", &arguments, "").await.went_well();
        let said = refusal(&files);
        assert!(
            said.starts_with("key: ") && said.contains("is encrypted"),
            "{said}"
        );
        assert!(said.contains("openssl pkey"), "{said}");
    }
}

#[test]
fn a_pair_that_does_not_belong_together_is_refused() {
    let ca = Ca::new("root");
    let (one, other) = (ca.server(2040), ca.server(2040));
    let files = Files::new(&one);
    files.put("tls.key", &other.key);
    let said = refusal(&files);
    assert!(
        said.ends_with("tls.crt") && said.contains("does not belong"),
        "{said}"
    );
    // The bundle the wrong way round.
    files.put("tls.key", &one.key);
    files.put("tls.crt", &(ca.root().to_owned() + &one.chain));
    let said = refusal(&files);
    assert!(said.contains("must come first"), "{said}");
}

#[test]
fn what_is_missing_or_is_something_else_is_named() {
    let ca = Ca::new("root");
    let pair = ca.server(2040);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cases: &[(&str, &str, &str)] = &[
        ("tls.crt", "", "certificate: "),
        ("tls.crt", "", "holds no certificate"),
        ("tls.crt", garbage, "not an X.509 certificate"),
        ("tls.crt", "-----BEGIN CERTIFICATE-----\nAAAA", "is not PEM"),
        ("tls.crt", &pair.key, "holds no certificate"),
        ("tls.key", &pair.chain, "holds no private key"),
        (
            "tls.key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "cannot be used",
        ),
        ("tls.key", "", "key: "),
    ];
    for (name, contents, part) in cases {
        let files = Files::new(&pair);
        files.put(name, contents);
        let said = refusal(&files);
        assert!(said.contains(part) && said.contains(name), "{said}");
    }
    let files = Files::new(&pair);
    std::fs::remove_file(files.key()).unwrap();
    let error = files.load().unwrap_err();
    assert!(
        matches!(error, TlsError::Unreadable { setting: "key", .. }),
        "{error:?}"
    );
    std::fs::create_dir(files.key()).unwrap();
    assert!(matches!(files.load(), Err(TlsError::Unreadable { .. })));
    let files = Files::new(&pair);
    let mut options = files.options();
    options.client_cas = vec![files.put("ca.crt", "# none\n")];
    let error = Tls::load(options).unwrap_err().to_string();
    assert!(
        error.starts_with("clientcas: ") && error.contains("ca.crt"),
        "{error}"
    );
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let files = Files::new(&Ca::new("root").server(2040));
    files.put("tls.crt", &"#".repeat((4 << 20) + 1));
    assert!(matches!(files.load(), Err(TlsError::Unreadable { .. })));
}
