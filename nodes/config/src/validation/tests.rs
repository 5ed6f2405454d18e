//! `validation`, key by key.

use super::{Platform, Platforms, Validation};
use crate::{Config, Loaded};

fn load(yaml: &str) -> Loaded {
    let text = format!("version: 0.1\nstorage: inmemory\nvalidation:\n  {yaml}\n");
    Config::load(&text, []).unwrap()
}

fn validation(yaml: &str) -> Validation {
    let Loaded { config, warnings } = load(yaml);
    assert_eq!(warnings, []);
    config.validation
}

fn mistakes(yaml: &str) -> String {
    let text = format!("version: 0.1\nstorage: inmemory\nvalidation:\n  {yaml}\n");
    Config::load(&text, []).unwrap_err().to_string()
}

#[test]
fn the_old_switch_beats_the_new_one() {
    assert!(!validation("disabled: false").disabled);
    assert!(validation("disabled: true").disabled);
    assert!(!validation("{enabled: true, disabled: true}").disabled);
    assert!(!validation("enabled: false").disabled);
}

#[test]
fn expressions_compile_and_keep_their_text() {
    let urls =
        validation("manifests: {urls: {allow: ['^https://a/'], deny: [b, c]}}").manifest_urls;
    assert_eq!(urls.allow, ["^https://a/"]);
    assert_eq!(urls.deny, ["b", "c"]);
    let told = mistakes("manifests: {urls: {allow: [a, '(']}}");
    let expected = "validation.manifests.urls.allow[1] (line 4): \"(\" is not a regular expression: unclosed group";
    assert_eq!(told, expected);
}

#[test]
fn every_listed_manifest_must_be_there_by_default() {
    assert_eq!(validation("disabled: false").indexes, Platforms::All);
    assert_eq!(
        validation("manifests: {indexes: {platforms: all}}").indexes,
        Platforms::All
    );
    assert_eq!(
        validation("manifests: {indexes: {platforms: NONE}}").indexes,
        Platforms::None
    );
    let told = mistakes("manifests: {indexes: {platforms: some}}");
    assert!(
        told.ends_with("\"some\" is not one of all, none, list; did you mean none?"),
        "{told}"
    );
}

#[test]
fn a_list_names_platforms() {
    let list =
        "manifests: {indexes: {platforms: list, platformlist: [{architecture: amd64, os: linux}]}}";
    let platform = Platform {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
    };
    assert_eq!(validation(list).indexes, Platforms::List(vec![platform]));
    let told = mistakes("manifests: {indexes: {platforms: list, platformlist: [{os: linux}]}}");
    assert!(
        told.contains("platformlist[0] (line 4): \"\" is no architecture"),
        "{told}"
    );
}

#[test]
fn a_list_without_its_choice_is_remarked_on() {
    for (choice, expected) in [
        ("all", Platforms::All),
        ("none", Platforms::None),
        ("~", Platforms::All),
    ] {
        let loaded = load(&format!(
            "manifests: {{indexes: {{platforms: {choice}, platformlist: [{{architecture: a, os: b}}]}}}}"
        ));
        assert_eq!(loaded.config.validation.indexes, expected);
        assert!(
            loaded.warnings[0]
                .to_string()
                .contains("has no effect unless")
        );
    }
}
