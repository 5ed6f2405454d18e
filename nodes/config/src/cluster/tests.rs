//! What is read of a cluster, and each mistake with its setting.

use super::*;
use crate::Config;

const MEMBER: &str = "version: 0.1
storage: inmemory
cluster:
  metadata: [meta-1:7000, meta-2:7000, meta-3:7000]
  secret: hunter2hunter2hunter2
  advertise: node-a:5000
metadata:
  id: 2
  dir: /var/lib/roadstead
  peers: {1: meta-1:7000, 2: meta-2:7001, 3: meta-3:7000}
";

fn load(text: &str) -> Config {
    Config::load(text, []).unwrap().config
}

fn told(text: &str) -> String {
    Config::load(text, []).unwrap_err().to_string()
}

#[test]
fn a_member_is_read() {
    let config = load(MEMBER);
    let cluster = config.cluster.unwrap();
    assert_eq!(cluster.metadata.len(), 3);
    assert!(matches!(cluster.proof, Some(Proof::Secret(_))));
    let member = config.metadata.unwrap();
    assert_eq!(
        (member.id, member.addr.to_string()),
        (2, ":7001".to_owned())
    );
    assert_eq!(member.peers[&3], "meta-3:7000");
}

#[test]
fn variables_set_members_as_well() {
    let env = [
        ("REGISTRY_METADATA_ID", "1"),
        ("REGISTRY_METADATA_ADDR", "127.0.0.1:0"),
        ("REGISTRY_METADATA_PEERS_3", "other:7000"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let member = Config::load(MEMBER, env).unwrap().config.metadata.unwrap();
    assert_eq!((member.id, member.addr.port), (1, 0));
    assert_eq!(member.peers[&3], "other:7000");
}

#[test]
fn certificates_win_over_the_secret() {
    let tls = "\n  tls: {certificate: a.crt, key: a.key, ca: ca.crt}\n  advertise";
    let cluster = load(&MEMBER.replace("\n  advertise", tls)).cluster.unwrap();
    assert!(matches!(cluster.proof, Some(Proof::Tls(_))));
}

#[test]
fn mistakes_name_their_settings() {
    let cases = [
        ("hunter2hunter2hunter2", "hunter2", "cluster.secret"),
        (
            "  advertise",
            "  tls: {key: a}\n  advertise",
            "cluster.tls.certificate",
        ),
        ("[meta-1:7000,", "[meta-1,", "cluster.metadata[0]"),
        ("  id: 2\n", "", "metadata.id"),
        ("  id: 2\n", "  id: 7\n", "metadata.peers"),
        ("  dir: /var/lib/roadstead\n", "", "metadata.dir"),
        (", 3: meta-3:7000}", "}", "metadata.peers"),
        ("3: meta-3:7000}", "x: meta-3:7000}", "metadata.peers.x"),
        ("3: meta-3:7000}", "3: meta-3}", "metadata.peers.3"),
        ("3: meta-3:7000}", "3: meta-1:7000}", "metadata.peers"),
        ("  id: 2\n", "  id: 2\n  addr: nowhere\n", "metadata.addr"),
    ];
    for (right, wrong, setting) in cases {
        let told = told(&MEMBER.replacen(right, wrong, 1));
        assert!(told.contains(setting), "{wrong}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

/// Members and operators store nothing; who serves has to say where.
#[test]
fn what_stores_nothing_needs_no_storage() {
    let without = MEMBER.replace("storage: inmemory\n", "");
    let config = load(&without);
    assert_eq!(config.storage.driver, crate::DriverKind::Unnamed);
    assert_eq!(config.metadata.unwrap().debug, None);
    let only = "version: 0.1\ncluster: {secret: hunter2hunter2hunter2, metadata: ['a:1']}\n";
    assert_eq!(load(only).storage.driver, crate::DriverKind::Unnamed);
    let empty = MEMBER.replace("storage: inmemory", "storage: {delete: {enabled: true}}");
    assert!(told(&empty).contains("no storage driver is configured"));
    assert!(told("version: 0.1\n").contains("no storage driver is configured"));
}

#[test]
fn a_member_may_have_a_debug_address() {
    let debug = MEMBER.replace("  id: 2\n", "  id: 2\n  debug: {addr: 'localhost:7002'}\n");
    let member = load(&debug).metadata.unwrap();
    assert_eq!(member.debug.unwrap().to_string(), "localhost:7002");
}
