//! `access`, key by key.

use super::{Access, AccessAction};
use crate::Config;

const HTPASSWD: &str = "auth: {htpasswd: {realm: r, path: /p}}\nhttp: {host: https://a.example}";

fn load(access: &str) -> Result<(Option<Access>, Vec<String>), Vec<String>> {
    with(HTPASSWD, access)
}

fn with(auth: &str, access: &str) -> Result<(Option<Access>, Vec<String>), Vec<String>> {
    let text = format!("version: 0.1\nstorage: inmemory\n{auth}\naccess: {access}\n");
    match Config::load(&text, []) {
        Ok(loaded) => {
            let warnings = loaded.warnings.iter().map(ToString::to_string);
            Ok((loaded.config.access, warnings.collect()))
        }
        Err(refused) => Err(refused.mistakes.iter().map(ToString::to_string).collect()),
    }
}

fn mistakes(access: &str) -> Vec<String> {
    load(access).unwrap_err()
}

fn rule(rule: &str) -> Result<(Option<Access>, Vec<String>), Vec<String>> {
    load(&format!(
        "{{groups: {{builders: [ada]}}, rules: [{{{rule}}}]}}"
    ))
}

#[test]
fn absent_is_not_empty() {
    assert_eq!(load(""), Ok((None, Vec::new())));
    assert_eq!(load("~"), Ok((None, Vec::new())));
    let expected = ["access.rules (line 5): is missing; without a rule nobody could do anything"];
    for empty in ["{}", "{rules: []}", "{rules: ~}", "{groups: {a: [b]}}"] {
        assert_eq!(mistakes(empty), expected, "{empty}");
    }
}

#[test]
fn a_star_is_every_action_and_none_stands_twice() {
    let actions = |actions: &str| {
        let text = format!("repositories: [a], users: [u], actions: [{actions}]");
        rule(&text).unwrap().0.unwrap().rules.remove(0).actions
    };
    use AccessAction::{Catalog, Delete, Pull, Push};
    assert_eq!(actions("'*'"), [Pull, Push, Delete, Catalog]);
    assert_eq!(actions("push, pull, push"), [Pull, Push]);
    let told = rule("repositories: [a], users: [u], actions: [psh]").unwrap_err();
    let expected = "access.rules[0].actions[0] (line 5): \"psh\" is not one of pull, push, delete, catalog, *; \
                    did you mean push?";
    assert_eq!(told, [expected]);
}

#[test]
fn a_rule_names_somebody_an_action_and_repositories() {
    let nobody = "access.rules[0] (line 5): names nobody; write users, groups, or anonymous: true";
    assert_eq!(
        rule("repositories: [a], actions: [pull]").unwrap_err(),
        [nobody]
    );
    assert_eq!(
        rule("repositories: [a], users: [], actions: [pull]").unwrap_err(),
        [nobody]
    );
    let told = rule("repositories: [a], anonymous: no, actions: [pull]").unwrap_err();
    assert!(
        told[0].starts_with("access.rules[0].anonymous (line 5): is all that"),
        "{told:?}"
    );
    let told = rule("repositories: [a], users: [u]").unwrap_err();
    assert!(
        told[0].starts_with("access.rules[0].actions (line 5): is missing"),
        "{told:?}"
    );
    let told = rule("users: [u], actions: [pull, catalog]").unwrap_err();
    assert!(
        told[0].starts_with("access.rules[0].repositories (line 5): is missing"),
        "{told:?}"
    );
    assert!(rule("users: [u], actions: [catalog]").is_ok());
}

#[test]
fn a_group_that_is_not_there_is_a_mistake_with_a_suggestion() {
    let told = rule("repositories: [a], groups: [bilders], actions: [pull]").unwrap_err();
    let expected = "access.rules[0].groups[0] (line 5): \"bilders\" is not a group in access.groups; \
                    did you mean builders?";
    assert_eq!(told, [expected]);
}

#[test]
fn a_group_may_have_a_dot_in_its_name() {
    let rules = "rules: [{repositories: [a], groups: [team.eu], actions: [pull]}]";
    let access = load(&format!("{{groups: {{team.eu: [ada]}}, {rules}}}"));
    let access = access.unwrap().0.unwrap();
    assert_eq!(access.groups["team.eu"], ["ada"]);
    assert_eq!(access.rules[0].groups, ["team.eu"]);
    let told = mistakes(&format!(
        "{{groups: {{'': [ada], team.eu: [ada]}}, {rules}}}"
    ));
    assert_eq!(told, ["access.groups. (line 5): a group needs a name"]);
}

#[test]
fn an_empty_text_is_a_mistake_and_not_left_out() {
    for wrong in [
        "repositories: [''], users: [u], actions: [pull]",
        "repositories: [a], users: [u, ~], actions: [pull]",
        "repositories: [a], users: [u], actions: [pull, '']",
    ] {
        assert!(
            rule(wrong).unwrap_err()[0].ends_with("holds an empty text"),
            "{wrong}"
        );
    }
    let told = mistakes("{groups: {a: ['']}, rules: [{users: [u], actions: [catalog]}]}");
    assert_eq!(told, ["access.groups.a (line 5): holds an empty text"]);
}

#[test]
fn a_user_is_one_that_a_client_can_name() {
    let told = rule("repositories: [a], users: ['a:b'], actions: [pull]").unwrap_err();
    assert!(told[0].contains("\"a:b\" is not a user's name"), "{told:?}");
}

#[test]
fn who_lets_anybody_write_is_warned() {
    let warnings = |actions: &str| {
        let text = format!("repositories: [a], anonymous: true, actions: [{actions}]");
        rule(&text).unwrap().1
    };
    assert_eq!(warnings("pull, catalog"), Vec::<String>::new());
    let expected = "access.rules[0] (line 5): lets anybody write, without a password";
    assert_eq!(warnings("push"), [expected]);
    assert_eq!(warnings("'*'"), [expected]);
}

#[test]
fn rules_are_for_users_with_passwords() {
    let rules = "{rules: [{users: [u], actions: [catalog]}]}";
    let expected = "access (line 4): needs auth.htpasswd, which says who somebody is";
    assert_eq!(with("auth: none", rules).unwrap_err(), [expected]);
    assert_eq!(
        with("auth: {silly: {realm: r, service: s}}", rules).unwrap_err(),
        [expected]
    );
    let token = "auth: {token: {realm: r, service: s, issuer: i, jwks: /k}}";
    let expected =
        "access (line 4): a token carries its own rights; remove access, or use auth.htpasswd";
    assert_eq!(with(token, rules).unwrap_err(), [expected]);
    let told = with("auth: {htpasswd: {realm: r}}", rules).unwrap_err();
    assert_eq!(told.len(), 1, "{told:?}");
}
