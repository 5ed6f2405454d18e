//! `notifications`, key by key.

use crate::Config;

/// What a configuration in memory with this map says: the mistakes, or else the warnings.
fn told(yaml: &str) -> Vec<String> {
    let text = format!("version: 0.1\nstorage: inmemory\n{yaml}\n");
    match Config::load(&text, []) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(refused) => refused.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn an_endpoint_has_a_url() {
    let expected =
        "notifications.endpoints[0].url (line 3): is missing; write where events are posted";
    assert_eq!(told("notifications: {endpoints: [{name: a}]}"), [expected]);
    assert_eq!(
        told("notifications: {endpoints: [{name: a, disabled: true}]}"),
        Vec::<String>::new()
    );
}

#[test]
fn no_two_endpoints_have_one_name() {
    let yaml =
        "notifications: {endpoints: [{name: a, url: 'http://a'}, {name: a, url: 'http://b'}]}";
    let expected = "notifications.endpoints[1].name (line 3): another endpoint has this name; each has events of its own";
    assert_eq!(told(yaml), [expected]);
    let yaml = "notifications: {endpoints: [{name: a, url: 'http://a'}, {name: a, disabled: true, url: 'http://b'}]}";
    assert_eq!(told(yaml), Vec::<String>::new());
}

#[test]
fn an_action_that_does_not_happen_is_a_mistake() {
    let yaml = "notifications: {endpoints: [{name: a, url: 'http://a', ignore: {actions: [pul]}}]}";
    let expected = "notifications.endpoints[0].ignore.actions[0] (line 3): \"pul\" is not one of pull, push, \
                    mount, delete; did you mean pull?";
    assert_eq!(told(yaml), [expected]);
}

#[test]
fn no_password_is_repeated() {
    for endpoint in [
        "url: 'ftp://me:hunter2@a'",
        "url: 'http://me:hunter2@a b'",
        "url: 'http://a', headers: {Authorization: [\"hunter2\\n\"]}",
        "url: 'http://a', headers: {X.Dotted: [\"hunter2\\n\"]}",
        "url: 'http://a', headers: {Authorization: hunter2}",
    ] {
        let told = told(&format!("notifications: {{endpoints: [{{{endpoint}}}]}}")).concat();
        assert!(told.contains("notifications.endpoints[0]"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
