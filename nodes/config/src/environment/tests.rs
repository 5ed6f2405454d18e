//! The rule of the variables.

use super::apply;
use crate::mistake::{Findings, Origin};
use crate::node::{Node, parse};

/// A tree after the variables, and what was found.
fn applied(text: &str, variables: &[(&str, &str)]) -> (Node, Findings) {
    let mut root = parse(text, &Origin::Line).unwrap().root;
    let mut findings = Findings::default();
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    apply(&mut root, variables, &mut findings);
    (root, findings)
}

/// The tree in YAML's flow style, after variables that all fit.
fn tree(text: &str, variables: &[(&str, &str)]) -> String {
    let (root, findings) = applied(text, variables);
    assert_eq!(findings.mistakes, []);
    assert_eq!(findings.warnings, []);
    flow(&root)
}

fn flow(node: &Node) -> String {
    use crate::node::Kind;
    match &node.kind {
        Kind::Map(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{key}: {}", flow(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Kind::Seq(items) => format!(
            "[{}]",
            items.iter().map(flow).collect::<Vec<_>>().join(", ")
        ),
        Kind::Scalar(text) => text.clone(),
        Kind::Null => "~".to_owned(),
    }
}

fn mistake(text: &str, variable: &str, value: &str) -> String {
    let (_, findings) = applied(text, &[(variable, value)]);
    assert_eq!(findings.mistakes.len(), 1, "{findings:?}");
    findings.mistakes[0].to_string()
}

fn warning(variable: &str, value: &str) -> String {
    let (root, findings) = applied("{}", &[(variable, value)]);
    assert_eq!(flow(&root), "{}", "an ignored variable changes nothing");
    assert_eq!(findings.mistakes, []);
    assert_eq!(findings.warnings.len(), 1, "{findings:?}");
    findings.warnings[0].to_string()
}

#[test]
fn missing_maps_are_made_in_lower_case() {
    let variables = [
        ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth"),
    ];
    assert_eq!(
        tree("", &variables),
        "{auth: {htpasswd: {path: /auth, realm: Registry Realm}}}"
    );
}

#[test]
fn existing_keys_are_found_in_any_case() {
    let text = "http: {headers: {X-Zone: [a]}}";
    assert_eq!(
        tree(text, &[("REGISTRY_HTTP_HEADERS_X-ZONE", "[b]")]),
        "{http: {headers: {X-Zone: [b]}}}"
    );
    assert_eq!(
        tree("", &[("REGISTRY_http_Addr", ":1")]),
        "{http: {addr: :1}}"
    );
}

#[test]
fn values_are_yaml() {
    let list = [("REGISTRY_REDIS_ADDRS", "[a:6379,b:6379]")];
    assert_eq!(tree("", &list), "{redis: {addrs: [a:6379, b:6379]}}");
    let map = [("REGISTRY_HTTP_HEADERS", "{X-Zone: [a, b]}")];
    assert_eq!(tree("", &map), "{http: {headers: {X-Zone: [a, b]}}}");
    assert_eq!(
        tree("http: {addr: ':1'}", &[("REGISTRY_HTTP_ADDR", "")]),
        "{http: {addr: ~}}"
    );
}

#[test]
fn lists_are_set_by_index_and_grow_by_one() {
    let text = "validation: {manifests: {urls: {allow: [a]}}}";
    let name = |index: usize| format!("REGISTRY_VALIDATION_MANIFESTS_URLS_ALLOW_{index}");
    let first = tree(text, &[(&name(0), "b")]);
    assert_eq!(first, "{validation: {manifests: {urls: {allow: [b]}}}}");
    let next = tree(text, &[(&name(1), "b"), (&name(2), "c")]);
    assert_eq!(
        next,
        "{validation: {manifests: {urls: {allow: [a, b, c]}}}}"
    );
    assert!(mistake(text, &name(2), "b").ends_with("sets item 2 of a list of 1; the next is 1"));
}

#[test]
fn an_item_after_the_last_may_be_a_map() {
    let variables = [
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME", "a"),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL", "http://a"),
    ];
    assert_eq!(
        tree("", &variables),
        "{notifications: {endpoints: [{name: a, url: http://a}]}}"
    );
}

#[test]
fn an_index_must_be_a_number() {
    let expected = "REGISTRY_LOG_HOOKS_FIRST_TYPE: \"first\" is not the index of a list";
    assert_eq!(
        mistake("", "REGISTRY_LOG_HOOKS_FIRST_TYPE", "mail"),
        expected
    );
}

#[test]
fn a_driver_by_name_replaces_the_storage_before_its_settings_come() {
    let text = "storage: {filesystem: {rootdirectory: /old}, delete: {enabled: true}}";
    let variables = [
        // Handed in out of order: they are sorted.
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data"),
        ("REGISTRY_STORAGE", "filesystem"),
    ];
    assert_eq!(
        tree(text, &variables),
        "{storage: {filesystem: {rootdirectory: /data}}}"
    );
}

#[test]
fn an_access_controller_by_name_is_one_without_settings() {
    assert_eq!(
        tree(
            "auth: {token: {realm: x}}",
            &[("REGISTRY_AUTH", "htpasswd")]
        ),
        "{auth: {htpasswd: ~}}"
    );
}

#[test]
fn without_a_replacement_a_second_driver_is_added() {
    let text = "storage: {filesystem: ~}";
    let expected = "{storage: {filesystem: ~, s3: {bucket: b}}}";
    assert_eq!(tree(text, &[("REGISTRY_STORAGE_S3_BUCKET", "b")]), expected);
}

#[test]
fn field_names_and_file_names_both_work() {
    for name in ["EVENTCONFIG", "EVENTS"] {
        let variable = format!("REGISTRY_NOTIFICATIONS_{name}_INCLUDEREFERENCES");
        let expected = "{notifications: {events: {includereferences: true}}}";
        assert_eq!(tree("", &[(&variable, "true")]), expected);
    }
    for name in ["FILE", "FILECHECKERS"] {
        let variable = format!("REGISTRY_HEALTH_{name}_0_FILE");
        assert_eq!(
            tree("", &[(&variable, "/down")]),
            "{health: {file: [{file: /down}]}}"
        );
    }
    for name in ["OPTIONS", "MAILOPTIONS"] {
        let variable = format!("REGISTRY_LOG_HOOKS_0_{name}_FROM");
        assert_eq!(
            tree("", &[(&variable, "a@b")]),
            "{log: {hooks: [{options: {from: a@b}}]}}"
        );
    }
}

#[test]
fn redis_is_reached_by_the_names_of_every_release() {
    for name in ["REGISTRY_REDIS_ADDRS_0", "REGISTRY_REDIS_OPTIONS_ADDRS_0"] {
        assert_eq!(tree("", &[(name, "a:6379")]), "{redis: {addrs: [a:6379]}}");
    }
    assert_eq!(
        tree("", &[("REGISTRY_REDIS_ADDR", "a:6379")]),
        "{redis: {addr: a:6379}}"
    );
}

#[test]
fn where_the_format_is_open_the_tree_decides() {
    let text = "gateway: {peers: {1: a}, list: [x]}";
    let variables = [
        ("REGISTRY_GATEWAY_PEERS_1", "b"),
        ("REGISTRY_GATEWAY_LIST_1", "y"),
        ("REGISTRY_GATEWAY_ID", "1"),
    ];
    assert_eq!(
        tree(text, &variables),
        "{gateway: {peers: {1: b}, list: [x, y], id: 1}}"
    );
}

#[test]
fn strangers_are_ignored_with_a_warning() {
    let expected = "Ignoring unrecognized environment variable REGISTRY_PORT";
    assert_eq!(warning("REGISTRY_PORT", "tcp://10.0.0.1:5000"), expected);
    assert_eq!(
        warning("REGISTRY_", ""),
        "Ignoring unrecognized environment variable REGISTRY_"
    );
}

#[test]
fn a_stranger_near_a_variable_is_told_of_it() {
    let told = warning("REGISTRY_STORAGE_DELETE_ENABLE", "yes");
    assert!(
        told.ends_with("; did you mean REGISTRY_STORAGE_DELETE_ENABLED?"),
        "{told}"
    );
    let told = warning("REGISTRY_HTP_ADRR", ":1");
    assert!(
        told.ends_with("; did you mean REGISTRY_HTTP_ADDR?"),
        "{told}"
    );
}

#[test]
fn a_stray_option_of_storage_is_an_error_as_a_stray_driver_is() {
    let told = mistake("", "REGISTRY_STORAGE_DELET_ENABLED", "yes");
    let expected = "there is no storage driver or option of storage named delet; \
                    did you mean REGISTRY_STORAGE_DELETE_ENABLED?";
    assert!(told.ends_with(expected), "{told}");
}

#[test]
fn a_mistyped_access_controller_is_an_error_with_a_suggestion() {
    let told = mistake("", "REGISTRY_AUTH_HTPASSWORD_REALM", "Registry Realm");
    let expected = "REGISTRY_AUTH_HTPASSWORD_REALM: there is no access controller named htpassword; \
                    did you mean REGISTRY_AUTH_HTPASSWD_REALM?";
    assert_eq!(told, expected);
}

#[test]
fn links_to_kubernetes_services_are_no_access_controllers() {
    warning("REGISTRY_AUTH_SERVICE_HOST", "10.0.0.1");
    warning("REGISTRY_AUTH_PORT_5001_TCP_ADDR", "10.0.0.1");
}

#[test]
fn other_variables_and_the_path_are_left_alone() {
    let variables = [
        ("PATH", "/bin"),
        ("REGISTRYX", "1"),
        ("REGISTRY_CONFIGURATION_PATH", "/etc/c.yml"),
    ];
    assert_eq!(tree("{}", &variables), "{}");
}

#[test]
fn the_version_is_the_files_own() {
    assert!(warning("REGISTRY_VERSION", "0.2").contains("only the file states its version"));
}

#[test]
fn a_broken_value_is_told_without_the_value() {
    let told = mistake("", "REGISTRY_HTTP_SECRET", "*hunter2");
    assert!(
        told.starts_with("REGISTRY_HTTP_SECRET: the value is not YAML ("),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn nothing_can_be_set_inside_a_single_value() {
    let told = mistake("log: loud", "REGISTRY_LOG_LEVEL", "debug");
    assert!(
        told.ends_with("sets level inside a single value, which is not a map"),
        "{told}"
    );
    let told = mistake("log: {hooks: {a: b}}", "REGISTRY_LOG_HOOKS_0_TYPE", "mail");
    assert!(
        told.ends_with("sets item 0 of a map, which is not a list"),
        "{told}"
    );
}

#[test]
fn empty_values_give_way_to_maps() {
    assert_eq!(
        tree("auth: ''", &[("REGISTRY_AUTH_SILLY_REALM", "r")]),
        "{auth: {silly: {realm: r}}}"
    );
}

#[test]
fn values_know_their_variable() {
    let (root, _) = applied("", &[("REGISTRY_HTTP_ADDR", ":1")]);
    let addr = root.get("http").and_then(|http| http.get("addr")).unwrap();
    assert_eq!(
        addr.origin,
        Origin::Variable("REGISTRY_HTTP_ADDR".to_owned())
    );
}

#[test]
fn a_name_of_many_parts_is_too_long() {
    let variable = format!("REGISTRY_GATEWAY{}", "_A".repeat(200));
    assert!(mistake("", &variable, "1").ends_with("the name is too long"));
}

#[cfg(unix)]
#[test]
fn only_our_variables_must_be_utf_8() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let raw = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let read = |name: &[u8], value: &[u8]| super::in_utf8([(raw(name), raw(value))].into_iter());
    let addr = ("REGISTRY_HTTP_ADDR".to_owned(), ":1".to_owned());
    assert_eq!(read(b"REGISTRY_HTTP_ADDR", b":1"), Ok(vec![addr]));
    assert_eq!(read(b"OTHER", b"\xff"), Ok(vec![]));
    let told = read(b"REGISTRY_HTTP_ADDR", b"\xff")
        .unwrap_err()
        .to_string();
    assert_eq!(told, "REGISTRY_HTTP_ADDR: the variable is not UTF-8");
    assert!(read(b"REGISTRY_\xff", b"1").is_err());
}

#[test]
fn a_name_that_is_too_long_is_not_looked_at() {
    for part in ["A_", "STORAGE_", "HTTP_HEADERS_"] {
        let long = format!("REGISTRY_{}", part.repeat(20_000));
        let said = mistake("{}", &long, "1");
        assert!(said.ends_with("...: the name is too long"), "{said}");
        assert!(said.len() < 300, "{}", said.len());
    }
}
