//! Starting: one command, what it says first, and what it says of a configuration that cannot be served.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Client, Options, Registry, process::Process, registry};

const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// `roadstead` without arguments in an empty directory, but for its port: there may be a registry on 5000.
fn without_configuration(directory: &Path, port: &str) -> Process {
    let mut command = Command::new(registry::program());
    command
        .current_dir(directory)
        .env_clear()
        .env("REGISTRY_HTTP_ADDR", format!("localhost:{port}"));
    Process::start(command, &directory.join("log"))
}

/// The address in the first line that names one beginning with these words.
fn address(log: &str, words: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(words))?;
    let (_, rest) = line.split_once("listening on ")?;
    rest.split('"').next()?.trim().parse().ok()
}

#[test]
fn without_a_configuration_it_serves_on_both_loopback_addresses_and_stores_where_it_stands() {
    let scratch = roadstead_tests::scratch();
    let mut process = without_configuration(scratch.path(), "0");
    let has_ipv6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let log = process.wait_for_log("it was unprotected", STARTS_WITHIN, |log| {
        log.contains("unprotected").then(|| log.to_owned())
    });
    let v4 = address(&log, "listening on 127.0.0.1:").expect("an address");
    Client::new(&format!("http://{v4}"))
        .get("/v2/")
        .expect_status(200);
    if has_ipv6 {
        let v6 = address(&log, "listening on [::1]:").expect("an address");
        assert_eq!(v4.port(), v6.port());
        Client::new(&format!("http://{v6}"))
            .get("/v2/")
            .expect_status(200);
    }
    let data = scratch.path().join("data");
    assert!(
        log.contains(&format!("storing in {}", data.display())),
        "{log}"
    );
    assert!(
        log.contains("push, pull and delete"),
        "deletion is on without a configuration: {log}"
    );
    let repository = Client::new(&format!("http://{v4}")).repository("first");
    let digest = Digest::of(Algorithm::Sha256, b"x");
    repository.push_blob(b"x", &digest).expect_status(201);
    repository.delete_blob(&digest).expect_status(202);
    assert!(data.join("docker/registry/v2/blobs").is_dir());
    assert_eq!(process.stop(STARTS_WITHIN).code(), Some(0));
}

#[test]
fn a_second_registry_on_one_root_is_refused_by_name() {
    let scratch = roadstead_tests::scratch();
    let mut first = without_configuration(scratch.path(), "0");
    first.wait_for_log("it listened", STARTS_WITHIN, |log| {
        address(log, "listening on 127.0.0.1:")
    });
    let second = registry::command()
        .dir(scratch.path())
        .env("REGISTRY_HTTP_ADDR", "localhost:0")
        .fails();
    assert!(
        second.said().contains("storage.filesystem.rootdirectory"),
        "{}",
        second.said()
    );
    assert!(
        second.said().contains("in use by another roadstead"),
        "{}",
        second.said()
    );
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let scratch = roadstead_tests::scratch();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let addr = taken.local_addr().expect("bound").to_string();
    let refused = registry::command()
        .dir(scratch.path())
        .env("REGISTRY_HTTP_ADDR", &addr)
        .fails();
    assert!(
        refused
            .said()
            .contains(&format!("http.addr: {addr} is in use")),
        "{}",
        refused.said()
    );
}

#[test]
fn the_images_configurations_are_right() {
    for file in ["config.yml", "config-v3.yml"] {
        let file = format!("{}/../deploy/image/{file}", env!("CARGO_MANIFEST_DIR"));
        let checked = registry::command().args(["check", &file]).ok().text();
        let expected = "a registry on :5000, storing in /var/lib/registry";
        assert!(checked.contains(expected), "{checked}");
        assert!(!checked.contains("warning"), "{checked}");
    }
}

#[test]
fn every_mistake_is_said_at_once_and_nothing_is_served_that_should_be_protected() {
    let scratch = roadstead_tests::scratch();
    let file = scratch.path().join("config.yml");
    let yaml = "version: 0.1\nstorage:\n  inmemory:\n  delete:\n    enabled: perhaps\nauth:\n  htpasswd: {realm: x, path: y}\n";
    std::fs::write(&file, yaml).expect("a configuration");
    for command in ["check", "serve"] {
        let refused = registry::command().arg(command).arg(&file).fails();
        assert!(
            refused.said().contains("storage.delete.enabled"),
            "{}",
            refused.said()
        );
        assert!(
            refused.said().contains("auth.htpasswd"),
            "{}",
            refused.said()
        );
    }
}

#[test]
fn images_in_memory_are_served_like_all_others() {
    let scratch = roadstead_tests::scratch();
    let file = scratch.path().join("config.yml");
    std::fs::write(
        &file,
        "version: 0.1\nstorage: inmemory\nhttp: {addr: '127.0.0.1:0'}\n",
    )
    .expect("a configuration");
    let mut command = Command::new(registry::program());
    command
        .arg("serve")
        .arg(&file)
        .current_dir(scratch.path())
        .env_clear();
    let mut process = Process::start(command, &scratch.path().join("log"));
    let addr = process.wait_for_log("it listened", STARTS_WITHIN, |log| {
        address(log, "listening on 127.0.0.1:")
    });
    let content = roadstead_tests::Image::new(1).layers(2).build();
    let repository = Client::new(&format!("http://{addr}")).repository("in/memory");
    repository.push("latest", &content);
    repository.assert_serves("latest", &content);
    repository.delete_manifest("latest").expect_status(405);
    assert_eq!(process.stop(STARTS_WITHIN).code(), Some(0));
}

#[test]
fn a_start_warns_of_repositories_by_names_that_are_not_served() {
    const WARNING: &str = "there are repositories by names that are not served";
    let root = roadstead_tests::scratch();
    let start = || Registry::roadstead(Options::default().root(root.path()));
    let repositories = root.path().join("docker/registry/v2/repositories");
    std::fs::create_dir_all(repositories.join("served/_manifests")).expect("a directory");
    let mut registry = start();
    assert!(registry.stop().success());
    assert!(!registry.log().contains(WARNING), "{}", registry.log());
    std::fs::create_dir_all(repositories.join("Foo/bar/_manifests")).expect("a directory");
    let mut registry = start();
    let log = registry
        .process()
        .wait_for_log("it warned", STARTS_WITHIN, |log| {
            log.contains(WARNING).then(|| log.to_owned())
        });
    assert!(log.contains(" directory=Foo "), "{log}");
}
