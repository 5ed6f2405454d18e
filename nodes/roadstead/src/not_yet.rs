//! What a configuration can ask for, and this binary does not do yet.

use anyhow::{Result, bail};
use roadstead_config::{Config, Listen, Notifications};

/// What must not be left out: to serve without it would be less safe than what was asked for, or somewhere else.
pub(crate) fn unsupported(config: &Config) -> Vec<String> {
    let http = &config.http;
    let missing = [
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
    let set = [(
        config.notifications != Notifications::default(),
        "notifications",
    )];
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

#[cfg(test)]
mod tests {
    use roadstead_config::{Config, Loaded};

    use super::{refuse, unsupported, without_effect};

    fn load(yaml: &str) -> Config {
        let text = format!("version: 0.1\nstorage: inmemory\n{yaml}\n");
        let Loaded { config, .. } = Config::load(&text, []).unwrap();
        config
    }

    /// The keys that are named, of a configuration that is refused.
    fn refused(yaml: &str) -> Vec<String> {
        let config = load(yaml);
        assert!(refuse(&config).is_err());
        let keys = unsupported(&config).into_iter();
        keys.map(|line| line.split(':').next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn nothing_is_served_that_should_be_protected() {
        assert_eq!(
            refused("http: {tls: {certificate: /c, key: /k}}"),
            ["http.tls"]
        );
        assert_eq!(refused("http: {net: unix, addr: /run/s}"), ["http.net"]);
    }

    #[test]
    fn what_is_merely_left_out_is_named() {
        let plain = load("auth: none");
        assert!(refuse(&plain).is_ok());
        assert_eq!(without_effect(&plain), None);
        let asking = load("notifications: {endpoints: [{url: 'http://a'}]}");
        assert!(refuse(&asking).is_ok());
        let told = without_effect(&asking).unwrap();
        assert!(told.ends_with("notifications"), "{told}");
    }
}
