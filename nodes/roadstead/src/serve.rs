//! `roadstead serve`: read, build, announce, wait, drain.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use roadstead_cache::Cache;
use roadstead_config::{
    Auth, Config, DriverKind, Identity, Loaded, Storage, UploadPurging, Warning, socket_activation,
};
use roadstead_listen::{Inherited, Listener, Tls};
use roadstead_metadata::{Decision, Local, Metadata};
use roadstead_registry::health::Health;
use roadstead_registry::http::Telling;
use roadstead_registry::{Purging, Registry, http};
use roadstead_serve::{self as http_server, Drained};
use roadstead_storage::claim::Claim;
use roadstead_storage::{Driver, Meter, Metered};
use roadstead_telemetry::access::AccessLog;
use roadstead_telemetry::log::Log;
use roadstead_telemetry::metrics::Metrics;
use roadstead_telemetry::startup;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::debug::{self, Subject, TellPlace};
use crate::log::{LAST_LINES_WITHIN, Logging};
use crate::signals::{self, Signals};
use crate::wiring::cluster::{self, Node};
use crate::wiring::store::{self, Store};
use crate::wiring::{self, acme, entry};
use crate::{descriptors, log};

pub(crate) mod asked;
mod claimed;
mod collecting;

use claimed::Claimed;

/// Threads that may wait for the disk, where no driver says how many.
const DISK_THREADS: u32 = 100;

/// How often it is looked whether the certificate's files have changed.
pub(crate) const RELOAD_EVERY: Duration = Duration::from_secs(5);

const ACME: &str = "http.tls.letsencrypt";

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The one server of its store.
    Alone,
    /// One of several that share a store and a metadata service.
    Node,
}

pub(crate) fn run(path: Option<PathBuf>, role: Role) -> Result<ExitCode> {
    // Before there are threads: it changes the environment.
    let (pid, count) = socket_activation();
    let inherited = Inherited::take(pid, count)?;
    let (Loaded { config, warnings }, has_file) = wiring::load_and_tell(path)?;
    let process = Process {
        instance: Uuid::new_v4().to_string(),
        inherited,
        has_file,
        role,
    };
    let logging = log::start(&config.log, &config.log.hooks, &process.instance)?;
    let ended = run_logged(config, warnings, process, &logging);
    logging.finish(ended.as_ref().err());
    ended
}

fn run_logged(
    config: Config,
    warnings: Vec<Warning>,
    process: Process,
    logging: &Logging,
) -> Result<ExitCode> {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    descriptors::raise();
    let disk_threads = match config.storage.driver {
        DriverKind::Filesystem { max_threads, .. } => max_threads,
        DriverKind::InMemory | DriverKind::S3(_) | DriverKind::Unnamed => DISK_THREADS,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(usize::try_from(disk_threads)?)
        .build()?;
    runtime.block_on(serve(config, process, logging.lines.clone()))
}

/// What is known of this process before it serves.
struct Process {
    /// Tells it apart from all others, and from itself before a restart.
    instance: String,
    /// The socket that systemd opened for it.
    inherited: Option<Inherited>,
    /// Somebody wrote a configuration; without one, this is a laptop.
    has_file: bool,
    role: Role,
}

async fn serve(config: Config, process: Process, log: Log) -> Result<ExitCode> {
    let signals = signals::listen(log)?;
    let tls = entry::tls(&config.http)?;
    let told = Told::build(&config)?;
    let drain = signals.drain.clone();
    let role = process.role;
    let opening = Box::pin(async {
        match role {
            Role::Alone => store::open(&config, &process.instance).await,
            Role::Node => cluster::open(&config).await,
        }
    });
    let Some(store) = drain.run_until_cancelled(opening).await else {
        return Ok(ExitCode::SUCCESS);
    };
    let mut store = store?;
    let _lock = store.lock.take();
    let claim = store.claim.clone();
    let claim = claim.map(|claim| Claimed::keep(claim, signals.drain.clone()));
    let served = serve_from(store, &config, process, tls, &told, signals).await;
    // Also when it could not be served: who starts next need not wait.
    let code = match (claim, role) {
        (Some(claim), Role::Alone) => claim.release().await,
        (Some(claim), Role::Node) => claim.leave().await,
        (None, _) => ExitCode::SUCCESS,
    };
    told.finish().await;
    if served? == Drained::Whole {
        tracing::info!("stopped: nothing was cut off");
    }
    Ok(code)
}

async fn serve_from(
    store: Store,
    config: &Config,
    process: Process,
    tls: Option<Tls>,
    told: &Told,
    signals: Signals,
) -> Result<Drained> {
    let (drain, role) = (signals.drain.clone(), process.role);
    let driver = told.metered(config, store.driver);
    let lease = store.claim.as_ref().map(Claim::lease);
    let cache = wiring::cache::build(config, told.metrics.clone(), lease, role).await?;
    let shared = Arc::clone(&store.metadata);
    let metadata = told.decided(store.metadata);
    let registry = build(config, &driver, metadata, &cache).await?;
    let (deliveries, events) = wiring::notices::build(&config.notifications, store.events)?;
    let health = Health::default();
    let listeners = entry::listeners(&config.http, process.inherited).await?;
    let (registry, mut member) = Joined::from(store.node, registry, config, &listeners).await?;
    let notices = wiring::notices_of(config, &process.instance, &listeners, events.clone());
    let telling = told.telling();
    let surface = wiring::surface(config, health.clone(), &registry, telling, notices.clone());
    let surface = surface.await?;
    announce(config, &listeners);
    if process.has_file {
        remark_on_what_is_shared(config);
    }
    remark_on_being_alone(config, role);
    keep_house(config, &registry, &told.metrics, &drain).await;
    keep_certificate(config, tls.as_ref(), &told.metrics, signals);
    let ordered = order_certificate(config, role, tls.as_ref(), shared, &told.metrics, &drain);
    let ordered = ordered.await?;
    let checks = wiring::checks::of(&config.health, driver);
    tokio::spawn(health.clone().watch(checks, drain.clone()));
    if let Some(address) = &config.http.debug {
        let subject = Subject {
            registry: Arc::clone(&registry),
            health,
            metrics: told.metrics.clone(),
            events,
            cache,
            place: member.as_mut().and_then(|member| member.place.take()),
        };
        debug::serve(address, subject, drain.clone()).await?;
    }
    let collecting =
        collecting::Tasks::start(config, &registry, &told.metrics, notices, &drain).await?;
    let delivered = CancellationToken::new();
    let deliveries = tokio::spawn(deliveries.run(delivered.clone()));
    let service = http::router(Arc::clone(&registry), surface);
    let options = server_options(config, &told.metrics);
    let drained = http_server::serve(listeners, tls, service, options, drain).await;
    collecting.end().await;
    if let Some(ordered) = ordered {
        ordered.leave().await;
    }
    if let Some(member) = member {
        member.leave().await;
    }
    finish(registry, store.own).await;
    delivered.cancel();
    if let Err(error) = deliveries.await {
        tracing::error!(%error, "notifications were not brought to an end");
    }
    Ok(drained)
}

fn remark_on_being_alone(config: &Config, role: Role) {
    if config.cluster.is_some() && role == Role::Alone {
        tracing::warn!("cluster: `serve` is on its own; `roadstead registry` is a node of it");
    }
}

/// What a registry does beside answering requests, until the drain.
async fn keep_house(
    config: &Config,
    registry: &Arc<Registry>,
    metrics: &Metrics,
    drain: &CancellationToken,
) {
    if matches!(config.storage.driver, DriverKind::Filesystem { .. })
        && let Some(directory) = registry.unserved().await
    {
        tracing::warn!(
            directory,
            "there are repositories by names that are not served; their images stay, and garbage-collect names them all"
        );
    }
    if !config.storage.read_only {
        if registry.lease().is_unlimited() {
            clean_up(registry).await;
        }
        keep_purging(registry, &config.storage.upload_purging, drain);
        let (resolving, until) = (Arc::clone(registry), drain.clone());
        tokio::spawn(async move { resolving.keep_resolving(until).await });
        let (counting, metrics, until) = (Arc::clone(registry), metrics.clone(), drain.clone());
        tokio::spawn(async move { counting.keep_counting(metrics, until).await });
    }
}

/// Metrics and the access log.
struct Told {
    metrics: Metrics,
    access_log: Option<AccessLog>,
}

impl Told {
    fn build(config: &Config) -> Result<Self> {
        let metrics = Metrics::new(
            env!("CARGO_PKG_VERSION"),
            roadstead_telemetry::system_clock()(),
        );
        let access_log = if config.log.access_log_disabled {
            None
        } else {
            let log = AccessLog::to_standard_output().context("log.accesslog")?;
            metrics.watch_access_log(&log);
            Some(log)
        };
        Ok(Self {
            metrics,
            access_log,
        })
    }

    fn telling(&self) -> Telling {
        Telling::new(self.metrics.clone(), self.access_log.clone())
    }

    /// The store, measured if anybody can see the figures.
    fn metered(&self, config: &Config, store: Arc<dyn Driver>) -> Arc<dyn Driver> {
        let is_seen = config
            .http
            .debug
            .as_ref()
            .is_some_and(|debug| debug.metrics_path.is_some());
        if !is_seen {
            return store;
        }
        let metrics = self.metrics.clone();
        let meter: Meter =
            Arc::new(move |driver, action, took| metrics.storage_action(driver, action, took));
        Arc::new(Metered::new(store, meter))
    }

    /// What decides about uploads, measured.
    fn decided(&self, metadata: Arc<dyn Metadata>) -> Arc<dyn Metadata> {
        let metrics = self.metrics.clone();
        let meter = move |decision: Decision| {
            metrics.proposed(decision.command, decision.outcome, decision.took);
            metrics.decided(decision.command, decision.sessions);
        };
        Arc::new(roadstead_metadata::Metered::new(metadata, Arc::new(meter)))
    }

    async fn finish(self) {
        if let Some(log) = self.access_log {
            let _written = tokio::task::spawn_blocking(move || log.finish(LAST_LINES_WITHIN)).await;
        }
    }
}

async fn build(
    config: &Config,
    store: &Arc<dyn Driver>,
    metadata: Arc<dyn Metadata>,
    cache: &Cache,
) -> Result<Registry> {
    let options = wiring::registry_options(config)?;
    let registry = Registry::build(Arc::clone(store), metadata, options).await?;
    Ok(registry.with_cache(cache.clone()))
}

/// A membership that is kept.
struct Joined {
    ended: CancellationToken,
    keeping: JoinHandle<()>,
    /// To be told at the debug address.
    place: Option<TellPlace>,
}

impl Joined {
    /// The registry as a node of its cluster, if it is to be one.
    async fn from(
        node: Option<Node>,
        registry: Registry,
        config: &Config,
        listeners: &[Listener],
    ) -> Result<(Arc<Registry>, Option<Self>)> {
        let Some(node) = node else {
            return Ok((Arc::new(registry), None));
        };
        let member = node.join(&registry, config, listeners).await?;
        let place = Some(node.place(member.lease()));
        let registry = registry.with_lease(member.lease());
        let ended = CancellationToken::new();
        let keeping = tokio::spawn(member.keep(ended.clone()));
        let joined = Self {
            ended,
            keeping,
            place,
        };
        Ok((Arc::new(registry), Some(joined)))
    }

    /// When nothing is served any more.
    async fn leave(self) {
        self.ended.cancel();
        if let Err(error) = self.keeping.await {
            tracing::error!(%error, "the cluster was not left");
        }
    }
}

/// What the reference says of the settings that several registries have to share.
fn remark_on_what_is_shared(config: &Config) {
    if config.http.secret.is_none() {
        startup::secret_made_up();
    }
    if config.redis.is_none() {
        startup::no_redis();
    }
}

/// Where it listens, where it stores, and who may do what.
fn announce(config: &Config, listeners: &[Listener]) {
    for listener in listeners {
        startup::listening(listener, config.http.tls.is_some());
    }
    tracing::info!("storing in {}", place(&config.storage));
    let may = match (config.storage.read_only, config.storage.delete_enabled) {
        (true, _) => "pull",
        (false, false) => "push and pull",
        (false, true) => "push, pull and delete",
    };
    let missing = match (&config.http.tls, &config.auth) {
        (None, Auth::None) => "no TLS and no authentication",
        (Some(_), Auth::None) => "no authentication",
        _ => return,
    };
    tracing::warn!("unprotected: {missing}, whoever reaches these addresses may {may}");
}

/// The certificate is read again when its files change, and on SIGHUP.
fn keep_certificate(config: &Config, tls: Option<&Tls>, metrics: &Metrics, signals: Signals) {
    if let (Some(tls), Some(settings)) = (tls, &config.http.tls)
        && let Identity::Files(files) = &settings.identity
        && let Some(not_after) = tls.not_after()
    {
        let name = files.certificate.display().to_string();
        metrics.certificate_expires(&name, not_after);
    }
    keep_tls(tls, signals);
}

/// The certificate is ordered by ACME, where that is configured.
async fn order_certificate(
    config: &Config,
    role: Role,
    tls: Option<&Tls>,
    metadata: Arc<dyn Metadata>,
    metrics: &Metrics,
    drain: &CancellationToken,
) -> Result<Option<acme::Kept>> {
    let (Some(ordered), Some(tls)) = (acme::of(config.http.tls.as_ref()), tls) else {
        return Ok(None);
    };
    let home = match (role, &config.cluster) {
        (Role::Node, Some(cluster)) => acme::in_cluster(ACME, ordered, cluster, metadata)?,
        _ => acme::alone(ACME, ordered)?,
    };
    let kept = acme::keep(ACME, ordered, home, tls, metrics.clone(), drain).await?;
    Ok(Some(kept))
}

/// Certificates are read again when their files change, and on SIGHUP.
pub(crate) fn keep_tls(tls: Option<&Tls>, signals: Signals) {
    let Signals { drain, mut hangup } = signals;
    let Some(tls) = tls else {
        tokio::spawn(async move {
            while let Some(Some(())) = drain.run_until_cancelled(hangup.recv()).await {
                tracing::info!("SIGHUP: there is no certificate to read again");
            }
        });
        return;
    };
    let (watched, until) = (tls.clone(), drain.clone());
    tokio::spawn(async move { until.run_until_cancelled(watched.watch(RELOAD_EVERY)).await });
    let tls = tls.clone();
    tokio::spawn(async move {
        while let Some(Some(())) = drain.run_until_cancelled(hangup.recv()).await {
            if tls.reload_now().await.is_ok() {
                tracing::info!("the certificate was read again");
            }
        }
    });
}

/// For people.
pub(crate) fn place(storage: &Storage) -> String {
    match &storage.driver {
        DriverKind::InMemory => "memory, until the process ends".to_owned(),
        DriverKind::S3(s3) => format!("the bucket {}, under /{}", s3.bucket, s3.root),
        DriverKind::Filesystem { root, .. } => absolute(root).display().to_string(),
        DriverKind::Unnamed => "no place".to_owned(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_no_working_directory| path.to_owned())
}

/// Only this process has the store: what others left half done is nobody's.
async fn clean_up(registry: &Registry) {
    match registry.reclaim_all().await {
        Ok(reclaimed) => tracing::debug!(?reclaimed, "cleaned up after earlier runs"),
        Err(error) => tracing::warn!(%error, "what earlier runs left cannot be cleaned up"),
    }
}

fn keep_purging(registry: &Arc<Registry>, purging: &UploadPurging, drain: &CancellationToken) {
    if !purging.enabled {
        return;
    }
    let purging = Purging {
        age: purging.age,
        interval: purging.interval,
    };
    let first = purging.first(fastrand::f64());
    startup::upload_purge_in(first);
    let (registry, drain) = (Arc::clone(registry), drain.clone());
    tokio::spawn(async move { registry.keep_purging(purging, first, drain).await });
}

fn server_options(config: &Config, metrics: &Metrics) -> http_server::Options {
    http_server::Options {
        stalled_after: config.limits.body_idle,
        lame_duck: Duration::ZERO,
        drain_within: config.http.drain_timeout,
        http2: !config.http.http2_disabled,
        connections: descriptors::connections(),
        proxy_protocol: None,
        metrics: Some(metrics.clone()),
        workers: None,
    }
}

/// What goes on behind requests that were answered ends before the log is closed.
async fn finish(registry: Arc<Registry>, own: Option<Arc<Local>>) {
    registry.quiesce().await;
    drop(registry);
    if let Some(metadata) = own.and_then(Arc::into_inner) {
        let closed = tokio::task::spawn_blocking(move || metadata.close()).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the log of upload sessions was not closed");
        }
    }
}
