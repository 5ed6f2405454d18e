//! Who may name whom: the dependencies that each room's manifest declares, and the absences that keep the rooms clean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use roadstead_tests::Run;
use serde_json::Value;

/// Each room with the rooms that it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("roadstead-oci", &[]),
    ("roadstead-config", &[]),
    ("roadstead-listen", &[]),
    ("roadstead-telemetry", &[]),
    (
        "roadstead-serve",
        &["roadstead-listen", "roadstead-telemetry"],
    ),
    ("roadstead-machine", &["roadstead-oci"]),
    ("roadstead-proto", &[]),
    (
        "roadstead-metadata",
        &["roadstead-machine", "roadstead-oci", "roadstead-proto"],
    ),
    (
        "roadstead-metadata-server",
        &[
            "roadstead-machine",
            "roadstead-metadata",
            "roadstead-proto",
            "roadstead-telemetry",
        ],
    ),
    ("roadstead-storage", &["roadstead-oci"]),
    ("roadstead-s3", &["roadstead-storage"]),
    ("roadstead-cache", &["roadstead-oci"]),
    ("roadstead-auth", &["roadstead-oci"]),
    ("roadstead-events", &["roadstead-oci"]),
    (
        "roadstead-registry",
        &[
            "roadstead-auth",
            "roadstead-cache",
            "roadstead-events",
            "roadstead-metadata",
            "roadstead-oci",
            "roadstead-serve",
            "roadstead-storage",
            "roadstead-telemetry",
        ],
    ),
    (
        "roadstead",
        &[
            "roadstead-auth",
            "roadstead-cache",
            "roadstead-config",
            "roadstead-events",
            "roadstead-gateway",
            "roadstead-listen",
            "roadstead-metadata",
            "roadstead-metadata-server",
            "roadstead-registry",
            "roadstead-s3",
            "roadstead-serve",
            "roadstead-storage",
            "roadstead-telemetry",
        ],
    ),
    (
        "roadstead-gateway",
        &[
            "roadstead-metadata",
            "roadstead-oci",
            "roadstead-serve",
            "roadstead-telemetry",
        ],
    ),
    ("roadstead-powercut", &[]),
    ("roadstead-models", &["roadstead-machine", "roadstead-oci"]),
    (
        "roadstead-tests",
        &["roadstead-metadata", "roadstead-oci", "roadstead-powercut"],
    ),
];

/// Libraries that only these rooms name (the tests apart).
const ONLY_IN: &[(&str, &[&str])] = &[
    (
        "axum",
        &["roadstead-gateway", "roadstead-registry", "roadstead-serve"],
    ),
    (
        "hyper",
        &["roadstead-gateway", "roadstead-serve", "roadstead-events"],
    ),
    (
        "hyper-util",
        &[
            "roadstead-gateway",
            "roadstead-serve",
            "roadstead-events",
            "roadstead-metadata",
            "roadstead-s3",
        ],
    ),
    ("hyper-rustls", &["roadstead-events", "roadstead-s3"]),
    ("aws-lc-rs", &["roadstead-auth", "roadstead-metadata"]),
    ("aws-sdk-s3", &["roadstead-s3"]),
    ("aws-config", &["roadstead-s3"]),
    (
        "redb",
        &[
            "roadstead-metadata",
            "roadstead-metadata-server",
            "roadstead-events",
        ],
    ),
    ("openraft", &["roadstead-metadata-server"]),
    ("prost", &["roadstead-proto"]),
    (
        "tonic",
        &[
            "roadstead-proto",
            "roadstead-metadata",
            "roadstead-metadata-server",
        ],
    ),
    ("redis", &["roadstead-cache"]),
    ("bcrypt", &["roadstead-auth"]),
    ("jsonwebtoken", &["roadstead-auth"]),
    (
        "ureq",
        &["roadstead-auth", "roadstead-telemetry", "roadstead"],
    ),
    (
        "rustix",
        &[
            "roadstead-auth",
            "roadstead-listen",
            "roadstead-metadata",
            "roadstead-storage",
            "roadstead-telemetry",
            "roadstead",
        ],
    ),
    (
        "rustls",
        &[
            "roadstead-auth",
            "roadstead-events",
            "roadstead-gateway",
            "roadstead-listen",
            "roadstead-metadata",
            "roadstead-s3",
            "roadstead-telemetry",
            "roadstead",
        ],
    ),
    (
        "tokio-rustls",
        &[
            "roadstead-gateway",
            "roadstead-listen",
            "roadstead-metadata",
        ],
    ),
    ("hickory-resolver", &["roadstead-gateway"]),
    ("ppp", &["roadstead-gateway", "roadstead-serve"]),
    ("x509-parser", &["roadstead-auth", "roadstead-listen"]),
    ("listenfd", &["roadstead-listen"]),
    ("lettre", &["roadstead-telemetry"]),
    ("prometheus-client", &["roadstead-telemetry"]),
    ("opentelemetry", &["roadstead-telemetry"]),
    ("opentelemetry_sdk", &["roadstead-telemetry"]),
    ("tracing-subscriber", &["roadstead-telemetry"]),
    ("saphyr-parser", &["roadstead-config"]),
    ("stateright", &["roadstead-models"]),
    ("clap", &["roadstead"]),
    ("anyhow", &["roadstead"]),
];

/// Rooms that are pure: no runtime, no clock, no network.
const PURE: &[&str] = &["roadstead-oci", "roadstead-machine", "roadstead-config"];
const IMPURE: &[&str] = &[
    "tokio",
    "futures",
    "async-trait",
    "hyper",
    "axum",
    "redb",
    "rustix",
    "rustls",
    "getrandom",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What each room's manifest names, development dependencies apart.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = Run::new(env!("CARGO"))
        .dir(root())
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .ok()
        .json();
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("a list").iter();
    packages
        .map(|package| {
            let declared = package["dependencies"].as_array().expect("a list").iter();
            (
                name(package),
                declared
                    .filter(|declared| declared["kind"] != "dev")
                    .map(name)
                    .collect(),
            )
        })
        .collect()
}

#[test]
fn rooms_name_only_those_below_them() {
    let table: BTreeMap<&str, &[&str]> = MAY_NAME.iter().copied().collect();
    for (room, names) in dependencies() {
        let allowed = table
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{room} stands in no row of the table"));
        for named in names.iter().filter(|named| named.starts_with("roadstead")) {
            assert!(
                allowed.contains(&named.as_str()),
                "{room} must not name {named}"
            );
        }
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    for (room, names) in dependencies() {
        if matches!(room.as_str(), "roadstead-tests" | "roadstead-powercut") {
            continue;
        }
        for (library, rooms) in ONLY_IN {
            assert!(
                rooms.contains(&room.as_str()) || !names.contains(*library),
                "{room} must not name {library}"
            );
        }
        if PURE.contains(&room.as_str()) {
            for library in IMPURE {
                assert!(
                    !names.contains(*library),
                    "{room} is pure and must not name {library}"
                );
            }
        }
    }
}

/// The lint table forbids the calls that it knows by path; this one it does not. Which seeds are simulated is asked of
/// the environment, by tests alone.
#[test]
fn only_the_configuration_reads_the_environment() {
    let sources = Run::new("grep")
        .dir(root())
        .args([
            "-rlE",
            "env::(var|vars)",
            "nodes",
            "--include=*.rs",
            "--exclude-dir=simulation",
            "--exclude=*_tests.rs",
        ])
        .ok();
    for file in sources.text().lines() {
        assert!(
            file.starts_with("nodes/config/"),
            "{file} reads the environment"
        );
    }
}
