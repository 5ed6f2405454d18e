//! `auth`, key by key.

use super::{Auth, Jwks, Token};
use crate::{Config, Mistakes};

fn load(
    auth: &str,
    rest: &str,
    variables: &[(&str, &str)],
) -> Result<(Auth, Vec<String>), Mistakes> {
    let text = format!("version: 0.1\nstorage: inmemory\nauth: {auth}\n{rest}\n");
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let loaded = Config::load(&text, variables)?;
    let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
    Ok((loaded.config.auth, warnings))
}

fn mistakes(auth: &str, variables: &[(&str, &str)]) -> String {
    load(auth, "", variables).unwrap_err().to_string()
}

fn token(rest: &str) -> Result<(Token, Vec<String>), String> {
    let auth = format!("{{token: {{realm: https://a, service: s, issuer: i{rest}}}}}");
    match load(&auth, "", &[]) {
        Ok((Auth::Token(token), warnings)) => Ok((*token, warnings)),
        Ok((auth, _)) => panic!("{auth:?}"),
        Err(mistakes) => Err(mistakes.to_string()),
    }
}

#[test]
fn nobody_is_asked_by_default() {
    for auth in ["none", "{none: ~}", "", "{}", "{none: {}}"] {
        assert_eq!(load(auth, "", &[]), Ok((Auth::None, Vec::new())), "{auth}");
    }
}

#[test]
fn two_controllers_are_a_mistake_that_says_how_to_replace_one() {
    let expected = "auth (line 3): multiple access controllers: none, silly; keep none or silly \
                    (REGISTRY_AUTH=silly replaces what the file says)";
    assert_eq!(
        mistakes("{none: ~, silly: {realm: r, service: s}}", &[]),
        expected
    );
    let told = mistakes(
        "{token: ~}",
        &[
            ("REGISTRY_AUTH_HTPASSWD_REALM", "r"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", "p"),
        ],
    );
    assert!(
        told.starts_with("auth (REGISTRY_AUTH_HTPASSWD_PATH): multiple"),
        "{told}"
    );
}

#[test]
fn each_controller_without_settings_says_what_it_needs() {
    let realm = "is missing; write the name that clients show to their users";
    let expected = format!(
        "auth.htpasswd.realm (line 3): {realm}\n\
         auth.htpasswd.path (line 3): is missing; write the path of the file with users and hashes"
    );
    for auth in [
        "htpasswd",
        "{htpasswd: ~}",
        "{htpasswd: {realm: '', path: ~}}",
    ] {
        assert_eq!(mistakes(auth, &[]), expected, "{auth}");
    }
    assert_eq!(mistakes("silly", &[]).lines().count(), 2);
    assert_eq!(mistakes("token", &[]).lines().count(), 4);
}

#[test]
fn variables_alone_switch_it_on() {
    let realm = ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm");
    let path = ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd");
    let expected = Auth::Htpasswd {
        realm: "Registry Realm".to_owned(),
        path: "/auth/htpasswd".into(),
    };
    for more in [&[][..], &[("REGISTRY_AUTH", "htpasswd")]] {
        let variables = [more, &[realm, path]].concat();
        assert_eq!(load("", "", &variables).unwrap().0, expected);
    }
    let told = mistakes("", &[realm]);
    assert!(told.starts_with("auth.htpasswd.path ("), "{told}");
}

#[test]
fn a_misspelt_variable_is_told_beside_what_is_missing_for_it() {
    let variables = [
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
        ("REGISTRY_AUTH_HTPASSWORD_REALM", "Registry Realm"),
    ];
    let expected = "REGISTRY_AUTH_HTPASSWORD_REALM: there is no access controller named htpassword; \
                    did you mean REGISTRY_AUTH_HTPASSWD_REALM?\n\
                    auth.htpasswd.realm (REGISTRY_AUTH): is missing; \
                    write the name that clients show to their users";
    let told = mistakes("", &variables);
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn passwords_in_the_clear_are_remarked_on() {
    let auth = "{htpasswd: {realm: r, path: /p}}";
    let warned = |rest: &str| !load(auth, rest, &[]).unwrap().1.is_empty();
    let told = load(auth, "", &[]).unwrap().1;
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("auth.htpasswd (line 3): without http.tls"),
        "{}",
        told[0]
    );
    assert!(warned("http: {addr: 0.0.0.0:5000}"));
    assert!(warned("http: {host: http://a.example}"));
    for safe in [
        "http: {tls: {certificate: /c, key: /k}}",
        "http: {host: https://a.example}",
        "http: {addr: localhost:5000}",
        "http: {addr: '[::1]:5000'}",
        "http: {net: unix, addr: /run/socket}",
    ] {
        assert!(!warned(safe), "{safe}");
    }
}

#[test]
fn a_realm_cannot_start_another_header() {
    let told = mistakes(
        "{htpasswd: {realm: \"a\\r\\nSet-Cookie: b\", path: p}}",
        &[],
    );
    assert!(told.contains("holds a control character"), "{told}");
}

#[test]
fn tokens_need_a_key_to_be_verified_with() {
    let told = token("").unwrap_err();
    let expected =
        "auth.token (line 3): no token could be verified; name the keys in rootcertbundle or jwks";
    assert_eq!(told, expected);
    assert!(token(", rootcertbundle: /c").unwrap().0.jwks.is_none());
}

#[test]
fn keys_are_in_a_file_or_behind_a_url() {
    let (read, warnings) = token(", jwks: /keys.json").unwrap();
    assert_eq!(read.jwks, Some(Jwks::File("/keys.json".into())));
    assert_eq!(warnings, Vec::<String>::new());
    let (read, warnings) = token(", jwks: 'https://a.example/keys'").unwrap();
    assert!(matches!(read.jwks, Some(Jwks::Url(url)) if url.as_str() == "https://a.example/keys"));
    assert_eq!(warnings, Vec::<String>::new());
    let (_, warnings) = token(", jwks: 'http://a.example/keys'").unwrap();
    let expected =
        "auth.token.jwks (line 3): whoever is on the way to this URL can forge tokens; use https";
    assert_eq!(warnings, [expected]);
    assert!(
        token(", jwks: 'ftp://a.example/keys'")
            .unwrap_err()
            .contains("a scheme other than")
    );
}

#[test]
fn algorithms_are_all_unless_listed() {
    assert_eq!(token(", jwks: /k").unwrap().0.signing_algorithms.len(), 13);
    let listed = token(", jwks: /k, signingalgorithms: [es256, EdDSA]")
        .unwrap()
        .0;
    assert_eq!(listed.signing_algorithms, ["ES256", "EdDSA"]);
    for wrong in ["none", "HS1"] {
        let told = token(&format!(", jwks: /k, signingalgorithms: [{wrong}]")).unwrap_err();
        assert!(told.contains("auth.token.signingalgorithms[0]"), "{told}");
    }
}

#[test]
fn a_redirect_has_a_path() {
    let redirect =
        |rest: &str| token(&format!(", jwks: /k{rest}")).map(|(token, _)| token.auto_redirect);
    assert_eq!(redirect(""), Ok(None));
    assert_eq!(redirect(", autoredirectpath: /x"), Ok(None));
    assert_eq!(
        redirect(", autoredirect: true"),
        Ok(Some("/auth/token".to_owned()))
    );
    assert_eq!(
        redirect(", autoredirect: yes, autoredirectpath: /x"),
        Ok(Some("/x".to_owned()))
    );
    assert!(redirect(", autoredirect: true, autoredirectpath: x").is_err());
}
