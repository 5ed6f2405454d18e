//! From `config.yml` and the `REGISTRY_*` variables to one typed [`Config`]: the only room that reads the environment.
//!
//! The way of a configuration: the text becomes a tree ([`node`]), the variables are laid over it ([`environment`]),
//! the tree is held against the table of all keys ([`schema`]), and each room takes what it needs ([`reader`]). All
//! mistakes are told at once, each with its key, its place and what to write instead.

mod access;
mod auth;
mod cluster;
mod environment;
mod gateway;
mod gc;
mod headers;
mod health;
mod http;
mod letsencrypt;
mod limits;
mod listen;
mod log;
mod middleware;
mod mistake;
mod node;
mod notifications;
mod object_stores;
mod place;
mod proxies;
mod proxy;
mod reader;
mod redis;
mod s3;
mod scalar;
mod schema;
mod secret;
mod storage;
mod suggest;
mod tls;
mod url;
mod validation;

use std::path::PathBuf;

pub use access::{Access, AccessAction, AccessRule};
pub use auth::{Auth, Jwks, Token};
pub use cluster::{Cluster, ClusterTls, MetadataMember, Proof};
pub use environment::{TraceCollector, from_process, socket_activation, trace_collector};
pub use gateway::{
    Certificate, Expect, Gateway, GatewayHealth, GatewayLimits, GatewayRetries, GatewayTimeouts,
    ProxyProtocol, ProxyVersion, Upstream, UpstreamTls,
};
pub use gc::Gc;
pub use health::{FileCheck, Health, HttpCheck, Rhythm, TcpCheck};
pub use http::{DebugServer, Http};
pub use letsencrypt::{Challenge, ExternalAccount, LetsEncrypt};
pub use limits::Limits;
pub use listen::{Listen, ListenAddr, NotAListenAddr};
pub use log::{Formatter, HookLevel, Log, LogLevel, MailHook};
pub use mistake::{Mistake, Mistakes, Origin, Warning};
pub use node::MAX_BYTES;
pub use notifications::{Endpoint, EventAction, Notifications};
pub use place::{CalledAs, Lies, TwoConfigurations, config_path};
pub use proxies::{Probe, Probes, Proxies};
pub use proxy::{Proxy, ProxyCredentials};
pub use redis::{
    Redis, RedisIdentity, RedisPatience, RedisPool, RedisReplicas, RedisServers, RedisTls,
};
pub use s3::{S3, S3Credentials, S3Encryption, S3LogLevel, S3Parts, S3Variants};
pub use secret::Secret;
pub use storage::{CacheKind, DriverKind, Storage, UploadPurging};
pub use tls::{CipherSuite, ClientAuth, ClientCertificates, Identity, Tls, TlsVersion};
pub use url::HttpUrl;
pub use validation::{ManifestUrls, Platform, Platforms, RepositoryClass, Validation};

use mistake::Findings;
use node::{Kind, Node};
use reader::Reader;

/// The one version of the format there is.
const VERSION: &str = "0.1";

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is logged.
    pub log: Log,
    /// Where content is kept.
    pub storage: Storage,
    /// Where the registry listens.
    pub http: Http,
    /// Who is let in.
    pub auth: Auth,
    /// Who may do what, beside `auth.htpasswd`. Default: whoever is let in may do everything.
    pub access: Option<Access>,
    /// Who is believed about where a request comes from.
    pub proxies: Proxies,
    /// What a failing health check does to answers.
    pub probes: Probes,
    /// What is looked at.
    pub health: Health,
    /// Who is told what happens.
    pub notifications: Notifications,
    /// Where a cache can be shared. Default: nowhere.
    pub redis: Option<Redis>,
    /// The registry that this one caches; refused yet. Default: none.
    pub proxy: Option<Proxy>,
    /// What may be pushed; has no effect yet. Default, and what empty means: everything.
    pub repository_classes: Vec<RepositoryClass>,
    /// Repositories that one page of the catalogue may hold: `catalog.maxentries`. Default: 1000.
    pub catalog_max_entries: u32,
    /// Tags that one page may hold: `tags.maxtags`. Default: 1000.
    pub tags_max: u32,
    /// What a manifest must fulfil.
    pub validation: Validation,
    /// How much a request may ask for.
    pub limits: Limits,
    /// What becomes of content that nothing needs.
    pub gc: Gc,
    /// What the processes of a cluster have in common. Default: there is no cluster.
    pub cluster: Option<Cluster>,
    /// This member of the metadata service. Default: it is none.
    pub metadata: Option<MetadataMember>,
    /// What stands in front of the nodes. Default: nothing is said of it.
    pub gateway: Option<Gateway>,
    /// Where a server that stores elsewhere than on its own disk keeps what must survive its restart: `metadata.dir`.
    /// Default: beside where it was started.
    pub metadata_dir: Option<PathBuf>,
}

/// A configuration that can be used, and what the operator should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// In the order of discovery.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// What is used without a file: the loopback address only, content in `root`, and deletion allowed, since there is
    /// one user.
    pub fn default_for(root: PathBuf) -> Self {
        Self {
            log: Log::default(),
            storage: Storage {
                delete_enabled: true,
                ..Storage::at(root)
            },
            http: Http {
                addr: Listen::Tcp(ListenAddr::loopback()),
                ..Http::default()
            },
            auth: Auth::default(),
            access: None,
            proxies: Proxies::default(),
            probes: Probes::default(),
            health: Health::default(),
            notifications: Notifications::default(),
            redis: None,
            proxy: None,
            repository_classes: Vec::new(),
            catalog_max_entries: limits::PAGE,
            tags_max: limits::PAGE,
            validation: Validation::default(),
            limits: Limits::default(),
            gc: Gc::default(),
            cluster: None,
            metadata: None,
            gateway: None,
            metadata_dir: None,
        }
    }

    /// Reads a file's text with the variables laid over it; variables other than `REGISTRY_*` are left alone.
    pub fn load(
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Mistakes> {
        Self::load_as(text, env, |_tree| {})
    }

    /// As [`load`](Self::load), for one who stores nothing: the file may leave storage out.
    pub fn load_for_gateway(
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Mistakes> {
        Self::load_as(text, env, store_nothing)
    }

    /// As whichever of the two a file is for: one that leaves storage out and has a gateway is for a gateway.
    pub fn load_to_check(
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Mistakes> {
        Self::load_as(text, env, |tree| {
            if tree.get("gateway").is_some() {
                store_nothing(tree);
            }
        })
    }

    fn load_as(
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
        complete: impl FnOnce(&mut Node),
    ) -> Result<Loaded, Mistakes> {
        let document = node::parse(text, &Origin::Line).map_err(|fault| {
            Mistake::new("configuration", Origin::Line(fault.line), fault.reason)
        })?;
        let mut findings = Findings::default();
        if let Some(line) = document.ignored_from {
            let text = "a second document starts here; only the first is read";
            findings.remark("configuration", &Origin::Line(line), text);
        }
        check_version(&document.root)?;
        let mut root = document.root;
        complete(&mut root);
        Self::from_tree(root, env, None, findings)
    }

    /// As [`Config::default_for`], with the variables laid over it.
    pub fn load_without_file(
        root: PathBuf,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Mistakes> {
        Self::from_tree(default_tree(), env, Some(root), Findings::default())
    }

    fn from_tree(
        tree: Node,
        env: impl IntoIterator<Item = (String, String)>,
        root: Option<PathBuf>,
        findings: Findings,
    ) -> Result<Loaded, Mistakes> {
        let (config, findings) = Self::with_findings(tree, env, root, findings);
        let Findings { mistakes, warnings } = findings;
        if mistakes.is_empty() {
            Ok(Loaded { config, warnings })
        } else {
            Err(Mistakes { mistakes, warnings })
        }
    }

    /// What can be read, whatever there is to find fault with: not to be used before that is looked at.
    fn with_findings(
        mut tree: Node,
        env: impl IntoIterator<Item = (String, String)>,
        root: Option<PathBuf>,
        mut findings: Findings,
    ) -> (Self, Findings) {
        schema::name_kinds(&mut tree);
        environment::apply(&mut tree, env, &mut findings);
        schema::check(&tree, &mut findings);
        let config = Self::read(&mut Reader::new(&tree, &mut findings), root);
        (config, findings)
    }

    fn read(reader: &mut Reader<'_>, root: Option<PathBuf>) -> Self {
        let log = Log::read(reader);
        let storage = Storage::read(reader, root);
        let http = Http::read(reader);
        let auth = Auth::read(reader);
        auth::remark_on_plain_passwords(reader, &auth, &http);
        let access = Access::read(reader, &auth);
        let redis = Redis::read(reader);
        if storage.cache == Some(CacheKind::Redis) && redis.is_none() {
            let reason = "redis needs redis.addrs; write them, or inmemory here";
            reader.mistake("storage.cache.blobdescriptor", reason);
        }
        if storage.cache != Some(CacheKind::Redis) && redis.is_some() {
            let text =
                "is not used: it is for storage.cache.blobdescriptor: redis, which is not set";
            reader.remark("redis", text);
        }
        middleware::look_at(reader, &storage.driver);
        let _schema1: Option<bool> = reader.read("compatibility.schema1.enabled", scalar::boolean);
        Self {
            log,
            storage,
            http,
            auth,
            access,
            proxies: Proxies::read(reader),
            probes: Probes::read(reader),
            health: Health::read(reader),
            notifications: Notifications::read(reader),
            redis,
            proxy: Proxy::read(reader),
            repository_classes: validation::repository_classes(reader),
            catalog_max_entries: limits::catalog_max_entries(reader),
            tags_max: limits::tags_max(reader),
            validation: Validation::read(reader),
            limits: Limits::read(reader),
            gc: Gc::read(reader),
            cluster: Cluster::read(reader),
            metadata: MetadataMember::read(reader),
            gateway: Gateway::read(reader),
            metadata_dir: reader.text("metadata.dir").map(PathBuf::from),
        }
    }
}

/// Gives a tree without storage one that keeps nothing.
fn store_nothing(tree: &mut Node) {
    if tree.get("storage").is_none()
        && let Kind::Map(entries) = &mut tree.kind
    {
        let storage = Node::scalar("inmemory", Origin::BuiltIn);
        entries.push(("storage".to_owned(), storage));
    }
}

/// In a version that is not known no key means anything, so nothing else is reported beside it.
fn check_version(root: &Node) -> Result<(), Mistake> {
    let node = root.get("version");
    let text = node.and_then(Node::text);
    if text == Some(VERSION) {
        return Ok(());
    }
    let origin = node.map_or(Origin::Line(1), |node| node.origin.clone());
    let reason = match text {
        Some(_) => format!("is an unsupported version; write {VERSION}"),
        None => format!("unsupported version: there is none; write version: {VERSION}"),
    };
    let mut mistake = Mistake::new("version", origin, reason);
    mistake.value = text.map(str::to_owned);
    Err(mistake)
}

/// [`Config::default_for`] as a file would have it, for variables to be laid over.
fn default_tree() -> Node {
    let built_in = |kind| Node {
        kind,
        origin: Origin::BuiltIn,
    };
    let map = |name: &str, value| built_in(Kind::Map(vec![(name.to_owned(), value)]));
    let text = |text: &str| Node::scalar(text, Origin::BuiltIn);
    let storage = vec![
        ("filesystem".to_owned(), Node::null(Origin::BuiltIn)),
        ("delete".to_owned(), map("enabled", text("true"))),
    ];
    let addr = ListenAddr::loopback().to_string();
    built_in(Kind::Map(vec![
        ("storage".to_owned(), built_in(Kind::Map(storage))),
        ("http".to_owned(), map("addr", text(&addr))),
    ]))
}

#[cfg(test)]
mod tests;
