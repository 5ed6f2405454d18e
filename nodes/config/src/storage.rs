//! `storage`: where content is kept, and what may be done with it.

use std::path::PathBuf;
use std::time::Duration;

use crate::mistake::{Mistake, Origin};
use crate::node::Node;
use crate::reader::Reader;
use crate::s3::S3;
use crate::{object_stores, scalar, schema, suggest};

/// What stands under `storage` beside the driver.
const OPTIONS: &[&str] = &["cache", "delete", "maintenance", "redirect", "tag"];

/// Where the images of the reference keep their volume.
const DEFAULT_ROOT: &str = "/var/lib/registry";
/// The reference's: with less, a few slow disks stall every request.
const MIN_THREADS: u32 = 25;
/// The reference's.
const DEFAULT_THREADS: u32 = 100;

/// Settings under `storage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Where content is kept.
    pub driver: DriverKind,
    /// Manifests and blobs may be deleted over HTTP: `delete.enabled`. Default: false.
    pub delete_enabled: bool,
    /// Nothing may be written over HTTP: `maintenance.readonly.enabled`. Default: false.
    pub read_only: bool,
    /// Blobs are sent by this process even where the driver could redirect to its backend: `redirect.disable`.
    /// Default: false.
    pub redirect_disabled: bool,
    /// What becomes of uploads that nobody finished.
    pub upload_purging: UploadPurging,
    /// Tags of one repository looked up at a time: `tag.concurrencylimit`. 0, the default, means one for each
    /// processor.
    pub tag_concurrency: usize,
    /// Where descriptors of blobs are remembered. Default: nowhere.
    pub cache: Option<CacheKind>,
}

/// Settings under `storage.cache`: `blobdescriptor`, or `layerinfo` as it was once called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// In this process.
    InMemory {
        /// Descriptors that are kept: `blobdescriptorsize`. Default: 10000. `None`, which zero means: all.
        size: Option<u32>,
    },
    /// In Redis, which is then configured.
    Redis,
}

/// Where content is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// In a directory, laid out as the reference does it.
    Filesystem {
        /// The directory: `rootdirectory`. Default: `/var/lib/registry`.
        root: PathBuf,
        /// File operations at a time: `maxthreads`. Default: 100; less than 25 is taken for 25.
        max_threads: u32,
    },
    /// In memory: gone with the process.
    InMemory,
    /// In a bucket.
    S3(Box<S3>),
    /// Nowhere: a file with `cluster` or `metadata` need not say it, since members and operators store nothing. Who
    /// stores refuses it.
    Unnamed,
}

/// Settings under `storage.maintenance.uploadpurging`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadPurging {
    /// Purge at all. Default: true, since abandoned uploads fill disks.
    pub enabled: bool,
    /// How long ago an upload must have begun. Default: 168 h, a week for the slowest line.
    pub age: Duration,
    /// From one purge to the next. Default: 24 h.
    pub interval: Duration,
    /// Only log what would be purged. Default: false.
    pub dry_run: bool,
}

impl Default for UploadPurging {
    fn default() -> Self {
        Self {
            enabled: true,
            age: Duration::from_hours(168),
            interval: Duration::from_hours(24),
            dry_run: false,
        }
    }
}

impl Storage {
    /// Everything at its default, in this directory.
    pub fn at(root: PathBuf) -> Self {
        Self::with(DriverKind::Filesystem {
            root,
            max_threads: DEFAULT_THREADS,
        })
    }

    fn with(driver: DriverKind) -> Self {
        Self {
            driver,
            delete_enabled: false,
            read_only: false,
            redirect_disabled: false,
            upload_purging: UploadPurging::default(),
            tag_concurrency: 0,
            cache: None,
        }
    }

    /// `root` is the directory of a filesystem driver that names none.
    pub(crate) fn read(reader: &mut Reader<'_>, root: Option<PathBuf>) -> Self {
        let root = root.unwrap_or_else(|| PathBuf::from(DEFAULT_ROOT));
        let default = Self::with(driver(reader, root));
        Self {
            delete_enabled: reader
                .read("storage.delete.enabled", scalar::boolean)
                .unwrap_or(default.delete_enabled),
            read_only: reader
                .read("storage.maintenance.readonly.enabled", scalar::boolean)
                .unwrap_or(default.read_only),
            redirect_disabled: reader
                .read("storage.redirect.disable", scalar::loose_boolean)
                .unwrap_or(default.redirect_disabled),
            upload_purging: UploadPurging::read(reader),
            tag_concurrency: reader
                .read("storage.tag.concurrencylimit", scalar::count)
                .unwrap_or(default.tag_concurrency),
            cache: CacheKind::read(reader),
            driver: default.driver,
        }
    }
}

/// The one driver that is named. A mistake about it is noted, and then any driver will do.
fn driver(reader: &mut Reader<'_>, default_root: PathBuf) -> DriverKind {
    let is_of_cluster = ["cluster", "metadata"]
        .iter()
        .any(|key| reader.below(key).is_set());
    if is_of_cluster && !reader.below("storage").is_set() {
        return DriverKind::Unnamed;
    }
    let drivers = named_drivers(reader);
    if let [_, .., (last, place)] = drivers[..] {
        // REGISTRY_STORAGE_S3_BUCKET on top of an image's filesystem is how operators come here.
        let names: Vec<&str> = drivers.iter().map(|(name, _)| *name).collect();
        let reason = format!(
            "multiple storage drivers specified in configuration or environment: {} \
             (set REGISTRY_STORAGE={last} to replace the driver)",
            names.join(", ")
        );
        reader.note(Mistake::new("storage", place.clone(), reason));
    }
    for name in ["s3", "s3aws"] {
        if drivers.iter().any(|(named, _)| *named == name)
            && let Some(s3) = S3::read(&mut reader.below(&format!("storage.{name}")))
        {
            return DriverKind::S3(Box::new(s3));
        }
    }
    for (name, look_at) in [
        ("gcs", object_stores::look_at_gcs as fn(&mut Reader<'_>)),
        ("azure", object_stores::look_at_azure),
    ] {
        if drivers.iter().any(|(named, _)| *named == name) {
            look_at(&mut reader.below(&format!("storage.{name}")));
        }
    }
    if drivers.iter().any(|(name, _)| *name == "inmemory") {
        return DriverKind::InMemory;
    }
    DriverKind::Filesystem {
        root: reader
            .text("storage.filesystem.rootdirectory")
            .map_or(default_root, PathBuf::from),
        max_threads: reader
            .read("storage.filesystem.maxthreads", scalar::count)
            .unwrap_or(DEFAULT_THREADS)
            .max(MIN_THREADS),
    }
}

/// The drivers that are named, in order, each with its place. Names that no driver has are already reported.
fn named_drivers<'a>(reader: &mut Reader<'a>) -> Vec<(&'a str, &'a Origin)> {
    let storage = reader.node("storage");
    let entries = storage.map_or(&[][..], Node::entries);
    let named: Vec<_> = entries
        .iter()
        .filter(|(name, _)| !OPTIONS.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), &value.origin))
        .collect();
    if named.is_empty() {
        let place = storage.map_or(Origin::BuiltIn, |storage| storage.origin.clone());
        let reason = "no storage driver is configured; name one, for example storage: filesystem";
        reader.note(Mistake::new("storage", place, reason));
    }
    let known = |name: &str| schema::is_known(&format!("storage.{name}"));
    named.into_iter().filter(|(name, _)| known(name)).collect()
}

const CACHES: &[&str] = &["inmemory", "redis"];
/// The reference's.
const CACHE_SIZE: u32 = 10_000;

impl CacheKind {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let cache = &mut reader.below("storage.cache");
        let size = cache.read("blobdescriptorsize", scalar::count);
        let is_new = cache.below("blobdescriptor").is_set();
        let key = if is_new {
            "blobdescriptor"
        } else {
            "layerinfo"
        };
        match cache.text(key)?.as_str() {
            "inmemory" => Some(Self::InMemory {
                size: Some(size.unwrap_or(CACHE_SIZE)).filter(|size| *size > 0),
            }),
            "redis" => Some(Self::Redis),
            other => {
                // As the reference does: a registry without a cache is slower and right.
                let meant = suggest::nearest(other, CACHES.iter().copied());
                let meant =
                    meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
                cache.remark(key, format!("no such cache, so there is none{meant}"));
                None
            }
        }
    }
}

const PURGING: &str = "storage.maintenance.uploadpurging";

impl UploadPurging {
    fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            enabled: reader
                .read("storage.maintenance.uploadpurging.enabled", scalar::boolean)
                .unwrap_or(default.enabled),
            age: reader
                .read(
                    "storage.maintenance.uploadpurging.age",
                    scalar::positive_duration,
                )
                .unwrap_or(default.age),
            interval: reader
                .read(
                    "storage.maintenance.uploadpurging.interval",
                    scalar::positive_duration,
                )
                .unwrap_or(default.interval),
            dry_run: reader
                .read("storage.maintenance.uploadpurging.dryrun", scalar::boolean)
                .unwrap_or(default.dry_run),
        };
        if read.enabled {
            remark_on_gaps(reader);
        }
        read
    }
}

/// The reference refuses to start with half a map; the defaults are safe, so it is enough to say so.
fn remark_on_gaps(reader: &mut Reader<'_>) {
    let Some(map) = reader.node(PURGING).filter(|map| map.is_set()) else {
        return;
    };
    let absent: Vec<&str> = ["age", "interval", "dryrun"]
        .into_iter()
        .filter(|name| !map.get(name).is_some_and(Node::is_set))
        .collect();
    if !absent.is_empty() {
        let text = format!(
            "using the default of what is missing: {}",
            absent.join(", ")
        );
        reader.remark(PURGING, text);
    }
}

#[cfg(test)]
mod tests;
