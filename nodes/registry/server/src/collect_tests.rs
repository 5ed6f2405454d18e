//! What a collection keeps, and what it takes.

use std::sync::Arc;

use bytes::Bytes;
use roadstead_metadata::{Home, Local, system_clock};
use roadstead_oci::{Algorithm, Name, Reference};
use roadstead_storage::{Memory, Put};

use super::*;
use crate::body::Body;
use crate::manifest_put::Push;
use crate::{Options, Registry};

struct Bench {
    store: Memory,
    registry: Registry,
    told: Vec<String>,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn tag(text: &str) -> Reference {
    Reference::Tag(text.parse().unwrap())
}

fn descriptor(media_type: &str, digest: &Digest) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1}}"#)
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

impl Bench {
    async fn new() -> Self {
        let store = Memory::new();
        let metadata = Arc::new(Local::open(Home::Memory, system_clock()).unwrap());
        let driver = Arc::new(store.clone());
        let registry = Registry::build(driver, metadata, Options::default());
        Self {
            store,
            registry: registry.await.unwrap(),
            told: Vec::new(),
        }
    }

    async fn blob(&self, to: &str, content: &str) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        let pieces = futures::stream::iter([Ok(Bytes::from(content.to_owned()))]);
        let body = Body::new(pieces, Duration::from_secs(1), false);
        let name = name(to);
        let pushed = self.registry.push_whole(&name, &digest, body).await;
        pushed.unwrap();
        digest
    }

    async fn manifest(&self, to: &str, reference: Option<&str>, json: String) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, json.as_bytes());
        let push = Push {
            name: &name(to),
            reference: &reference.map_or_else(|| Reference::Digest(digest.clone()), tag),
            tags: Vec::new(),
            content_type: None,
            bytes: json.into(),
        };
        self.registry.put_manifest(push).await.unwrap();
        digest
    }

    /// An image of these layers, each blob of the repository already.
    async fn image(
        &self,
        to: &str,
        tagged: Option<&str>,
        layers: &[&Digest],
        more: &str,
    ) -> Digest {
        let config = descriptor("a/config", &self.blob(to, "{}").await);
        let layers: Vec<String> = layers
            .iter()
            .map(|layer| descriptor("a/layer", layer))
            .collect();
        let layers = layers.join(",");
        let json = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]{more}}}"#);
        self.manifest(to, tagged, json).await
    }

    async fn collect(&mut self, options: CollectOptions) -> Collected {
        let told = &mut self.told;
        let mut tell = |line: String| told.push(line);
        collect(&self.store, options, &mut tell).await.unwrap()
    }

    async fn has(&self, digest: &Digest) -> bool {
        self.store.stat(&layout::blob_data(digest)).await.is_ok()
    }

    async fn serves(&self, from: &str, reference: Reference) -> bool {
        self.registry
            .manifest(&name(from), &reference)
            .await
            .is_ok()
    }
}

const ALL_MANIFESTS: CollectOptions = CollectOptions {
    dry_run: false,
    delete_untagged: false,
};
const TAGGED_ALONE: CollectOptions = CollectOptions {
    dry_run: false,
    delete_untagged: true,
};

#[tokio::test]
async fn what_no_manifest_names_goes_and_all_else_stays() {
    let mut bench = Bench::new().await;
    let (kept, shared) = (
        bench.blob("a", "kept").await,
        bench.blob("a", "shared").await,
    );
    bench.blob("b/c", "shared").await;
    let (orphan, elsewhere) = (
        bench.blob("a", "orphan").await,
        bench.blob("b/c", "kept").await,
    );
    let one = bench.image("a", Some("one"), &[&kept, &shared], "").await;
    let two = bench.image("b/c", None, &[&shared], "").await;
    let dry = CollectOptions {
        dry_run: true,
        ..ALL_MANIFESTS
    };
    let would = bench.collect(dry).await;
    assert!(bench.has(&orphan).await, "nothing goes");
    let collected = bench.collect(ALL_MANIFESTS).await;
    assert_eq!(would, collected);
    assert_eq!(
        (collected.marked, collected.blobs, collected.manifests),
        (5, 1, 0)
    );
    assert!(!bench.has(&orphan).await);
    for digest in [&kept, &shared, &one, &two] {
        assert!(bench.has(digest).await);
    }
    assert!(
        bench
            .told
            .contains(&format!("blob eligible for deletion: {orphan}"))
    );
    let link = format!("b/c: layer link eligible for deletion: {elsewhere}");
    assert!(
        bench.told.contains(&link),
        "a link to what no manifest here names"
    );
    let again = bench.collect(ALL_MANIFESTS).await;
    assert_eq!((again.blobs, again.layer_links), (0, 0));
}

#[tokio::test]
async fn untagged_manifests_go_unless_something_that_stays_leads_to_them() {
    let mut bench = Bench::new().await;
    let layers = [
        bench.blob("a", "1").await,
        bench.blob("a", "2").await,
        bench.blob("a", "3").await,
    ];
    let child = bench.image("a", None, &[&layers[0]], "").await;
    let inner = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        descriptor(IMAGE, &child)
    );
    let inner = bench.manifest("a", None, inner).await;
    let index = "application/vnd.oci.image.index.v1+json";
    let outer = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        descriptor(index, &inner)
    );
    let outer = bench.manifest("a", Some("multi"), outer).await;
    let refers = |to| format!(r#","subject":{}"#, descriptor(IMAGE, to));
    let signature = bench.image("a", None, &[&layers[1]], &refers(&child)).await;
    let untagged = bench.image("a", None, &[&layers[2]], "").await;
    let refers_to_untagged = bench.image("a", None, &[], &refers(&untagged)).await;
    let collected = bench.collect(TAGGED_ALONE).await;
    assert_eq!(collected.manifests, 2);
    for kept in [&child, &inner, &outer, &signature, &layers[0], &layers[1]] {
        assert!(bench.has(kept).await, "{kept}");
    }
    for gone in [&untagged, &refers_to_untagged, &layers[2]] {
        assert!(!bench.has(gone).await, "{gone}");
    }
    assert!(bench.serves("a", tag("multi")).await);
    assert!(!bench.serves("a", Reference::Digest(untagged)).await);
}

#[tokio::test]
async fn what_a_link_holds_stays_whatever_its_name() {
    let mut bench = Bench::new().await;
    let content = bench.blob("a", "content").await;
    let named = Digest::of(Algorithm::Sha512, b"content");
    let link = Put {
        path: layout::layer_link(&name("a"), &named),
        content: content.to_string().into(),
    };
    bench.store.put(vec![link]).await.unwrap();
    let layer = descriptor("a/layer", &named);
    let config = descriptor("a/config", &bench.blob("a", "{}").await);
    let json = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
    bench.manifest("a", Some("x"), json).await;
    bench.collect(ALL_MANIFESTS).await;
    assert!(bench.has(&content).await);
}
