//! From a configuration to the rooms' own options.

pub(crate) mod acme;
pub(crate) mod aside;
pub(crate) mod cache;
pub(crate) mod checks;
pub(crate) mod cluster;
pub(crate) mod entry;
mod file;
mod guard;
pub(crate) mod notices;
pub(crate) mod store;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use http::{HeaderName, HeaderValue};
use regex::Regex;
use roadstead_auth::Authenticator;
use roadstead_config::{
    CalledAs, Config, Lies, Loaded, Mistakes, Platforms as ConfigPlatforms, Probe, Proof,
    config_path, from_process,
};
use roadstead_events::{Events, Source};
use roadstead_listen::Listener;
use roadstead_registry::health::Health;
use roadstead_registry::http::{Notices, Surface, Telling};
use roadstead_registry::{Limits, ManifestRules, Options, Platforms, REDIRECT_FOR, Registry};
use roadstead_serve::Receipts;

/// Where images go when nothing says where.
const DEFAULT_ROOT: &str = "data";

/// Reads the configuration: the file named, else the one that the environment names, else, called as `registry`, the
/// one of an image, else none.
pub(crate) fn load(argument: Option<PathBuf>) -> Result<Loaded> {
    load_and_tell(argument).map(|(loaded, _)| loaded)
}

/// The same for a look at it, whomever it is for.
pub(crate) fn load_to_check(argument: Option<PathBuf>) -> Result<Loaded> {
    load_with(argument, Config::load_to_check).map(|(loaded, _)| loaded)
}

/// The same for a gateway, which stores nothing.
pub(crate) fn load_for_gateway(argument: Option<PathBuf>) -> Result<Loaded> {
    load_with(argument, Config::load_for_gateway).map(|(loaded, _)| loaded)
}

/// The same, and whether there is a file.
pub(crate) fn load_and_tell(argument: Option<PathBuf>) -> Result<(Loaded, bool)> {
    load_with(argument, Config::load)
}

fn load_with(
    argument: Option<PathBuf>,
    read: impl FnOnce(&str, Vec<(String, String)>) -> Result<Loaded, Mistakes>,
) -> Result<(Loaded, bool)> {
    let environment = from_process()?;
    let called = called_as();
    let path = config_path(argument, environment.iter().cloned(), called, look)?;
    let path = match (path, called) {
        (Some(path), _) => path,
        (None, CalledAs::Roadstead) => {
            let loaded = Config::load_without_file(DEFAULT_ROOT.into(), environment)?;
            return Ok((loaded, false));
        }
        (None, CalledAs::Registry) => bail!(
            "configuration path unspecified: name the file, as an argument or in REGISTRY_CONFIGURATION_PATH"
        ),
    };
    let text =
        file::read(&path).with_context(|| format!("the configuration {}", path.display()))?;
    let loaded = read(&text, environment)
        .with_context(|| format!("the configuration {}", path.display()))?;
    Ok((loaded, true))
}

/// What lies at `path`, if it is not the same as `shipped`.
fn look(path: &Path, shipped: &Path) -> Lies {
    match std::fs::read(path) {
        Ok(content) if std::fs::read(shipped).is_ok_and(|shipped| shipped == content) => {
            Lies::AsShipped
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Lies::Nothing,
        Ok(_) | Err(_) => Lies::Own,
    }
}

/// The name that this program was started by.
fn called_as() -> CalledAs {
    let program = std::env::args_os().next().unwrap_or_default();
    CalledAs::of(Path::new(&program))
}

/// This machine's name.
fn host() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

pub(crate) fn registry_options(config: &Config) -> Result<Options> {
    let Config {
        storage,
        http,
        validation,
        limits,
        ..
    } = config;
    let manifests = ManifestRules {
        disabled: validation.disabled,
        allow_urls: patterns(&validation.manifest_urls.allow)?,
        deny_urls: patterns(&validation.manifest_urls.deny)?,
        platforms: match &validation.indexes {
            ConfigPlatforms::All => Platforms::All,
            ConfigPlatforms::None => Platforms::None,
            ConfigPlatforms::List(listed) => Platforms::List(
                listed
                    .iter()
                    .map(|platform| (platform.architecture.clone(), platform.os.clone()))
                    .collect(),
            ),
        },
    };
    Ok(Options {
        delete_enabled: storage.delete_enabled,
        read_only: storage.read_only,
        redirects: (!storage.redirect_disabled).then_some(REDIRECT_FOR),
        host: http.host.clone(),
        prefix: http.prefix.clone(),
        relative_urls: http.relative_urls,
        trusted_proxies: config.proxies.trusted.clone(),
        secret: http
            .secret
            .as_ref()
            .map(|secret| secret.expose().as_bytes().to_vec()),
        catalog_max_entries: usize::try_from(config.catalog_max_entries)?,
        tags_max: usize::try_from(config.tags_max)?,
        manifests,
        limits: Limits {
            manifest_size: usize::try_from(limits.manifest_size)?,
            body_idle: limits.body_idle,
        },
    })
}

fn patterns(texts: &[String]) -> Result<Vec<Regex>> {
    texts
        .iter()
        .map(|text| {
            Regex::new(text).with_context(|| format!("validation.manifests.urls: {text:?}"))
        })
        .collect()
}

/// What the registry shows besides its images. Reads the files that `auth` names.
pub(crate) async fn surface(
    config: &Config,
    health: Health,
    registry: &Registry,
    telling: Telling,
    notices: Option<Notices>,
) -> Result<Surface> {
    let options = guard::options(&config.auth, config.access.as_ref(), registry.keys());
    let authenticator = Authenticator::build(options);
    Ok(Surface {
        authenticator: authenticator.await.context("auth")?,
        headers: headers(config)?,
        health,
        root_tells_health: config.probes.root == Probe::Health,
        refuses_when_unwell: config.probes.requests == Probe::Health,
        receipts: receipts(config),
        telling,
        notices,
    })
}

/// What gateways and nodes vouch to each other with: the cluster's secret, or else the one that uploads are signed with, if
/// it is configured for all of them.
pub(crate) fn receipts(config: &Config) -> Option<Receipts> {
    let proof = config.cluster.as_ref().and_then(|own| own.proof.as_ref());
    let secret = match proof {
        Some(Proof::Secret(secret)) => Some(secret),
        Some(Proof::Tls(_)) | None => config.http.secret.as_ref(),
    };
    secret.map(|secret| Receipts::of(secret.expose().as_bytes()))
}

/// Whom to tell of what happens, and who tells.
pub(crate) fn notices_of(
    config: &Config,
    instance: &str,
    listeners: &[Listener],
    events: Events,
) -> Option<Notices> {
    if config.notifications.endpoints.is_empty() {
        return None;
    }
    let port = listeners
        .iter()
        .find_map(|listener| Some(listener.local_addr()?.port()));
    let host = host();
    let addr = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    Some(Notices {
        events,
        source: Source {
            addr,
            instance_id: instance.to_owned(),
        },
        include_references: config.notifications.include_references,
    })
}

fn headers(config: &Config) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let pairs = config
        .http
        .headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    pairs
        .map(|(name, value)| Ok((name.parse()?, value.parse()?)))
        .collect::<Result<_>>()
        .context("http.headers")
}
