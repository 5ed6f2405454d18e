//! `roadstead cluster`: the metadata service, as an operator sees and changes it.

mod rotate;
mod table;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use roadstead_metadata::{
    BUDGET, ClusterCommand, ClusterOutcome, Command as Proposal, Metadata as _, Nodes, Outcome,
    Remote, RemoteOptions, boot_time,
};

use crate::{metadata, wiring};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The configuration file, with `cluster`; or `REGISTRY_CLUSTER_METADATA` and `REGISTRY_CLUSTER_SECRET`.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Members, who leads, and how far behind each is. Exit code 1 when nobody leads.
    Status {
        /// As JSON: what each member says, and those that say nothing.
        #[arg(long)]
        json: bool,
    },
    /// Take in a member: start it first, with `metadata.peers` naming all, itself too, on an empty directory.
    Add {
        /// Its `metadata.id`.
        id: u64,
        /// `host:port` at which the others reach it.
        addr: String,
        /// Say the outcome as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give the nodes at an address no new work: their /readyz answers 503, and what they have is finished.
    Drain {
        /// Their `cluster.advertise`, as `status` shows it.
        addr: String,
        /// Give them work again.
        #[arg(long)]
        undo: bool,
    },
    /// Give the nodes another secret to sign with, where `http.secret` is left to the cluster. Uploads that are under way
    /// go on: what was signed with the one before is accepted for another day.
    RotateSecret,
    /// Let a member go: it counts in no quorum any more. Stop its process afterwards.
    Remove {
        /// Its `metadata.id`.
        id: u64,
        /// Say the outcome as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(options: Options, command: Command) -> Result<ExitCode> {
    let config = wiring::load(options.config)?.config;
    let remote = RemoteOptions {
        members: metadata::members(&config)?,
        identity: metadata::identity(config.cluster.as_ref())?,
        budget: BUDGET,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let remote = Remote::build(remote, boot_time())?;
        match command {
            Command::Status { json } => status(&remote, json).await,
            Command::Add { id, addr, json } => {
                remote.add(id, &addr).await?;
                say(json, id, "added", &format!("member {id} at {addr} votes"))
            }
            Command::Drain { addr, undo } => drain(&remote, addr, !undo).await,
            Command::RotateSecret => rotate::secret(&remote).await,
            Command::Remove { id, json } => {
                remote.remove(id).await?;
                say(
                    json,
                    id,
                    "removed",
                    &format!("member {id} is removed: stop it now"),
                )
            }
        }
    })
}

async fn status(remote: &Remote, json: bool) -> Result<ExitCode> {
    let told = remote.status().await;
    let has_leader = told.iter().any(|(_, status)| {
        status
            .as_ref()
            .is_ok_and(|status| status.leader == Some(status.id))
    });
    let nodes = if has_leader {
        remote.nodes().await.unwrap_or_default()
    } else {
        Nodes::new()
    };
    let text = if json {
        table::json(&told, &nodes)
    } else {
        table::readable(&told, &nodes)
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if has_leader {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn drain(remote: &Remote, addr: String, on: bool) -> Result<ExitCode> {
    let command = Proposal::Cluster(ClusterCommand::Drain {
        address: addr.clone(),
        on,
    });
    let told = match remote.propose(command).await? {
        Outcome::Cluster(ClusterOutcome::Told { nodes }) => nodes,
        other => bail!("it answered {other:?}"),
    };
    if told == 0 {
        bail!("no node is at {addr}: roadstead cluster status shows them");
    }
    let what = if on {
        "is given no new work"
    } else {
        "takes work again"
    };
    writeln!(std::io::stdout(), "{addr} {what}")?;
    Ok(ExitCode::SUCCESS)
}

fn say(json: bool, id: u64, done: &str, text: &str) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", serde_json::json!({ done: id }))?;
    } else {
        writeln!(out, "{text}")?;
    }
    Ok(ExitCode::SUCCESS)
}
