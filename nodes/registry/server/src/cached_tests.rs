//! What is asked of the store when there is a cache, call by call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use roadstead_cache::{Cache, Descriptors, Options as CacheOptions, Watch};
use roadstead_metadata::{Home, Local, system_clock};
use roadstead_oci::{Algorithm, Digest, Name, Reference};
use roadstead_storage::{Driver, Memory, Metered, Opened, Put, layout};

use crate::error::Error;
use crate::link::link_to;
use crate::manifest_put::Push;
use crate::{Options, Registry};

struct Bench {
    registry: Registry,
    calls: Arc<AtomicUsize>,
    name: Name,
}

impl Bench {
    async fn new(options: CacheOptions) -> Self {
        let calls = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&calls);
        let meter = Arc::new(move |_driver, _action, _took| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let driver: Arc<dyn Driver> = Arc::new(Metered::new(Arc::new(Memory::new()), meter));
        let metadata = Arc::new(Local::open(Home::Memory, system_clock()).unwrap());
        let options_of_registry = Options {
            delete_enabled: true,
            ..Options::default()
        };
        let registry = Registry::build(driver, metadata, options_of_registry);
        let cache = Cache::build(options, Watch::default()).await;
        Self {
            registry: registry.await.unwrap().with_cache(cache),
            calls,
            name: "team/app".parse().unwrap(),
        }
    }

    async fn with_descriptors() -> Self {
        let descriptors = Some(Descriptors::default());
        Self::new(CacheOptions {
            descriptors,
            ..CacheOptions::default()
        })
        .await
    }

    /// What a call answers, and how often it asked the store.
    async fn asks<T>(&self, call: impl Future<Output = T>) -> (T, usize) {
        let before = self.calls.load(Ordering::Relaxed);
        let answer = call.await;
        (answer, self.calls.load(Ordering::Relaxed) - before)
    }

    /// As another registry would leave it.
    async fn store_blob(&self, content: &'static [u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, content);
        let data = Put {
            path: layout::blob_data(&digest),
            content: Bytes::from_static(content),
        };
        let link = link_to(layout::layer_link(&self.name, &digest), &digest);
        self.registry.store.put(vec![data, link]).await.unwrap();
        digest
    }

    async fn push_index(&self) -> (Digest, Bytes) {
        let bytes = Bytes::from_static(
            br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
        );
        let push = Push {
            name: &self.name,
            reference: &Reference::Tag("v1".parse().unwrap()),
            tags: Vec::new(),
            content_type: None,
            bytes: bytes.clone(),
        };
        let pushed = self.registry.put_manifest(push).await.unwrap();
        (pushed.digest, bytes)
    }

    /// What a HEAD tells.
    async fn size_of(&self, name: &Name, digest: &Digest) -> Result<u64, Error> {
        Ok(self.registry.blob(name, digest).await?.size)
    }

    async fn read(&self, digest: &Digest) -> Result<Opened, Error> {
        let found = self.registry.blob(&self.name, digest).await?;
        self.registry.open(&self.name, found).await
    }

    async fn manifest(&self, reference: &str) -> Result<Bytes, Error> {
        let reference = reference.parse().unwrap();
        let stored = self.registry.manifest(&self.name, &reference).await?;
        Ok(stored.content.clone())
    }
}

#[tokio::test]
async fn a_blob_that_is_known_is_told_of_without_the_store() {
    let bench = Bench::with_descriptors().await;
    let digest = bench.store_blob(b"a layer").await;
    let size = || bench.size_of(&bench.name, &digest);
    let (first, asked) = bench.asks(size()).await;
    assert_eq!((first.unwrap(), asked), (7, 2), "its link, and its data");
    let (again, asked) = bench.asks(size()).await;
    assert_eq!((again.unwrap(), asked), (7, 0));
    let (opened, asked) = bench.asks(bench.read(&digest)).await;
    assert_eq!((opened.unwrap().size, asked), (7, 1), "its data");
    let elsewhere: Name = "team/other".parse().unwrap();
    let unknown = bench.size_of(&elsewhere, &digest).await;
    assert!(matches!(unknown, Err(Error::BlobUnknown { .. })));
}

#[tokio::test]
async fn a_removed_blob_is_gone_at_once_and_comes_back_when_pushed() {
    let bench = Bench::with_descriptors().await;
    let digest = bench.store_blob(b"a layer").await;
    let size = || bench.size_of(&bench.name, &digest);
    assert_eq!(size().await.unwrap(), 7);
    bench
        .registry
        .remove_blob(&bench.name, &digest)
        .await
        .unwrap();
    assert!(matches!(size().await, Err(Error::BlobUnknown { .. })));
    bench.store_blob(b"a layer").await;
    assert_eq!(size().await.unwrap(), 7);
}

#[tokio::test]
async fn a_mounted_blob_is_known() {
    let bench = Bench::with_descriptors().await;
    let digest = bench.store_blob(b"a layer").await;
    bench.size_of(&bench.name, &digest).await.unwrap();
    let to: Name = "team/other".parse().unwrap();
    let mounted = bench.registry.mount(&to, &digest, Some(&bench.name)).await;
    assert!(mounted.unwrap());
    let (size, asked) = bench.asks(bench.size_of(&to, &digest)).await;
    assert_eq!((size.unwrap(), asked), (7, 0));
}

#[tokio::test]
async fn only_the_tag_of_a_manifest_is_asked_for() {
    let bench = Bench::with_descriptors().await;
    let (digest, bytes) = bench.push_index().await;
    let (by_tag, asked) = bench.asks(bench.manifest("v1")).await;
    assert_eq!((by_tag.unwrap(), asked), (bytes.clone(), 1));
    let by_digest = digest.to_string();
    let (by_digest, asked) = bench.asks(bench.manifest(&by_digest)).await;
    assert_eq!((by_digest.unwrap(), asked), (bytes, 0));
    bench
        .registry
        .remove_manifest(&bench.name, &digest)
        .await
        .unwrap();
    for reference in ["v1", &digest.to_string()] {
        let unknown = bench.manifest(reference).await;
        assert!(matches!(unknown, Err(Error::ManifestUnknown { .. })));
    }
}

/// Without configuration, and without trust: whether it is there is asked, its bytes are not.
#[tokio::test]
async fn without_trust_the_store_says_what_exists() {
    let descriptors = Some(Descriptors::default());
    let untrusted = CacheOptions {
        descriptors,
        trusted: false,
        ..CacheOptions::default()
    };
    for options in [CacheOptions::default(), untrusted] {
        let bench = Bench::new(options).await;
        let (digest, bytes) = bench.push_index().await;
        let text = digest.to_string();
        for (reference, expected) in [("v1", 2), (text.as_str(), 1)] {
            let (answer, asked) = bench.asks(bench.manifest(reference)).await;
            assert_eq!((answer.unwrap(), asked), (bytes.clone(), expected));
        }
        // Another process removes it.
        let link = layout::revision_link(&bench.name, &digest);
        bench.registry.store.remove(&link).await.unwrap();
        assert!(bench.manifest(&text).await.is_err());
        let blob = bench.store_blob(b"a layer").await;
        for _again in 0..2 {
            let (size, asked) = bench.asks(bench.size_of(&bench.name, &blob)).await;
            assert_eq!((size.unwrap(), asked), (7, 2));
        }
    }
}

/// Somebody's hand in the store: the first who reads finds out.
#[tokio::test]
async fn what_turns_out_to_be_gone_is_forgotten() {
    let bench = Bench::with_descriptors().await;
    let digest = bench.store_blob(b"a layer").await;
    let size = || bench.size_of(&bench.name, &digest);
    assert_eq!(size().await.unwrap(), 7);
    let data = layout::blob_data(&digest);
    bench.registry.store.remove(&data).await.unwrap();
    let read = bench.read(&digest).await;
    assert!(matches!(read, Err(Error::BlobUnknown { .. })));
    assert!(matches!(size().await, Err(Error::BlobUnknown { .. })));
}

/// What is torn on the disk is served as it is, as ever, and not kept.
#[tokio::test]
async fn bytes_that_are_not_the_digests_are_not_kept() {
    let bench = Bench::with_descriptors().await;
    let (digest, bytes) = bench.push_index().await;
    let other = Bench::with_descriptors().await;
    let torn = Put {
        path: layout::blob_data(&digest),
        content: bytes.slice(..bytes.len() / 2),
    };
    let link = link_to(layout::revision_link(&other.name, &digest), &digest);
    other.registry.store.put(vec![torn, link]).await.unwrap();
    let text = digest.to_string();
    assert_eq!(other.manifest(&text).await.unwrap().len(), bytes.len() / 2);
    other.push_index().await;
    assert_eq!(other.manifest(&text).await.unwrap(), bytes);
}
