//! All that people were told, row by row, with where it is shown.

use std::path::Path;

use Shown::{Here, Later, There};

/// Where a row is shown.
#[derive(Debug, Clone, Copy)]
enum Shown {
    /// By a step of these cases, whose name has the row's id.
    Here,
    /// By a test of this name in this file, below the directory `tests` or the tree's root.
    There(&'static str, &'static str),
    /// Not yet: why.
    Later(&'static str),
}

const CLUSTER: &str = "comes with the cluster";

const ROWS: &[(&str, Shown)] = &[
    ("A001", Here),
    ("A002", Here),
    ("A003", Here),
    ("A004", Here),
    ("A005", Here),
    ("A006", Here),
    ("A007", Here),
    ("A008", Here),
    ("A009", Later("the sum of the others, and of the cluster")),
    ("A010", Here),
    ("A011", Here),
    ("A012", Here),
    ("A013", Here),
    ("A014", Here),
    ("A015", Here),
    ("A016", Here),
    ("A017", Here),
    ("A018", Here),
    ("A019", Here),
    ("A020", Here),
    (
        "A021",
        There(
            "tests/cases/acme/alone.rs",
            "a021_a022_a023_the_variables_of_the_reference_are_enough",
        ),
    ),
    (
        "A022",
        There(
            "tests/cases/acme/alone.rs",
            "a021_a022_a023_the_variables_of_the_reference_are_enough",
        ),
    ),
    (
        "A023",
        There(
            "tests/cases/acme/alone.rs",
            "a021_a022_a023_the_variables_of_the_reference_are_enough",
        ),
    ),
    (
        "A024",
        There(
            "tests/cases/acme/alone.rs",
            "a024_no_failure_is_fatal_and_all_are_told",
        ),
    ),
    ("A025", Here),
    ("A026", Here),
    ("A027", Here),
    // The inmemory driver; object stores come later.
    ("A101", Here),
    ("A102", Here),
    ("A103", Here),
    (
        "A104",
        There(
            "tests/cases/acme/alone.rs",
            "a021_a022_a023_the_variables_of_the_reference_are_enough",
        ),
    ),
    ("A105", Here),
    ("A106", Later(CLUSTER)),
    ("A107", Later(CLUSTER)),
    ("A108", Later(CLUSTER)),
    ("A109", Later(CLUSTER)),
    (
        "A110",
        There(
            "tests/cases/start.rs",
            "a_second_registry_on_one_root_is_refused_by_name",
        ),
    ),
    ("A111", Here),
    ("A112", Here),
    (
        "A113",
        There(
            "tests/cases/proxies.rs",
            "a_proxy_that_says_nothing_needs_the_host_or_relative_urls",
        ),
    ),
    ("A114", Here),
    ("A115", Here),
    ("A116", Here),
    ("A117", Here),
    ("A118", Here),
    ("A119", Here),
    (
        "A120",
        There(
            "tests/cases/tls.rs",
            "a120_a_client_that_does_not_trust_the_certificate_is_explained",
        ),
    ),
    (
        "A121",
        There(
            "nodes/registry/auth/src/token_tests.rs",
            "every_algorithm_is_verified",
        ),
    ),
    // A proxy with users of its own: the rows from A411.
    ("A122", Here),
    ("A123", Here),
    ("A201", Here),
    ("A202", Here),
    ("A203", Here),
    ("A204", Here),
    ("A205", Here),
    ("A206", Here),
    ("A207", Here),
    ("A212", Here),
    ("A213", Here),
    ("A214", Here),
    ("A215", Here),
    ("A216", Here),
    ("A301", Here),
    ("A302", Here),
    ("A303", Here),
    ("A304", Here),
    ("A305", Here),
    ("A306", Here),
    ("A307", Here),
    // containerd pulls as it does for Kubernetes; Kubernetes itself does not fit into a test.
    ("A308", Here),
    ("A309", Here),
    ("A310", Later("the pull-through mirror")),
    ("A401", Here),
    ("A402", Here),
    ("A403", Here),
    ("A404", Here),
    ("A405", Here),
    ("A406", Here),
    (
        "A407",
        There(
            "nodes/registry/server/src/maintenance.rs",
            "a_first_chunk_that_takes_hours_is_taken",
        ),
    ),
    ("A408", Here),
    ("A409", Here),
    ("A410", Here),
    ("A411", Here),
    ("A412", Here),
    ("A413", Here),
    ("A414", Here),
    ("A415", Here),
    ("A416", Here),
    ("A417", Here),
];

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_row_is_shown_where_the_table_says() {
    let files = ["deploying", "home", "howto", "image", "network", "proxied"];
    let steps = files
        .map(|file| text(&format!("tests/cases/seeds/{file}.rs")))
        .concat();
    // `fn a002_a003_what_is_shown(`: every id of the name.
    let names: Vec<&str> = steps
        .split("\nfn ")
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name))
        .collect();
    for &(row, shown) in ROWS {
        let id = row.to_lowercase();
        let here = names
            .iter()
            .any(|name| name.split('_').any(|part| part == id));
        match shown {
            Here => assert!(here, "{row} has no step"),
            There(file, test) => {
                assert!(!here, "{row} has a step here, too");
                assert!(text(file).contains(test), "{row}: {file} has no {test}");
            }
            Later(why) => assert!(!here && !why.is_empty(), "{row} is shown already"),
        }
    }
    let mut ids: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), ROWS.len(), "each row once");
}
