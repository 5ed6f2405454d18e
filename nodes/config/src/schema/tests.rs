//! The table itself, and following paths through it.

use std::collections::HashSet;

use super::{Astray, Level, Status, Step, Stray, follow, keys, split_braces};

fn path(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}

#[test]
fn no_key_has_two_lines() {
    let mut seen = HashSet::new();
    for row in keys::KEYS {
        let (stem, names) = split_braces(row.pattern);
        for name in names {
            assert!(
                seen.insert(format!("{stem}{name}")),
                "{stem}{name} stands twice"
            );
        }
    }
}

#[test]
fn patterns_have_no_stray_characters() {
    for row in keys::KEYS {
        let plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._[]*{},".contains(c);
        assert!(row.pattern.chars().all(plain), "{}", row.pattern);
        let (open, closed) = (row.pattern.find('{'), row.pattern.find('}'));
        let at_the_end = closed.is_none_or(|at| at + 1 == row.pattern.len());
        assert!(open.is_some() == closed.is_some(), "{}", row.pattern);
        assert!(at_the_end, "{}", row.pattern);
    }
}

#[test]
fn every_top_level_key_of_the_format_is_known() {
    let known = [
        "access",
        "auth",
        "catalog",
        "cluster",
        "compatibility",
        "gateway",
        "gc",
        "health",
        "http",
        "limits",
        "log",
        "loglevel",
        "metadata",
        "middleware",
        "notifications",
        "policy",
        "probes",
        "proxies",
        "proxy",
        "redis",
        "reporting",
        "storage",
        "tags",
        "validation",
        "version",
    ];
    let names: Vec<&str> = super::ROOT.names.keys().copied().collect();
    assert_eq!(names, known);
}

#[test]
fn a_line_about_what_is_below_leaves_the_status_above() {
    let level = Level::of(keys::KEYS);
    let swift = &level.names["storage"].names["swift"];
    assert!(swift.free);
    assert!(matches!(swift.status, Some(Status::Refused(_))));
}

#[test]
fn a_second_name_has_all_that_the_first_has() {
    for name in ["s3", "s3aws"] {
        assert!(super::is_known(&format!("storage.{name}.bucket")), "{name}");
        assert!(
            super::is_secret(&format!("storage.{name}.secretkey")),
            "{name}"
        );
    }
}

#[test]
fn secrets_are_marked() {
    for key in [
        "http.secret",
        "redis.password",
        "proxy.password",
        "storage.s3.secretkey",
        "cluster.secret",
        "log.hooks[0].options.smtp.password",
        "notifications.endpoints[3].headers.Authorization[0]",
        "notifications.endpoints[3].headers.X.Dotted[0]",
        "health.http[0].headers.Authorization",
        "storage.gcs.credentials.private_key",
    ] {
        assert!(super::is_secret(key), "{key}");
    }
    for key in ["http.addr", "http.headers.X.Dotted[0]"] {
        assert!(!super::is_secret(key), "{key}");
    }
}

#[test]
fn a_path_goes_through_maps_lists_and_the_open() {
    let steps = follow(&path("http.headers.x-zone.0")).unwrap();
    let key = |name: &str| Step::Key(name.to_owned());
    assert_eq!(
        steps,
        [key("http"), key("headers"), key("x-zone"), Step::Index(0)]
    );
    let steps = follow(&path("gateway.peers.1")).unwrap();
    let free = |name: &str| Step::Free(name.to_owned());
    assert_eq!(steps, [key("gateway"), free("peers"), free("1")]);
}

#[test]
fn a_path_that_leaves_the_format_says_where() {
    let stray = |at, how| Err(Stray { at, how });
    assert_eq!(
        follow(&path("http.adr")),
        stray(1, Astray::Unknown(Some("addr")))
    );
    assert_eq!(
        follow(&path("http.addr.more")),
        stray(2, Astray::Unknown(None))
    );
    let how = Astray::UnknownKind("access controller", Some("htpasswd"));
    assert_eq!(follow(&path("auth.htpassword.realm")), stray(1, how));
    assert_eq!(
        follow(&path("log.hooks.first.type")),
        stray(2, Astray::NotAnIndex)
    );
}

#[test]
fn field_names_become_keys() {
    let key = |fields: &str| keys::wanted_key(&fields.split('.').collect::<Vec<_>>()).join(".");
    assert_eq!(
        key("notifications.eventconfig.includereferences"),
        "notifications.events.includereferences"
    );
    assert_eq!(
        key("notifications.events.includereferences"),
        "notifications.events.includereferences"
    );
    assert_eq!(key("health.filecheckers.0.file"), "health.file.0.file");
    assert_eq!(key("health.httpcheckers.0.uri"), "health.http.0.uri");
    assert_eq!(key("health.tcpcheckers.1.addr"), "health.tcp.1.addr");
    assert_eq!(
        key("log.hooks.2.mailoptions.from"),
        "log.hooks.2.options.from"
    );
    assert_eq!(key("redis.options.addrs.0"), "redis.addrs.0");
    assert_eq!(key("redis.addrs.0"), "redis.addrs.0");
    assert_eq!(key("redis.addr"), "redis.addr");
}

/// A key without what says that it is a list or a map of anything.
fn bare(key: &str) -> String {
    key.replace("[]", "").replace(".**", "").replace(".*", "")
}

/// The names in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The keys that a file of documentation describes: a heading's first name, and the names in its rows' first cells.
fn documented(text: &str) -> HashSet<String> {
    let mut keys = HashSet::new();
    let mut section = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = quoted(title).next().unwrap_or_default();
        } else if line.starts_with("| `") {
            let names = line.split(" | ").next().unwrap_or_default();
            keys.extend(quoted(names).map(|name| match section {
                "" => bare(name),
                section => bare(&format!("{section}.{name}")),
            }));
        }
    }
    keys
}

#[test]
fn the_operators_reference_has_every_key_and_no_other() {
    let documented = documented(include_str!("../../../../docs/configuration.md"));
    let mut known = HashSet::new();
    for row in keys::KEYS {
        let (stem, names) = split_braces(row.pattern);
        let keys = names.iter().map(|name| bare(&format!("{stem}{name}")));
        let is_a_place = matches!(row.status, Status::Refused(_) | Status::Kinds(_));
        for key in keys {
            let has_no_settings = matches!(key.as_str(), "storage.swift" | "storage.oss");
            if !is_a_place && !has_no_settings {
                assert!(documented.contains(&key), "{key} is not documented");
            }
            known.insert(key);
        }
    }
    for key in documented {
        assert!(
            known.contains(&key),
            "{key} is documented, and there is no such key"
        );
    }
}
