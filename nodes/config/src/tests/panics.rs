//! No input makes the reader panic.

use std::path::PathBuf;

use proptest::prelude::*;

use super::golden;
use super::samples::{EVERY_KEY, V2_IMAGE};
use crate::Config;

/// Names that mostly lead somewhere.
fn variable() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "STORAGE",
        "AUTH",
        "HTTP",
        "LOG",
        "HEADERS",
        "HOOKS",
        "REDIS",
        "OPTIONS",
        "FILESYSTEM",
        "S3",
        "DELETE",
        "ENABLED",
        "0",
        "1",
        "99999999999999999999",
        "ADDR",
        "X-A",
        "",
        "METADATA",
        "VALIDATION",
        "MANIFESTS",
        "URLS",
        "ALLOW",
        "INDEXES",
        "PLATFORMLIST",
        "LOGLEVEL",
        "FIELDS",
        "MAILOPTIONS",
        "HTPASSWD",
        "TOKEN",
        "JWKS",
        "TLS",
        "CIPHERSUITES",
        "ACCESS",
        "RULES",
        "GROUPS",
        "PROXIES",
        "TRUSTED",
        "NOTIFICATIONS",
        "ENDPOINTS",
        "URL",
        "HEALTH",
        "TCP",
        "READTIMEOUT",
        "CHUNKSIZE",
        "é",
    ]);
    prop::collection::vec(words, 0..6).prop_map(|words| format!("REGISTRY_{}", words.join("_")))
}

/// Text out of the pieces that YAML is made of.
fn yaml() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "version: 0.1\n",
        "storage:",
        "http:",
        "auth:",
        "log:",
        "  ",
        "\n",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ": ",
        ", ",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "!!str ",
        "!x ",
        "'",
        "\"",
        "|\n",
        ">-\n",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "# c\n",
        "\t",
        "\u{feff}",
        "\\",
        "yes",
        "0x",
        "1h",
        "~",
        "filesystem",
        "inmemory",
        "é",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

/// What a key might be given: numbers out of range, signs, addresses in parts, wrong shapes.
fn value() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "-1",
        "-2",
        "0",
        "9223372036854775807",
        "-9223372036854775808",
        "1h",
        "-1ns",
        "999999h",
        "http://",
        "https://a",
        "@",
        ":",
        "::",
        "[::1]",
        "]",
        "/",
        "?",
        "#",
        "a",
        "é",
        "*",
        "[]",
        "{}",
        "[a, b]",
        "[{}]",
        "[~]",
        "['']",
        "{a: b}",
        "~",
        "''",
        "1.2.3.4",
        "/33",
        "/8",
        "tls1.0",
        "\"\\0\"",
    ]);
    prop::collection::vec(pieces, 1..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _result = Config::load(&text, []);
        let _result = Config::load(&format!("version: 0.1\n{text}"), []);
    }

    #[test]
    fn no_yaml_panics(text in yaml()) {
        let _result = Config::load(&text, []);
        let _result = Config::load(&format!("version: 0.1\nstorage:\n{text}"), []);
    }

    #[test]
    fn no_damage_to_a_sample_panics(at in 0..EVERY_KEY.len(), length in 0..20_usize, with in yaml()) {
        let before = EVERY_KEY.get(..at).unwrap_or_default();
        let after = EVERY_KEY.get(at + length..).unwrap_or_default();
        let _result = Config::load(&format!("{before}{with}{after}"), []);
    }

    #[test]
    fn no_damage_to_any_sample_panics(
        which in 0..golden::ALL.len(),
        at in any::<usize>(),
        length in 0..20_usize,
        with in prop_oneof![any::<String>(), yaml()],
    ) {
        let sample = golden::ALL[which];
        let at = at % sample.len();
        let before = sample.get(..at).unwrap_or_default();
        let after = sample.get(at + length..).unwrap_or_default();
        let _result = Config::load(&format!("{before}{with}{after}"), []);
    }

    #[test]
    fn no_value_of_any_key_panics(which in 0..golden::ALL.len(), line in 0..60_usize, with in value()) {
        let sample = golden::ALL[which];
        let changed = sample.lines().enumerate().map(|(at, text)| match text.split_once(": ") {
            Some((key, _)) if at == line && key != "version" => format!("{key}: {with}\n"),
            _ => format!("{text}\n"),
        });
        let text = changed.collect::<String>();
        let printed = Config::load(&text, []).map_or_else(
            |mistakes| mistakes.to_string(),
            |loaded| format!("{:?}", loaded.config),
        );
        prop_assert!(!printed.is_empty());
    }

    #[test]
    fn no_environment_panics(
        variables in prop::collection::vec((variable(), prop_oneof![any::<String>(), yaml()]), 0..8),
    ) {
        for text in [V2_IMAGE, EVERY_KEY, "version: 0.1"] {
            if let Err(mistakes) = Config::load(text, variables.clone()) {
                prop_assert!(!mistakes.to_string().is_empty());
            }
        }
        let _result = Config::load_without_file(PathBuf::from("/data"), variables);
    }
}
