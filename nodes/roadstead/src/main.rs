//! `roadstead`: the command line. Each subcommand reads as a story; the work is done in the rooms it calls.

mod called_as;
mod check;
mod cluster;
mod debug;
mod descriptors;
mod garbage_collect;
mod gateway;
mod htpasswd;
mod log;
mod metadata;
mod probe;
mod serve;
mod signals;
mod wiring;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use garbage_collect::Wanted;
use roadstead_registry::CollectOptions;

/// A container registry that stays up.
///
/// Without a subcommand it serves: on port 5000 of this machine's loopback addresses, storing under ./data.
#[derive(Debug, Parser)]
#[command(name = "roadstead", version, max_term_width = 100, after_long_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  roadstead                                  serve on localhost:5000, storing under ./data
  roadstead serve /etc/docker/registry/config.yml
  REGISTRY_HTTP_ADDR=:8000 roadstead         any setting can be given by the environment
  roadstead garbage-collect -d config.yml    what could be removed
  roadstead check config.yml                 every mistake in a configuration at once

  docker tag alpine localhost:5000/alpine && docker push localhost:5000/alpine";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a registry: everything in one process.
    ///
    /// The file is the CNCF registry's config.yml, version 0.1; `REGISTRY_*` variables override it by the same rule
    /// (`http.addr` is `REGISTRY_HTTP_ADDR`). Without a file, and without `REGISTRY_CONFIGURATION_PATH`, it serves on port 5000
    /// of the loopback addresses, stores under ./data and lets images be deleted.
    ///
    /// SIGTERM and SIGINT drain: no new connections, what is under way finishes within http.draintimeout, exit code 0.
    Serve {
        /// The configuration file.
        config: Option<PathBuf>,
    },
    /// Remove what no manifest names any more.
    ///
    /// Blobs that no manifest of any repository names go, and links to layers that no manifest of their repository names.
    /// Of a registry that is stopped they go at once; one that is started meanwhile waits or is refused. A registry, or a
    /// cluster, that serves the storage is asked to collect: it goes on serving, and says what it does. That takes gc.grace
    /// and gc.window, days by default; interrupted, this command leaves the collection to those who serve.
    ///
    ///   roadstead garbage-collect --dry-run config.yml      say what would go, and why
    ///   roadstead garbage-collect -m config.yml             untagged manifests too
    ///   roadstead garbage-collect --cancel config.yml       end the collection of those who serve
    #[command(verbatim_doc_comment)]
    GarbageCollect {
        /// Say what would go, and remove nothing.
        #[arg(short, long)]
        dry_run: bool,
        /// Remove manifests that no tag leads to as well, unless they refer to one that stays (signatures, say).
        #[arg(short = 'm', long)]
        delete_untagged: bool,
        /// Say nothing of what is done.
        #[arg(short, long)]
        quiet: bool,
        /// End the collection that is under way: what is being removed is removed to its end, and nothing else.
        #[arg(long, conflicts_with_all = ["dry_run", "delete_untagged"])]
        cancel: bool,
        /// The configuration file.
        config: Option<PathBuf>,
    },
    /// Stand in front of the nodes, and turn their failures into nothing.
    ///
    /// The configuration's `gateway` says where clients come in and which nodes there are; the file may be the one that the
    /// nodes are served with. A node that is lost costs no client anything: requests are tried again, downloads go on at
    /// another node at the byte where they stopped, uploads where they were acknowledged.
    ///
    /// SIGTERM and SIGINT drain, within gateway.timeouts.drain.
    Gateway {
        /// The configuration file.
        config: Option<PathBuf>,
    },
    /// Add, change, delete and verify users in an htpasswd file, with the options of Apache's tool.
    ///
    ///   roadstead htpasswd -c auth/htpasswd alice
    #[command(verbatim_doc_comment, disable_help_flag = true)]
    Htpasswd {
        /// As for Apache's: `[-ciBDv] [-C cost] file user`, or `-n[b] user`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Serve a registry as one of several nodes, which share the storage and the metadata service.
    ///
    /// The configuration is that of `serve`, the same for all nodes, with `cluster`: where the metadata service is, and
    /// what the processes prove themselves with. A node that is configured otherwise than the others is refused, with the
    /// name of the setting. Any number of nodes go behind any load balancer; each may be killed at any time.
    ///
    /// It waits for the metadata service, also at the start. SIGTERM and SIGINT drain as for `serve`.
    Registry {
        /// The configuration file.
        config: Option<PathBuf>,
    },
    /// Run a member of the metadata service, which the nodes of a cluster agree in.
    ///
    /// The configuration's `metadata` says which member this is and where it keeps its log, `cluster` what its processes
    /// prove themselves with. One, three or five members begin together; each keeps running while the others restart.
    ///
    /// SIGTERM and SIGINT hand the lead over and end it with exit code 0. A disk that fails ends it with 1.
    Metadata {
        /// The stopped registry's log of upload sessions (roadstead/sessions.redb in its storage) for the group to begin
        /// with. Given to each member that may lead first; without effect once the group has a state.
        #[arg(long, value_name = "FILE")]
        import: Option<PathBuf>,
        /// The configuration file.
        config: Option<PathBuf>,
    },
    /// Look after a cluster: who is in it, who joins, who leaves.
    ///
    ///   roadstead cluster status --config config.yml            members, nodes, uploads, versions
    ///   roadstead cluster add 4 meta-4:7000                     take in a member that is running and blank
    ///   roadstead cluster remove 2                              let one go; then stop it
    ///   roadstead cluster drain node-a:5000                     give a node no new work
    ///
    /// The configuration needs `cluster.metadata` and `cluster.secret` (or `cluster.tls`), and no storage. To replace a
    /// member: add the new one, then remove the old. One that only lost its disk comes back by itself.
    #[command(verbatim_doc_comment)]
    Cluster {
        #[command(flatten)]
        options: cluster::Options,
        #[command(subcommand)]
        command: cluster::Command,
    },
    /// Ask an address, and end with 0 if it answers 2xx or 401: for the health checks of containers.
    ///
    ///     roadstead probe http://127.0.0.1:5000/readyz
    #[command(verbatim_doc_comment)]
    Probe {
        /// Of a node `/readyz` or `/livez`; of a member the same at its `metadata.debug.addr`.
        url: String,
    },
    /// Read a configuration as `serve` would, and say all that is wrong with it.
    Check {
        /// The configuration file.
        config: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let mut given = std::env::args_os();
    let outcome = match called_as::Name::of(given.next()) {
        called_as::Name::Roadstead => run(Arguments::parse()),
        called_as::Name::Registry => called_as::registry::run(),
        called_as::Name::Htpasswd => htpasswd::run(given),
    };
    outcome.unwrap_or_else(|error| {
        log::fatal(&error);
        ExitCode::FAILURE
    })
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.command.unwrap_or(Command::Serve { config: None }) {
        Command::Serve { config } => serve::run(config, serve::Role::Alone),
        Command::Registry { config } => serve::run(config, serve::Role::Node),
        Command::Gateway { config } => gateway::run(config),
        Command::Check { config } => check::run(config),
        Command::Probe { url } => probe::run(&url),
        Command::Metadata { import, config } => metadata::run(import, config),
        Command::Cluster { options, command } => cluster::run(options, command),
        Command::GarbageCollect {
            dry_run,
            delete_untagged,
            quiet,
            cancel,
            config,
        } => {
            let wanted = if cancel {
                Wanted::Cancelled
            } else {
                Wanted::Collected(CollectOptions {
                    dry_run,
                    delete_untagged,
                })
            };
            garbage_collect::run(config, wanted, quiet)
        }
        Command::Htpasswd { arguments } => htpasswd::run(arguments),
    }
}
