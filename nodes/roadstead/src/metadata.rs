//! `roadstead metadata`: read, open the disk, listen, take part, hand over.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use roadstead_config::{Cluster, Config, ListenAddr, Loaded, MetadataMember, Proof, Warning};
use roadstead_metadata::transport::{Files, Identity};
use roadstead_metadata::{read_state, system_clock};
use roadstead_metadata_server::{Options, Server};
use roadstead_telemetry::log::Log;
use tokio::net::TcpListener;

use crate::log::Logging;
use crate::signals::{self, Signals};
use crate::{debug, descriptors, log, wiring};

pub(crate) fn run(import: Option<PathBuf>, path: Option<PathBuf>) -> Result<ExitCode> {
    let Loaded { config, warnings } = wiring::load(path)?;
    let logging = log::start(
        &config.log,
        &config.log.hooks,
        &uuid::Uuid::new_v4().to_string(),
    )?;
    let ended = run_logged(config, warnings, import, &logging);
    logging.finish(ended.as_ref().err());
    ended
}

fn run_logged(
    config: Config,
    warnings: Vec<Warning>,
    import: Option<PathBuf>,
    logging: &Logging,
) -> Result<ExitCode> {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    descriptors::raise();
    let identity = identity(config.cluster.as_ref())?;
    let member = config.metadata.context(
        "metadata is missing from the configuration; write id, dir and peers (see docs/configuration.md)",
    )?;
    let import = import.map(|path| read_state(&path)).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(take_part(member, identity, import, logging.lines.clone()))
}

async fn take_part(
    member: MetadataMember,
    identity: Identity,
    import: Option<Vec<u8>>,
    log: Log,
) -> Result<ExitCode> {
    let Signals { drain, mut hangup } = signals::listen(log)?;
    let until = drain.clone();
    tokio::spawn(async move {
        while let Some(Some(())) = until.run_until_cancelled(hangup.recv()).await {
            tracing::info!("SIGHUP: a member reads nothing again");
        }
    });
    let MetadataMember {
        id,
        addr,
        dir,
        peers,
        debug,
    } = member;
    let options = Options {
        id,
        dir,
        peers,
        identity,
        clock: system_clock(),
        import,
    };
    let server = Server::build(options).await?;
    let listener = bind(&addr)
        .await
        .with_context(|| format!("metadata.addr: {addr}"))?;
    if let Some(addr) = debug {
        debug::serve_member(&addr, server.telling(), drain.clone()).await?;
    }
    tracing::info!(id, "member listening on {}", listener.local_addr()?);
    server.run(listener, drain).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn bind(addr: &ListenAddr) -> std::io::Result<TcpListener> {
    match &addr.host {
        Some(host) => TcpListener::bind((host.as_str(), addr.port)).await,
        None => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, addr.port)).await {
            Ok(listener) => Ok(listener),
            // A machine without IPv6.
            Err(_unsupported) => TcpListener::bind(("0.0.0.0", addr.port)).await,
        },
    }
}

/// What a process of the cluster proves itself with. There is no cluster without.
pub(crate) fn identity(cluster: Option<&Cluster>) -> Result<Identity> {
    let proof = cluster.and_then(|cluster| cluster.proof.as_ref()).context(
        "cluster.secret is missing from the configuration; write the same for all processes (openssl rand -base64 32), or cluster.tls",
    )?;
    match proof {
        Proof::Secret(secret) => {
            Identity::from_secret(secret.expose().as_bytes()).context("cluster.secret")
        }
        Proof::Tls(tls) => Identity::from_files(&Files {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            ca: tls.ca.clone(),
        })
        .context("cluster.tls"),
    }
}

/// Where the metadata service is: `cluster.metadata`, or else the peers of the member that is configured.
pub(crate) fn members(config: &Config) -> Result<Vec<String>> {
    let named = config
        .cluster
        .as_ref()
        .map(|cluster| cluster.metadata.clone());
    let named = named.filter(|members| !members.is_empty());
    let peers = || {
        let member = config.metadata.as_ref()?;
        Some(member.peers.values().cloned().collect::<Vec<_>>())
    };
    named.or_else(peers).context(
        "cluster.metadata is missing from the configuration; write the members, as in [meta-1:7000, meta-2:7000, meta-3:7000]",
    )
}
