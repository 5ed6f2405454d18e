//! `roadstead cluster`: the metadata service, as an operator sees and changes it.

mod rotate;
mod seen;
mod table;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use roadstead_metadata::{
    BUDGET, ClusterCommand, ClusterOutcome, Command as Proposal, Metadata as _, Outcome, Refused,
    Remote, RemoteOptions, boot_time,
};

use crate::{metadata, wiring};
use seen::Seen;

/// What is asked for `status` may take a member that is away; the answer should come before a person gives up.
const STATUS_WITHIN: Duration = Duration::from_secs(4);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The configuration file, with `cluster`; or `REGISTRY_CLUSTER_METADATA` and `REGISTRY_CLUSTER_SECRET`.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Who is there: members, who leads, how far behind each is; nodes, their leases; open uploads; versions.
    ///
    /// Exit code 0 when the group decides, 1 when it does not: then what the members that answer last knew is shown.
    Status {
        /// As JSON (docs/cluster.md has the fields).
        #[arg(long)]
        json: bool,
    },
    /// Take in a member of the metadata service.
    ///
    /// Start it first, on an empty `metadata.dir`, with a `metadata.id` that no other has or had. Its `metadata.peers`
    /// name the members as they are to be, 1, 3 or 5, itself among them; naming itself alone, it would begin a group of
    /// its own.
    ///
    ///   roadstead metadata member-4.yml
    ///   roadstead cluster add 4 meta-4:7000
    ///
    /// It is sent the state, and votes when it has it. Add two, one after the other, to go from 1 to 3 or from 3 to 5:
    /// an even number bears no more failures than the odd one below.
    #[command(verbatim_doc_comment)]
    Add {
        /// Its `metadata.id`.
        id: u64,
        /// `host:port` at which the others reach it.
        addr: String,
        /// Say the outcome as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give the nodes at an address no new work.
    ///
    /// Their /readyz answers 503, so that a balancer leaves them out; what they have is finished, and what still comes is
    /// served. For one that is about to be stopped, SIGTERM alone is enough: it drains by itself.
    ///
    ///   roadstead cluster drain node-a:5000
    ///   roadstead cluster drain --undo node-a:5000
    #[command(verbatim_doc_comment)]
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
    ///
    /// Its id is never to be used again with the same disk; to come back, it needs an empty `metadata.dir` and
    /// `roadstead cluster add`. A quorum must be there: 2 of 3, 3 of 5. Members that are lost for good are removed one
    /// after the other while it is.
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
    let budget = match command {
        Command::Status { .. } => STATUS_WITHIN,
        _ => BUDGET,
    };
    let remote = RemoteOptions {
        members: metadata::members(&config)?,
        identity: metadata::identity(config.cluster.as_ref())?,
        budget,
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
                must_decide(&remote).await?;
                remote
                    .add(id, &addr)
                    .await
                    .map_err(|refused| advised(&refused))?;
                say(json, id, "added", &format!("member {id} at {addr} votes"))
            }
            Command::Drain { addr, undo } => drain(&remote, addr, !undo).await,
            Command::RotateSecret => rotate::secret(&remote).await,
            Command::Remove { id, json } => {
                must_decide(&remote).await?;
                remote
                    .remove(id)
                    .await
                    .map_err(|refused| advised(&refused))?;
                let text = format!("member {id} is removed: stop it now");
                say(json, id, "removed", &text)
            }
        }
    })
}

/// Without a quorum a change of the group would be tried for a minute.
async fn must_decide(remote: &Remote) -> Result<()> {
    match remote.fleet().await {
        Ok(_confirmed) => Ok(()),
        Err(error) => bail!(
            "{error}: members come and go only while a quorum answers; roadstead cluster status shows who does"
        ),
    }
}

fn advised(refused: &Refused) -> anyhow::Error {
    anyhow!(
        "{refused} (roadstead cluster status shows what is there now; asking again is harmless)"
    )
}

async fn status(remote: &Remote, json: bool) -> Result<ExitCode> {
    let told = remote.status().await;
    let is_led = told
        .iter()
        .any(|(_, told)| told.as_ref().is_ok_and(|told| told.leader.is_some()));
    // A leader may not know yet that nobody follows it: what it answers here, a quorum has confirmed.
    let nodes = if is_led {
        remote.fleet().await.ok().map(|fleet| fleet.nodes)
    } else {
        None
    };
    let seen = Seen::new(told, nodes);
    let text = if json {
        table::json(&seen)
    } else {
        table::readable(&seen)
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if seen.has_quorum {
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
        let nodes = remote.fleet().await.unwrap_or_default().nodes;
        let known: Vec<&str> = nodes.values().map(|node| node.address.as_str()).collect();
        bail!("no node is at {addr}; there are: {}", known.join(", "));
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
