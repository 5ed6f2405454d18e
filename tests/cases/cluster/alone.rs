//! A registry on its own and a cluster, on one directory: whoever comes second is refused.

use std::path::PathBuf;
use std::process::Command;

use roadstead_tests::process::Process;
use roadstead_tests::{Options, Registry, registry, scratch};

use super::nodes::{Cluster, DEADLINE};

/// A configuration of `roadstead serve` on the cluster's directory.
fn config(cluster: &Cluster) -> PathBuf {
    let (file, root) = (cluster.root().with_file_name("alone.yml"), cluster.root());
    let yaml = format!(
        "version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
        root.display()
    );
    std::fs::write(&file, yaml).expect("a configuration");
    file
}

fn refused(cluster: &Cluster, command: &str) -> String {
    let run = registry::command().arg(command).arg(config(cluster));
    run.deadline(DEADLINE).fails().said()
}

#[test]
fn a_registry_on_its_own_is_refused_where_a_cluster_serves() {
    let mut cluster = Cluster::start(2);
    let said = refused(&cluster, "serve");
    assert!(said.contains("is in use by another roadstead"), "{said}");
    // As on a machine that does not see this one's locks: the claim tells, also after one of the nodes has stopped.
    std::fs::remove_file(cluster.root().join("roadstead/lock")).expect("the lock");
    cluster.stop(0);
    let said = refused(&cluster, "serve");
    assert!(
        said.contains("in use by another roadstead on cluster"),
        "{said}"
    );
}

#[test]
fn a_node_is_refused_where_a_registry_serves_on_its_own() {
    let home = scratch();
    let mut alone = Registry::roadstead(Options::default().root(home.path()));
    let mut cluster = Cluster::start(0);
    let config = cluster.node_with("http:\n  addr: 127.0.0.1:0\n", Some(home.path()));
    let said = cluster.refused(&config);
    assert!(said.contains("serves it alone"), "{said}");
    alone.stop();
    cluster.add_with("http:\n  addr: 127.0.0.1:0\n", Some(home.path()));
}

/// The nodes ended without a word: whoever wants the directory for itself waits until that is certain.
#[test]
fn a_cluster_that_is_gone_is_succeeded() {
    let mut cluster = Cluster::start(1);
    cluster.kill(0);
    cluster.stop_metadata();
    let mut command = Command::new(registry::program());
    command.env_clear().arg("serve").arg(config(&cluster));
    let mut alone = Process::start(command, &cluster.root().with_file_name("alone.log"));
    alone.wait_for_log("it took over", DEADLINE, |log| {
        (log.contains("taking over the storage") && log.contains("listening on")).then_some(())
    });
    assert_eq!(alone.stop(DEADLINE).code(), Some(0), "{}", alone.log());
    let left = std::fs::exists(cluster.root().join("roadstead/server"));
    assert!(!left.expect("a look"), "the claim is given up");
}
