//! The configurations that operators start from, given to the program itself.

use roadstead_tests::registry;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/samples/config.yml");

#[test]
fn the_commented_sample_is_right() {
    let checked = registry::command().args(["check", SAMPLE]).ok();
    assert!(
        checked.text().contains(
            "the configuration is right: a registry on :5000, storing in /var/lib/registry"
        ),
        "{}",
        checked.text()
    );
}

/// As they are and with all that they suggest; a member's has no storage, and needs none.
#[test]
fn the_samples_are_right() {
    let scratch = roadstead_tests::scratch();
    for (name, expected) in [
        ("s3.yml", "storing in the bucket images, under /registry"),
        ("gateway.yml", "a gateway on :443"),
        ("letsencrypt.yml", "a registry on :443"),
        ("cluster-member.yml", "member 1 of the metadata service"),
        ("cluster-node.yml", "storing in /var/lib/registry"),
        ("cluster-node-s3.yml", "storing in the bucket"),
        ("cluster-gateway.yml", "a gateway on :5000"),
    ] {
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/samples");
        let text = std::fs::read_to_string(format!("{samples}/{name}")).expect("the sample");
        let file = scratch.path().join(name);
        for yaml in [text.replace("#- ", ""), text] {
            std::fs::write(&file, yaml).expect("a configuration");
            let checked = registry::command().arg("check").arg(&file).ok().text();
            assert!(checked.contains("the configuration is right"), "{checked}");
            assert!(checked.contains(expected), "{checked}");
            assert!(!checked.contains("warning"), "{checked}");
            assert!(!checked.contains("change-me"), "{checked}");
        }
    }
}

#[test]
fn warnings_are_said_beside_mistakes() {
    let scratch = roadstead_tests::scratch();
    let file = scratch.path().join("config.yml");
    let yaml = "version: 0.1\nstorage: inmemory\nhttp:\n  adr: :1\ntags: {maxtags: -1}\n";
    std::fs::write(&file, yaml).expect("a configuration");
    for command in ["check", "serve"] {
        let refused = registry::command().arg(command).arg(&file).fails();
        let said = refused.said();
        assert!(said.contains("tags.maxtags (line 5)"), "{said}");
        assert!(said.contains("did you mean addr?"), "{said}");
    }
}

#[test]
fn a_variable_of_the_seed_with_a_slip_is_answered_with_the_right_one() {
    let refused = registry::command()
        .arg("check")
        .env("REGISTRY_AUTH", "htpasswd")
        .env("REGISTRY_AUTH_HTPASSWORD_REALM", "Registry Realm")
        .env("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd")
        .fails();
    let expected = "did you mean REGISTRY_AUTH_HTPASSWD_REALM?";
    assert!(refused.said().contains(expected), "{}", refused.said());
}

#[test]
fn who_stores_needs_a_storage() {
    let scratch = roadstead_tests::scratch();
    let file = scratch.path().join("config.yml");
    let yaml =
        "version: 0.1\ncluster: {secret: hunter2hunter2hunter2, metadata: ['localhost:1']}\n";
    std::fs::write(&file, yaml).expect("a configuration");
    registry::command().arg("check").arg(&file).ok();
    for command in ["serve", "registry", "garbage-collect"] {
        let refused = registry::command().arg(command).arg(&file).fails().said();
        assert!(refused.contains("storage: is missing"), "{refused}");
    }
    let alone = registry::command()
        .args(["cluster", "status", "--config"])
        .arg(&file);
    let told = alone.fails();
    assert!(told.text().contains("NO MEMBER ANSWERS"), "{}", told.said());
}
