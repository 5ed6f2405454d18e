//! Images made from a seed: the same bytes in every run, so that comparisons are exact, and no network.
//!
//! Layers are real archives with the `diff_ids` of their contents, so that an engine can unpack them. Manifests are
//! laid out over several lines and end in one, so that a registry which writes them anew is found out.

mod layer;
pub mod layout;

use roadstead_oci::{Algorithm, Digest};
use serde_json::{Value, json};

pub use layer::noise;

/// The types of all manifests, as clients list them in `Accept`.
pub const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Whose media types a document carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Oci,
    Docker,
}

impl Family {
    const fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    const fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    const fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    const fn layer(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }
}

/// Bytes with what they are: a manifest, a configuration, a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub media_type: String,
    pub digest: Digest,
    pub bytes: Vec<u8>,
}

impl Document {
    pub fn new(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(Algorithm::Sha256, &bytes),
            bytes,
        }
    }

    fn of_json(media_type: &str, value: &Value) -> Self {
        let text = serde_json::to_string_pretty(value).expect("JSON is written");
        Self::new(media_type, text + "\n")
    }

    /// What other manifests name it by.
    pub fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": self.digest.to_string(),
            "size": self.bytes.len(),
        })
    }
}

/// What a reference stands for, whole: a manifest, or an index with all below it.
#[derive(Debug, Clone)]
pub struct Content {
    /// Those that are referenced before those that reference them; the root is last.
    manifests: Vec<Document>,
    blobs: Vec<Document>,
    platform: Option<Value>,
}

impl Content {
    /// An index over images, or over indexes.
    pub fn index(family: Family, children: &[Self]) -> Self {
        let entries: Vec<Value> = children.iter().map(Self::entry).collect();
        let root = Document::of_json(
            family.index(),
            &json!({"schemaVersion": 2, "mediaType": family.index(), "manifests": entries}),
        );
        let mut whole = Self {
            manifests: Vec::new(),
            blobs: Vec::new(),
            platform: None,
        };
        for child in children {
            extend(&mut whole.manifests, &child.manifests);
            extend(&mut whole.blobs, &child.blobs);
        }
        extend(&mut whole.manifests, &[root]);
        whole
    }

    /// What an index says of it.
    fn entry(&self) -> Value {
        let mut entry = self.root().descriptor();
        if let Some(platform) = &self.platform {
            entry["platform"] = platform.clone();
        }
        entry
    }

    pub fn root(&self) -> &Document {
        self.root_and_children().0
    }

    /// The manifest that a tag names, and those below it in an order in which they can be pushed.
    pub fn root_and_children(&self) -> (&Document, &[Document]) {
        self.manifests.split_last().expect("a root manifest")
    }

    /// All manifests, the root last.
    pub fn manifests(&self) -> &[Document] {
        &self.manifests
    }

    /// Configurations and layers, each once.
    pub fn blobs(&self) -> &[Document] {
        &self.blobs
    }

    /// Manifests and blobs.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.manifests.iter().chain(&self.blobs)
    }

    /// The configuration of an image, whose digest is what engines call the image's id.
    ///
    /// # Panics
    /// When this is an index.
    pub fn config(&self) -> &Document {
        assert_eq!(self.manifests.len(), 1, "only an image has a configuration");
        self.blobs.first().expect("a configuration")
    }
}

/// Adds what is not there yet.
fn extend(documents: &mut Vec<Document>, more: &[Document]) {
    for document in more {
        if !documents
            .iter()
            .any(|known| known.digest == document.digest)
        {
            documents.push(document.clone());
        }
    }
}

/// An image to be made. Equal ones are made of equal bytes.
#[derive(Debug, Clone)]
pub struct Image {
    seed: u64,
    family: Family,
    layers: u64,
    layer_size: usize,
    architecture: String,
    annotations: serde_json::Map<String, Value>,
    artifact_type: Option<String>,
    subject: Option<Value>,
}

impl Image {
    /// Two layers of 64 KiB for linux/amd64, in OCI's types.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            family: Family::Oci,
            layers: 2,
            layer_size: 64 << 10,
            architecture: "amd64".to_owned(),
            annotations: serde_json::Map::new(),
            artifact_type: None,
            subject: None,
        }
    }

    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    #[must_use]
    pub fn layers(mut self, layers: u64) -> Self {
        self.layers = layers;
        self
    }

    /// Bytes in each layer before and, since they are noise, about after compression.
    #[must_use]
    pub fn layer_size(mut self, bytes: usize) -> Self {
        self.layer_size = bytes;
        self
    }

    /// As Go names it: `amd64`, `arm64`. The system is always linux.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// Makes it an artifact: a manifest with this type and OCI's empty configuration.
    #[must_use]
    pub fn artifact_type(mut self, artifact_type: &str) -> Self {
        self.artifact_type = Some(artifact_type.to_owned());
        self
    }

    /// Makes it a referrer of `subject`.
    #[must_use]
    pub fn subject(mut self, subject: &Document) -> Self {
        self.subject = Some(subject.descriptor());
        self
    }

    pub fn build(&self) -> Content {
        let layers: Vec<layer::Layer> = (0..self.layers).map(|n| self.layer(n)).collect();
        let diff_ids: Vec<String> = layers.iter().map(|l| l.diff_id.to_string()).collect();
        let layers: Vec<Document> = layers.into_iter().map(|l| l.document).collect();
        let config = self.config(&diff_ids);
        let manifest = self.manifest(&config, &layers);
        let mut blobs = vec![config];
        extend(&mut blobs, &layers);
        Content {
            manifests: vec![manifest],
            blobs,
            platform: Some(json!({"architecture": self.architecture, "os": "linux"})),
        }
    }

    /// Layers of the same seed and number are the same for every architecture, as base layers may be.
    fn layer(&self, number: u64) -> layer::Layer {
        let seed = self.seed.wrapping_mul(1_000).wrapping_add(number);
        layer::make(self.family.layer(), seed, number, self.layer_size)
    }

    fn config(&self, diff_ids: &[String]) -> Document {
        if self.artifact_type.is_some() {
            return Document::new("application/vnd.oci.empty.v1+json", "{}");
        }
        let history: Vec<Value> = (0..self.layers)
            .map(|n| json!({"created": EPOCH, "created_by": format!("layer {n}")}))
            .collect();
        Document::of_json(
            self.family.config(),
            &json!({
                "created": EPOCH,
                "architecture": self.architecture,
                "os": "linux",
                "config": {"Labels": {"seed": self.seed.to_string()}},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": history,
            }),
        )
    }

    fn manifest(&self, config: &Document, layers: &[Document]) -> Document {
        let layers: Vec<Value> = layers.iter().map(Document::descriptor).collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.family.manifest(),
            "config": config.descriptor(),
            "layers": layers,
        });
        if let Some(artifact_type) = &self.artifact_type {
            manifest["artifactType"] = artifact_type.as_str().into();
        }
        if let Some(subject) = &self.subject {
            manifest["subject"] = subject.clone();
        }
        if !self.annotations.is_empty() {
            manifest["annotations"] = self.annotations.clone().into();
        }
        Document::of_json(self.family.manifest(), &manifest)
    }
}

/// When everything here was made.
const EPOCH: &str = "2020-01-01T00:00:00Z";

#[cfg(test)]
#[path = "image/tests.rs"]
mod tests;
