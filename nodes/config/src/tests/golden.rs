//! Every sample in `samples/`, with all that is read from it and all that is said about it.
//!
//! They are one for each kind of sample that the reference's documentation has, written anew, and some of our own.

mod guards;
mod others;
mod stores;

use super::samples::plain;
use crate::mistake::Findings;
use crate::mistake::Origin;
use crate::{Config, node};

/// Every sample, for tests that need many configurations.
pub(super) const ALL: &[&str] = &[
    include_str!("../../samples/access.yml"),
    include_str!("../../samples/azure.yml"),
    include_str!("../../samples/filesystem.yml"),
    include_str!("../../samples/gcs.yml"),
    include_str!("../../samples/health.yml"),
    include_str!("../../samples/htpasswd.yml"),
    include_str!("../../samples/http.yml"),
    include_str!("../../samples/inmemory.yml"),
    include_str!("../../samples/letsencrypt.yml"),
    include_str!("../../samples/log.yml"),
    include_str!("../../samples/middleware.yml"),
    include_str!("../../samples/notifications.yml"),
    include_str!("../../samples/policy.yml"),
    include_str!("../../samples/proxy.yml"),
    include_str!("../../samples/redis-cluster.yml"),
    include_str!("../../samples/redis-sentinel.yml"),
    include_str!("../../samples/redis-v2.yml"),
    include_str!("../../samples/redis-v3.yml"),
    include_str!("../../samples/s3.yml"),
    include_str!("../../samples/silly.yml"),
    include_str!("../../samples/tls.yml"),
    include_str!("../../samples/token.yml"),
    include_str!("../../../../deploy/samples/config.yml"),
];

/// What is read, even if it is refused, and what is said: mistakes, then warnings.
fn read(text: &str) -> (Config, Vec<String>) {
    let document = node::parse(text, &Origin::Line).unwrap();
    let (config, found) = Config::with_findings(document.root, [], None, Findings::default());
    let mistakes = found.mistakes.iter().map(ToString::to_string);
    let warnings = found
        .warnings
        .iter()
        .map(|warning| format!("warning: {warning}"));
    (config, mistakes.chain(warnings).collect())
}

/// A sample in memory with nothing else set.
fn in_memory() -> Config {
    let mut config = plain();
    config.storage.driver = crate::DriverKind::InMemory;
    config.storage.delete_enabled = false;
    config
}

#[test]
fn no_secret_of_a_sample_is_ever_printed() {
    for text in ALL {
        let (config, told) = read(text);
        let printed = format!("{config:?} {told:?}");
        assert!(!printed.contains("hunter"), "{printed}");
    }
}

#[test]
fn the_commented_sample_is_right() {
    let text = include_str!("../../../../deploy/samples/config.yml");
    let (_, told) = read(text);
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn the_commented_sample_is_right_with_all_that_it_suggests() {
    let text = include_str!("../../../../deploy/samples/config.yml");
    let (suggested, told) = read(&text.replace("#- ", ""));
    assert_eq!(told, Vec::<String>::new());
    assert!(matches!(suggested.auth, crate::Auth::Htpasswd { .. }));
    assert!(suggested.http.tls.is_some() && suggested.http.host.is_some());
    assert_eq!(suggested.access.map(|access| access.rules.len()), Some(2));
    assert_eq!(suggested.notifications.endpoints.len(), 1);
}
