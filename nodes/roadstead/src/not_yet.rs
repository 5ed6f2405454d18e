//! What a configuration can ask for, and this binary does not do yet.

use anyhow::{Result, bail};
use roadstead_config::{Auth, Config, Health, Listen, Notifications, Probes, Proxies};

/// What must not be left out: to serve without it would be less safe than what was asked for, or somewhere else.
pub(crate) fn unsupported(config: &Config) -> Vec<String> {
    let Config {
        http, auth, access, ..
    } = config;
    let missing = [
        (*auth != Auth::None, "auth", "authentication"),
        (access.is_some(), "access", "authentication"),
        (http.tls.is_some(), "http.tls", "TLS"),
        (
            matches!(http.addr, Listen::Unix(_)),
            "http.net",
            "listening on a unix socket",
        ),
    ];
    missing
        .into_iter()
        .filter(|(asked_for, ..)| *asked_for)
        .map(|(_, key, what)| {
            format!(
                "{key}: {what} is not supported by this version yet; refusing to serve without it"
            )
        })
        .collect()
}

/// What can be left out, with a warning that names it.
pub(crate) fn without_effect(config: &Config) -> Option<String> {
    let set = [
        (config.http.debug.is_some(), "http.debug"),
        (config.health != Health::default(), "health"),
        (
            config.notifications != Notifications::default(),
            "notifications",
        ),
        (config.proxies != Proxies::default(), "proxies"),
        (config.probes != Probes::default(), "probes"),
    ];
    let keys: Vec<&str> = set
        .into_iter()
        .filter_map(|(set, key)| set.then_some(key))
        .collect();
    (!keys.is_empty()).then(|| {
        let keys = keys.join(", ");
        format!("these settings are right, and have no effect in this version yet: {keys}")
    })
}

/// Fails with all that is unsupported, one a line.
pub(crate) fn refuse(config: &Config) -> Result<()> {
    let unsupported = unsupported(config);
    if unsupported.is_empty() {
        return Ok(());
    }
    bail!("{}", unsupported.join("\n"))
}
