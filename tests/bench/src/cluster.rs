//! A cluster: three members of the metadata service, and three nodes that share a directory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::time::Instant;

use crate::content::Blob;
use crate::http::Target;
use crate::process::{Process, pause};
use crate::registry::Client;
use crate::server::{Server, Setting, answers, home, local, ports, storage};
use crate::work::{Done, together};

const NODES: usize = 3;

/// Whoever is not told within this is not told at all.
const GOES_ON_WITHIN: Duration = Duration::from_mins(1);
/// A client that was refused tries again after this.
const AGAIN: Duration = Duration::from_millis(10);

/// The nodes stand first: they take leave of the members.
pub(crate) fn start(setting: Setting<'_>) -> Result<Server> {
    let home = home()?;
    let members: [u16; 3] = ports()?;
    let nodes: [u16; NODES] = ports()?;
    let begun = Instant::now();
    let mut kept = Vec::new();
    for id in 1..=members.len() {
        let text = member(id, &members, home.path());
        kept.push(launch(setting, home.path(), "metadata", id, &text)?);
    }
    let mut processes = Vec::new();
    for (number, port) in nodes.iter().enumerate() {
        let text = node(setting, *port, &members);
        processes.push(launch(setting, home.path(), "registry", number, &text)?);
    }
    let targets = nodes.map(|port| Target {
        addr: local(port),
        tls: None,
    });
    for (process, target) in processes.iter_mut().zip(&targets) {
        answers(process, target, "/readyz")?;
        answers(process, target, setting.ready)?;
    }
    processes.append(&mut kept);
    let [target, others @ ..] = targets;
    Ok(Server {
        processes,
        target,
        others: others.into(),
        started_in: begun.elapsed(),
        home,
    })
}

/// Kills the member that leads. What is measured is how long the clients of all nodes then wait for the first push that is
/// acknowledged; each tries again where it is refused.
pub(crate) fn failover(server: &Server, roadstead: &str, round: usize) -> Result<Done> {
    let leader = leader(server, roadstead)?;
    let member = server.processes.get(NODES + leader - 1);
    let pushed = |client: usize, number: u64| {
        let mut blob = Blob::new((round as u64) << 32 | (client as u64) << 16 | number, 1024);
        let digest = blob.digest();
        let name = format!("bench/failover{client}");
        Client::new(server.target_of(client))?.push_blob(&name, &digest, &blob.bytes())
    };
    // Whatever is loaded or opened at the first push is loaded.
    together(NODES, |client| pushed(client, 0))?;
    member.context("no such member")?.kill()?;
    let begun = Instant::now();
    together(NODES, |client| {
        let mut number = 1;
        while let Err(error) = pushed(client, number) {
            if begun.elapsed() > GOES_ON_WITHIN {
                return Err(error.context("no push was acknowledged after the leader's end"));
            }
            number += 1;
            pause(AGAIN);
        }
        Ok(())
    })?;
    Ok(Done {
        units: 1.0,
        wall: begun.elapsed(),
        latencies: Vec::new(),
    })
}

fn leader(server: &Server, roadstead: &str) -> Result<usize> {
    let output = Command::new(roadstead)
        .args(["cluster", "status", "--json", "--config"])
        .arg(server.home.path().join("registry-0.yml"))
        .output()?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let leader = told.pointer("/group/leader").and_then(Value::as_u64);
    match leader.map(usize::try_from) {
        Some(Ok(leader)) if leader > 0 => Ok(leader),
        _ => bail!("nobody leads: {told}"),
    }
}

fn launch(
    setting: Setting<'_>,
    home: &Path,
    command: &str,
    number: usize,
    text: &str,
) -> Result<Process> {
    let name = format!("{command}-{number}");
    let file = home.join(&name).with_extension("yml");
    fs::write(&file, text)?;
    let arguments = [command.to_owned(), file.display().to_string()];
    // Each keeps something beside itself.
    let own = home.join(&name);
    fs::create_dir(&own)?;
    Process::start(setting.roadstead, &arguments, &own)
}

fn of_cluster(members: &[u16]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|port| format!("'{}'", local(*port)))
        .collect();
    format!(
        "version: 0.1\ncluster:\n  secret: a-secret-of-the-benchmark\n  metadata: [{}]\n",
        members.join(", ")
    )
}

fn member(id: usize, members: &[u16], home: &Path) -> String {
    let peers: Vec<String> = (1..)
        .zip(members)
        .map(|(id, port)| format!("{id}: '{}'", local(*port)))
        .collect();
    format!(
        "{}metadata:\n  id: {id}\n  addr: '{}'\n  dir: {}\n  peers: {{{}}}\n",
        of_cluster(members),
        members
            .get(id - 1)
            .map_or_else(String::new, |port| local(*port).to_string()),
        home.join(format!("member-{id}")).display(),
        peers.join(", ")
    )
}

fn node(setting: Setting<'_>, port: u16, members: &[u16]) -> String {
    format!(
        "{}storage:\n{}  delete:\n    enabled: true\nhttp:\n  addr: {}\n",
        of_cluster(members),
        storage(setting),
        local(port)
    )
}
