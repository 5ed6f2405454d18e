//! What a mark costs in a store of any size: requests and memory, counted against a store that is made up as it is read.
//! `ROADSTEAD_MARK_BLOBS=10000000` makes it that large.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use roadstead_storage::{
    Attempt, Entry, Error as StoreError, Leaf, LeafFile, Opened, Publication, Read, Stage, Staged,
    Stat,
};

use super::*;

type Result<T> = std::result::Result<T, StoreError>;

const MANIFESTS: u64 = 100;
/// Of each manifest, which no other names.
const LAYERS: u64 = 10;
/// With the manifest itself.
const OBJECTS: u64 = LAYERS + 1;
const SHARDS: u64 = 256;

/// What a listing of a bucket answers at a time.
const PAGE: u64 = 1000;

/// So many repositories of a hundred images, all tagged. Each has a blob that nothing names.
#[derive(Debug)]
struct Vast {
    repositories: u64,
    listings: AtomicU64,
    reads: AtomicU64,
}

fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Objects are numbered; the number stands at the end.
fn hex(n: u64) -> String {
    let (shard, mixed) = (n % SHARDS, mixed(n + 1));
    format!("{shard:02x}{mixed:016x}{mixed:016x}{:014x}{n:016x}", 0)
}

fn number(hex: &str) -> u64 {
    let (_, number) = hex.split_at(48);
    u64::from_str_radix(number, 16).unwrap()
}

fn directory(name: impl Into<String>) -> Entry {
    let name = name.into();
    Entry {
        name,
        is_directory: true,
    }
}

impl Vast {
    fn manifests(&self) -> u64 {
        self.repositories * MANIFESTS
    }

    /// Named by nothing.
    fn orphan(&self, repository: u64) -> u64 {
        self.manifests() * OBJECTS + repository
    }

    fn objects(&self) -> u64 {
        self.orphan(self.repositories)
    }

    fn counted(&self, names: usize) {
        let pages = (names as u64).div_ceil(PAGE).max(1);
        self.listings.fetch_add(pages, Ordering::Relaxed);
    }

    fn manifest(digest: &str) -> Bytes {
        let at = number(digest);
        let named = |at: u64| format!(r#"{{"digest":"sha256:{}","size":1}}"#, hex(at));
        let layers: Vec<String> = (at + 2..=at + LAYERS).map(named).collect();
        let (config, layers) = (named(at + 1), layers.join(","));
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#).into()
    }

    fn manifests_of(repository: u64) -> Range<u64> {
        repository * MANIFESTS..(repository + 1) * MANIFESTS
    }

    /// Names and, of links, what they hold.
    fn names(&self, path: &[&str]) -> Vec<(String, Option<String>)> {
        let own = |at: u64| (hex(at), Some(format!("sha256:{}", hex(at))));
        let repository = |name: &&str| name.trim_start_matches('r').parse().unwrap();
        match path {
            ["repositories", name, "_manifests", "revisions", "sha256"] => {
                let manifests = Self::manifests_of(repository(name));
                manifests.map(|m| own(m * OBJECTS)).collect()
            }
            ["repositories", name, "_manifests", "tags"] => {
                let manifests = Self::manifests_of(repository(name));
                let tag = |m: u64| (format!("t{m}"), own(m * OBJECTS).1);
                manifests.map(tag).collect()
            }
            ["repositories", name, "_layers", "sha256"] => {
                let manifests = Self::manifests_of(repository(name));
                let layers = manifests.flat_map(|m| m * OBJECTS + 1..(m + 1) * OBJECTS);
                let orphan = self.orphan(repository(name));
                layers.chain([orphan]).map(own).collect()
            }
            ["blobs", "sha256", shard] => {
                let first = u64::from_str_radix(shard, 16).unwrap();
                let all = (first..self.objects()).step_by(usize::try_from(SHARDS).unwrap());
                all.map(|at| (hex(at), None)).collect()
            }
            other => panic!("{other:?} is looked through"),
        }
    }
}

fn parts(path: &StorePath) -> Vec<&str> {
    path.as_str().split('/').skip(4).collect()
}

#[async_trait]
impl Driver for Vast {
    fn name(&self) -> &'static str {
        "vast"
    }
    async fn stat(&self, _path: &StorePath) -> Result<Stat> {
        panic!("nothing is looked at one by one")
    }
    async fn get(&self, path: &StorePath, _limit: usize) -> Result<Bytes> {
        panic!("{path} is read alone")
    }
    async fn get_each(&self, paths: &[StorePath], _limit: usize) -> Vec<Result<Bytes>> {
        self.reads.fetch_add(paths.len() as u64, Ordering::Relaxed);
        let manifest = |path: &StorePath| match parts(path).as_slice() {
            ["blobs", "sha256", _, digest, "data"] => Ok(Self::manifest(digest)),
            other => panic!("{other:?} is read"),
        };
        paths.iter().map(manifest).collect()
    }
    async fn list(
        &self,
        path: &StorePath,
        after: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<Entry>> {
        assert_eq!(after, None);
        let found: Vec<Entry> = match parts(path).as_slice() {
            ["repositories"] => {
                let names = (0..self.repositories).map(|n| directory(format!("r{n}")));
                names.collect()
            }
            ["repositories", _] => ["_layers", "_manifests"].map(directory).into(),
            ["repositories", _, "_manifests", "revisions"] | ["repositories", _, "_layers"] => {
                vec![directory("sha256")]
            }
            [] => ["blobs", "repositories"].map(directory).into(),
            ["blobs"] => vec![directory("sha256")],
            ["blobs", "sha256"] => (0..SHARDS).map(|n| directory(format!("{n:02x}"))).collect(),
            ["blobs", "sha512"] => return Err(StoreError::NotFound(path.clone())),
            other => panic!("{other:?} is listed"),
        };
        self.counted(found.len());
        Ok(found)
    }
    async fn leaves(&self, path: &StorePath, _file: &str, read: Read<'_>) -> Result<Vec<Leaf>> {
        let names = self.names(&parts(path));
        self.counted(names.len());
        let leaf = |(name, held): (String, Option<String>)| {
            let content = match (read, held) {
                (Read::Unless(_, guess), Some(held)) => {
                    // As a bucket tells by its entity tags.
                    let is_guessed = guess(&name).is_some_and(|guess| guess == held);
                    self.reads
                        .fetch_add(u64::from(!is_guessed), Ordering::Relaxed);
                    Some(held.into())
                }
                _ => None,
            };
            let file = LeafFile {
                size: 1,
                modified: Some(SystemTime::UNIX_EPOCH),
                content,
            };
            Leaf {
                name,
                is_directory: true,
                file: Some(file),
            }
        };
        Ok(names.into_iter().map(leaf).collect())
    }
    async fn open(&self, path: &StorePath) -> Result<Opened> {
        Err(StoreError::NotFound(path.clone()))
    }
    async fn put(&self, _writes: Vec<Put>) -> Result<()> {
        Err(StoreError::Fenced)
    }
    async fn put_new(&self, _write: Put) -> Result<bool> {
        Err(StoreError::Fenced)
    }
    async fn settle(&self, _paths: &[StorePath]) -> Result<()> {
        Err(StoreError::Fenced)
    }
    async fn remove(&self, _path: &StorePath) -> Result<()> {
        Err(StoreError::Fenced)
    }
    async fn remove_if(&self, _path: &StorePath, _content: &[u8]) -> Result<bool> {
        Err(StoreError::Fenced)
    }
    async fn stage(&self, _hint: &str) -> Result<Box<dyn Stage>> {
        Err(StoreError::Fenced)
    }
    async fn open_staged(&self, _place: &str) -> Result<Opened> {
        Err(StoreError::Damaged)
    }
    async fn publish(
        &self,
        _places: &[Staged],
        _target: &StorePath,
        _attempt: Attempt,
    ) -> Result<Publication> {
        Err(StoreError::Fenced)
    }
    async fn discard(&self, _places: &[String]) -> Result<()> {
        Err(StoreError::Fenced)
    }
    async fn staged(
        &self,
        _before: SystemTime,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<String>> {
        Err(StoreError::Fenced)
    }
    async fn sweep(&self, _before: SystemTime) -> Result<usize> {
        Err(StoreError::Fenced)
    }
}

/// Of the process, at its largest, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let digits = line.unwrap().split_ascii_whitespace().nth(1);
    digits.unwrap().parse().unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how large a store the test makes up"
)]
fn blobs() -> u64 {
    let asked = std::env::var("ROADSTEAD_MARK_BLOBS");
    asked.map_or(22_000, |asked| asked.parse().expect("a number of blobs"))
}

#[tokio::test]
async fn a_mark_costs_listings_and_later_ones_nothing_else() {
    let store = Vast {
        repositories: (blobs() / (MANIFESTS * OBJECTS)).max(1),
        listings: AtomicU64::new(0),
        reads: AtomicU64::new(0),
    };
    let mut marker = Marker::new();
    let before = memory();
    let most = 50;
    for run in 1..=3 {
        let policy = Policy {
            untagged: true,
            grace: Duration::from_secs(1),
            now: SystemTime::UNIX_EPOCH + Duration::from_hours(1),
            among: None,
            most,
        };
        let marked = marker.mark(&store, &policy).await.unwrap();
        let orphans = usize::try_from(store.repositories).unwrap();
        let linked = orphans.saturating_sub(most) as u64;
        assert_eq!(marked.named as u64, store.manifests() * OBJECTS + linked);
        assert_eq!(marked.unneeded.len(), 2 * orphans.min(most));
        assert_eq!(marked.has_more, orphans > most);
        let listings = store.listings.swap(0, Ordering::Relaxed);
        let reads = store.reads.swap(0, Ordering::Relaxed);
        // A repository, its manifests, tags and layers, the latter in pages; every blob, in pages.
        let each = 5 + (MANIFESTS * LAYERS + 1).div_ceil(PAGE);
        let shards = SHARDS * (store.objects() / SHARDS + 1).div_ceil(PAGE);
        let most_listings =
            store.repositories * each + shards + 2 * (store.repositories / PAGE) + 9;
        assert!(listings <= most_listings, "{listings} of {most_listings}");
        let most_reads = match run {
            // A manifest and its tag.
            1 => 2 * store.manifests(),
            _ => 0,
        };
        assert_eq!(reads, most_reads, "in run {run}");
        let (objects, grown) = (store.objects(), memory() - before);
        println!(
            "run {run}: {objects} blobs, {listings} listings, {reads} reads, at most {grown} KiB: {} bytes for each",
            grown * 1024 / objects
        );
    }
}
