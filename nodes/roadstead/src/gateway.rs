//! `roadstead gateway`: read, build, announce, wait, drain.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use roadstead_acme::Home;
use roadstead_config::{Config, Gateway as Settings, LetsEncrypt, Loaded, Warning};
use roadstead_gateway::{Configured, Gateway, Members, Nodes, Telling, debug_router};
use roadstead_listen::{Inherited, Listener};
use roadstead_metadata::{BUDGET, Metadata, Remote, RemoteOptions, boot_time};
use roadstead_serve::{self as http_server, Drained, Workers};
use roadstead_telemetry::access::AccessLog;
use roadstead_telemetry::log::Log;
use roadstead_telemetry::metrics::GatewayMetrics;
use roadstead_telemetry::startup;

use crate::log::{LAST_LINES_WITHIN, Logging};
use crate::serve::{RELOAD_EVERY, keep_tls};
use crate::signals;
use crate::wiring::{self, acme, aside, entry};
use crate::{descriptors, log, metadata};

mod options;

const ACME: &str = "gateway.tls.letsencrypt";

pub(crate) fn run(path: Option<PathBuf>) -> Result<ExitCode> {
    let Loaded { config, warnings } = wiring::load_for_gateway(path)?;
    let instance = uuid::Uuid::new_v4().to_string();
    let logging = log::start(&config.log, &config.log.hooks, &instance)?;
    let ended = run_logged(&config, warnings, &logging);
    logging.finish(ended.as_ref().err());
    ended
}

fn run_logged(config: &Config, warnings: Vec<Warning>, logging: &Logging) -> Result<ExitCode> {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    descriptors::raise();
    let settings = config.gateway.clone().unwrap_or_default();
    ensure!(
        is_member(config) || !settings.upstreams.is_empty(),
        "gateway.upstreams is missing from the configuration; write for example [node-a:5000, node-b:5000], or cluster.metadata"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config, &settings, logging.lines.clone()))
}

async fn serve(config: &Config, settings: &Settings, log: Log) -> Result<ExitCode> {
    let signals = signals::listen(log)?;
    let drain = signals.drain.clone();
    let tls = entry::gateway_tls(settings)?;
    let listeners = entry::listeners_on("gateway.addr", &settings.addr, None::<Inherited>).await?;
    let telling = telling(config)?;
    let remote = remote(config)?;
    let nodes = nodes(settings, remote.as_ref());
    let dial = options::dial(settings)?;
    if let Some(shown) = dial.tls.clone() {
        let until = drain.clone();
        tokio::spawn(async move { until.run_until_cancelled(shown.watch(RELOAD_EVERY)).await });
    }
    let access_log = telling.access_log.clone();
    let kept = match (acme::of(settings.tls.as_ref()), &tls) {
        (Some(ordered), Some(tls)) => {
            let home = home(ordered, config, remote)?;
            let metrics = telling.metrics.clone();
            Some(acme::keep(ACME, ordered, home, tls, metrics, &drain).await?)
        }
        _ => None,
    };
    let gateway = Gateway::build(
        options::of(config, settings)?,
        dial,
        nodes,
        telling,
        drain.clone(),
    );
    for listener in &listeners {
        startup::listening(listener, tls.is_some());
    }
    if let Some(address) = &settings.debug {
        let router = debug_router(Arc::clone(&gateway));
        aside::serve("gateway.debug.addr", address, router, &drain).await?;
    }
    if let Some(address) = &settings.redirect {
        let own = listeners.iter().find_map(Listener::local_addr);
        let port = own.map_or(settings.addr.port, |own| own.port());
        let mut router = roadstead_gateway::redirect_router(port);
        if let Some(kept) = &kept {
            router = router.merge(kept.router());
        }
        aside::serve("gateway.redirect.addr", address, router, &drain).await?;
    }
    keep_tls(tls.as_ref(), signals);
    let threads = std::thread::available_parallelism()?.get();
    let options = server_options(config, settings, Workers::start(threads)?);
    let drained = http_server::serve(listeners, tls, gateway.service(), options, drain).await;
    if let Some(kept) = kept {
        kept.leave().await;
    }
    if let Some(log) = access_log {
        let _written = tokio::task::spawn_blocking(move || log.finish(LAST_LINES_WITHIN)).await;
    }
    if drained == Drained::Whole {
        tracing::info!("stopped: nothing was cut off");
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the metadata service can be asked which nodes there are.
fn is_member(config: &Config) -> bool {
    let cluster = config.cluster.as_ref();
    cluster.is_some_and(|cluster| !cluster.metadata.is_empty())
}

/// Where the certificate is kept that is ordered.
fn home(ordered: &LetsEncrypt, config: &Config, remote: Option<Arc<Remote>>) -> Result<Home> {
    match (remote, &config.cluster) {
        (Some(remote), Some(cluster)) => acme::in_cluster(ACME, ordered, cluster, remote),
        _ => acme::alone(ACME, ordered),
    }
}

/// The metadata service, in a cluster.
fn remote(config: &Config) -> Result<Option<Arc<Remote>>> {
    if !is_member(config) {
        return Ok(None);
    }
    let options = RemoteOptions {
        members: metadata::members(config)?,
        identity: metadata::identity(config.cluster.as_ref())?,
        budget: BUDGET,
    };
    Ok(Some(Arc::new(Remote::build(options, boot_time())?)))
}

fn nodes(settings: &Settings, remote: Option<&Arc<Remote>>) -> Vec<Box<dyn Nodes>> {
    let configured = Configured::new(options::places(settings), settings.resolve);
    let mut nodes: Vec<Box<dyn Nodes>> = vec![Box::new(configured)];
    if let Some(remote) = remote {
        let remote: Arc<dyn Metadata> = Arc::<Remote>::clone(remote);
        nodes.push(Box::new(Members::of(remote)));
    }
    nodes
}

fn telling(config: &Config) -> Result<Telling> {
    let metrics = GatewayMetrics::new(
        env!("CARGO_PKG_VERSION"),
        roadstead_telemetry::system_clock()(),
    );
    let access_log = if config.log.access_log_disabled {
        None
    } else {
        Some(AccessLog::to_standard_output().context("log.accesslog")?)
    };
    Ok(Telling {
        metrics,
        access_log,
    })
}

fn server_options(config: &Config, settings: &Settings, workers: Workers) -> http_server::Options {
    let bound = descriptors::connections();
    let wanted = settings.limits.connections.map(|wanted| wanted as usize);
    http_server::Options {
        stalled_after: config.limits.body_idle,
        lame_duck: settings.timeouts.lame_duck,
        drain_within: settings.timeouts.drain,
        http2: true,
        connections: wanted.map_or(bound, |wanted| wanted.min(bound)),
        proxy_protocol: settings
            .proxy_protocol
            .accept
            .then(|| config.proxies.trusted.clone()),
        metrics: None,
        workers: Some(workers),
    }
}
