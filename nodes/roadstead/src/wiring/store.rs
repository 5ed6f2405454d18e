//! `storage`: the driver, the log of upload sessions that goes with it, and what keeps other servers off both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use roadstead_config::{CalledAs, Config, DriverKind, S3 as Settings, S3Encryption};
use roadstead_metadata::{Home, Local, Metadata, system_clock};
use roadstead_s3::{Credentials, Encryption, Options, Parts, S3, Variants};
use roadstead_storage::claim::{Claim, ClaimError, Claimant, Held};
use roadstead_storage::{Driver, Filesystem, Memory};

use super::cluster::Node;
use lock::RootLock;

mod lock;

/// The log of upload sessions in the storage root, beside what the reference keeps there.
const IN_ROOT: &str = "roadstead/sessions.redb";

/// In a directory of its own.
const SESSIONS: &str = "sessions.redb";
const EVENTS: &str = "events.redb";
/// Says whose directory it is. Whoever holds the log beside it is that server.
const OWNER: &str = "owner";

/// What somebody is told who stores, with a file that says nowhere where.
pub(crate) const UNNAMED: &str = "storage: is missing from the configuration; this needs one: name a driver, for example storage: filesystem";

/// What a server stores in, all to itself.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) metadata: Arc<dyn Metadata>,
    /// The same, where it is in this process: to be closed at the end.
    pub(crate) own: Option<Arc<Local>>,
    /// One of several that share the store: it has to join them.
    pub(crate) node: Option<Node>,
    /// Where other servers cannot be kept out by a lock: to be kept while it serves, and released after that.
    pub(crate) claim: Option<Claim>,
    /// Where they can: to be held for as long.
    pub(crate) lock: Option<RootLock>,
    /// Where events wait; `None` where they cannot be kept.
    pub(crate) events: Option<PathBuf>,
}

/// Opens the storage, and the log of upload sessions that goes with it. Blocks.
pub(crate) async fn open(config: &Config, instance: &str) -> Result<Store> {
    let storage = &config.storage;
    match &storage.driver {
        DriverKind::InMemory => Ok(unkept(Arc::new(Memory::new()))?),
        DriverKind::Filesystem { root, .. } if storage.read_only => {
            Ok(unkept(Arc::new(Filesystem::open_read_only(root)?))?)
        }
        DriverKind::Filesystem { root, .. } => in_directory(root, instance).await,
        DriverKind::S3(settings) => in_bucket(config, settings, instance).await,
        DriverKind::Unnamed => bail!(UNNAMED),
    }
}

impl Store {
    fn own(driver: Arc<dyn Driver>, metadata: Local, events: Option<PathBuf>) -> Self {
        let own = Arc::new(metadata);
        let metadata: Arc<dyn Metadata> = Arc::<Local>::clone(&own);
        Self {
            driver,
            metadata,
            own: Some(own),
            node: None,
            claim: None,
            lock: None,
            events,
        }
    }
}

/// The storage by itself, with nobody kept off it: to ask those who have it.
pub(crate) async fn unclaimed(config: &Config) -> Result<Option<Arc<dyn Driver>>> {
    Ok(match &config.storage.driver {
        DriverKind::Filesystem { root, .. } => Some(Arc::new(Filesystem::open(root)?)),
        DriverKind::S3(settings) => Some(bucket(settings).await?),
        DriverKind::InMemory | DriverKind::Unnamed => None,
    })
}

/// A store that several nodes share.
pub(crate) struct Shared {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) lock: Option<RootLock>,
    /// Where events of this node wait.
    pub(crate) events: Option<PathBuf>,
}

pub(crate) async fn shared(config: &Config) -> Result<Shared> {
    let mut lock = None;
    let driver: Arc<dyn Driver> = match &config.storage.driver {
        DriverKind::InMemory => {
            bail!(
                "storage.inmemory: the nodes of a cluster share their storage; write filesystem or s3"
            )
        }
        DriverKind::Filesystem { root, .. } => {
            let driver = Filesystem::open(root)?;
            lock = Some(RootLock::shared(root)?);
            Arc::new(driver)
        }
        DriverKind::S3(settings) => bucket(settings).await?,
        DriverKind::Unnamed => bail!(UNNAMED),
    };
    let home = Directory::open(config.metadata_dir.as_deref())?;
    Ok(Shared {
        driver,
        lock,
        events: home.map(|home| home.path.join(EVENTS)),
    })
}

async fn bucket(settings: &Settings) -> Result<Arc<dyn Driver>> {
    let driver = S3::connect(&options(settings)).await?;
    driver.probe().await?;
    Ok(Arc::new(driver))
}

/// With a log that is gone with the process.
fn unkept(driver: Arc<dyn Driver>) -> Result<Store> {
    let metadata = Local::open(Home::Memory, system_clock())?;
    Ok(Store::own(driver, metadata, None))
}

async fn in_directory(root: &Path, instance: &str) -> Result<Store> {
    let driver: Arc<dyn Driver> = Arc::new(Filesystem::open(root)?);
    let lock = RootLock::alone(root)?;
    let metadata = match Local::open(Home::File(root.join(IN_ROOT)), system_clock()) {
        Ok(metadata) => metadata,
        Err(error) if error.is_in_use() => bail!(
            "storage.filesystem.rootdirectory: {} is in use by another roadstead; give each its own root",
            root.display()
        ),
        Err(error) => return Err(error.into()),
    };
    let claim = succeed_cluster(&driver, instance).await;
    let claim =
        claim.with_context(|| format!("storage.filesystem.rootdirectory: {}", root.display()))?;
    let driver = match &claim {
        Some(claim) => Arc::new(Held::new(driver, claim.lease())),
        None => driver,
    };
    let events = root.join("roadstead").join(EVENTS);
    Ok(Store {
        claim,
        lock: Some(lock),
        ..Store::own(driver, metadata, Some(events))
    })
}

/// Nodes of a cluster may be where the lock is not seen, but they renew a claim. It is waited out, and then taken: a node
/// that was only paused finds that the root is another's, and ends.
async fn succeed_cluster(
    driver: &Arc<dyn Driver>,
    instance: &str,
) -> Result<Option<Claim>, ClaimError> {
    if !Claim::is_made(&**driver).await? {
        return Ok(None);
    }
    let claimant = Claimant {
        owner: None,
        instance: instance.to_owned(),
        host: super::host(),
    };
    Claim::take(Arc::clone(driver), claimant).await.map(Some)
}

async fn in_bucket(config: &Config, settings: &Settings, instance: &str) -> Result<Store> {
    let driver = bucket(settings).await?;
    if config.storage.read_only {
        return unkept(driver);
    }
    let home = Directory::open(config.metadata_dir.as_deref())?;
    let claimant = Claimant {
        owner: home.as_ref().map(|home| home.owner.clone()),
        instance: instance.to_owned(),
        host: super::host(),
    };
    let claim = Claim::take(Arc::clone(&driver), claimant).await;
    let claim = claim.map_err(|error| refused(settings, error))?;
    let driver: Arc<dyn Driver> = Arc::new(Held::new(driver, claim.lease()));
    let store = match home {
        None => unkept(driver)?,
        Some(home) => Store::own(driver, home.metadata, Some(home.path.join(EVENTS))),
    };
    Ok(Store {
        claim: Some(claim),
        ..store
    })
}

fn refused(settings: &Settings, error: ClaimError) -> anyhow::Error {
    let S3Place { bucket, root } = S3Place::of(settings);
    match error {
        ClaimError::InUse { .. } => anyhow::anyhow!(
            "storage.s3.rootdirectory: {root:?} of the bucket {bucket} {error}; give each its own rootdirectory or bucket"
        ),
        ClaimError::Strange { .. } => {
            anyhow::anyhow!("storage.s3.rootdirectory: {root:?} of the bucket {bucket}: {error}")
        }
        ClaimError::Store(error) if error.is_write_refused() => anyhow::anyhow!(
            "storage.s3.bucket: the bucket {bucket} may not be written to with these credentials ({error}); \
             for pulls alone write storage.maintenance.readonly.enabled: true"
        ),
        ClaimError::Store(error) => anyhow::anyhow!("storage.s3.bucket: {bucket}: {error}"),
    }
}

/// How messages name a place in a bucket.
struct S3Place<'a> {
    bucket: &'a str,
    root: &'a str,
}

impl<'a> S3Place<'a> {
    fn of(settings: &'a Settings) -> Self {
        let root = match settings.root.as_str() {
            "" => "/",
            root => root,
        };
        Self {
            bucket: &settings.bucket,
            root,
        }
    }
}

/// Where a server keeps what must survive its restart, when it stores elsewhere. Locked by the log that lies in it.
struct Directory {
    path: PathBuf,
    metadata: Local,
    owner: String,
}

impl Directory {
    /// `None` where nothing can be kept, and nobody asked for it by name.
    fn open(named: Option<&Path>) -> Result<Option<Self>> {
        let path = named.map_or_else(unnamed, Path::to_owned);
        let opened = Self::open_at(path.clone());
        match (opened, named) {
            (Ok(directory), _) => Ok(Some(directory)),
            (Err(Unopened::InUse), _) => bail!(
                "metadata.dir: {} is in use by another roadstead; give each its own directory",
                path.display()
            ),
            (Err(Unopened::Failed(error)), Some(_)) => {
                Err(error).with_context(|| format!("metadata.dir: {}", path.display()))
            }
            (Err(Unopened::Failed(error)), None) => {
                tracing::warn!(
                    "uploads in progress will not survive a restart: {} cannot be used ({error:#}); name a directory in \
                     metadata.dir",
                    path.display()
                );
                Ok(None)
            }
        }
    }

    fn open_at(path: PathBuf) -> Result<Self, Unopened> {
        std::fs::create_dir_all(&path)?;
        let metadata = match Local::open(Home::File(path.join(SESSIONS)), system_clock()) {
            Err(error) if error.is_in_use() => return Err(Unopened::InUse),
            opened => opened.map_err(anyhow::Error::from)?,
        };
        let owner = owner(&path.join(OWNER))?;
        Ok(Self {
            path,
            metadata,
            owner,
        })
    }
}

enum Unopened {
    InUse,
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Unopened {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The name in the file; a new one where there is none. The directory is locked.
fn owner(file: &Path) -> Result<String> {
    let known = match std::fs::read_to_string(file) {
        Ok(text) => text.trim().parse::<uuid::Uuid>().ok(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(known) = known {
        return Ok(known.to_string());
    }
    // One that a power cut tears or loses costs the next start a wait.
    let owner = uuid::Uuid::new_v4().to_string();
    std::fs::write(file, &owner)?;
    Ok(owner)
}

/// Under the volume of the reference's images, or where a laptop's images would lie.
fn unnamed() -> PathBuf {
    match super::called_as() {
        CalledAs::Roadstead => [super::DEFAULT_ROOT, "roadstead"].iter().collect(),
        CalledAs::Registry => PathBuf::from("/var/lib/registry/roadstead"),
    }
}

fn options(settings: &Settings) -> Options {
    let parts = &settings.parts;
    let default = Options::new(&settings.bucket);
    Options {
        region: settings.region.clone(),
        endpoint: settings.endpoint.clone(),
        force_path_style: settings.force_path_style,
        root: settings.root.clone(),
        credentials: settings.credentials.as_ref().map(|keys| Credentials {
            access_key: keys.access_key.expose().to_owned(),
            secret_key: keys.secret_key.expose().to_owned(),
            session_token: keys
                .session_token
                .as_ref()
                .map(|token| token.expose().to_owned()),
        }),
        skip_verify: settings.skip_verify,
        encryption: match &settings.encryption {
            S3Encryption::None => Encryption::None,
            S3Encryption::Aes256 => Encryption::Aes256,
            S3Encryption::Kms(key) => Encryption::Kms(key.clone()),
        },
        storage_class: settings.storage_class.clone(),
        object_acl: settings.object_acl.clone(),
        parts: Parts {
            chunk: parts.chunk,
            copy_chunk: parts.copy_chunk,
            copy_concurrency: usize::try_from(parts.copy_concurrency).unwrap_or(usize::MAX),
            copy_threshold: parts.copy_threshold,
        },
        variants: Variants {
            dual_stack: settings.variants.dual_stack,
            accelerate: settings.variants.accelerate,
            fips: settings.variants.fips,
        },
        redirect_endpoint: settings.redirect_endpoint.clone(),
        user_agent: settings
            .user_agent
            .clone()
            .unwrap_or_else(|| default.user_agent.clone()),
        ..default
    }
}
