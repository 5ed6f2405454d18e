//! Manifests: what one is, what it names, and how it looks as somebody's referrer
//! (OCI image specification, "Image Manifest" and "Image Index"; the docker schema 2 forms of the same).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, MediaType, essence};

/// A reference to content, with what a client wants to know before it fetches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// What an index says that a child runs on; only these two decide whether a child must be present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
}

/// What a manifest holds together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
    Index {
        manifests: Vec<Descriptor>,
    },
}

/// A manifest that was understood. Its bytes are kept by whoever read them: they are the truth, this is a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub media_type: MediaType,
    pub shape: Shape,
    pub subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// One thing that a manifest names, and as what it must be present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Child<'a> {
    Blob(&'a Descriptor),
    /// A layer that clients may fetch from elsewhere.
    Foreign(&'a Descriptor),
    Manifest(&'a Descriptor),
}

impl<'a> Child<'a> {
    fn of_layer(layer: &'a Descriptor) -> Self {
        if MediaType::is_nondistributable(essence(&layer.media_type)) {
            Self::Foreign(layer)
        } else {
            Self::Blob(layer)
        }
    }

    pub fn descriptor(&self) -> &'a Descriptor {
        match self {
            Self::Blob(descriptor) | Self::Foreign(descriptor) | Self::Manifest(descriptor) => {
                descriptor
            }
        }
    }

    /// Whether looking for one answers for the other as well: the same content, in the same part.
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Blob(one), Self::Blob(other)) => one.digest == other.digest,
            _ => self == other,
        }
    }
}

/// Why a body is not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("not a manifest: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("media type {0:?} is not a manifest's that this registry accepts")]
    UnsupportedMediaType(String),
    #[error("the Content-Type says {declared:?}, the manifest's mediaType says {embedded:?}")]
    MediaTypeMismatch { declared: String, embedded: String },
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    #[error("{0}")]
    Incoherent(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads a manifest. `declared` is the `Content-Type` it came with; without one the body decides.
    pub fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Self, ManifestError> {
        let document: Document = serde_json::from_slice(bytes)?;
        let media_type = document.media_type(
            declared
                .map(essence)
                .filter(|declared| !declared.is_empty()),
        )?;
        if document.schema_version != Some(2) {
            return Err(ManifestError::SchemaVersion);
        }
        let Document {
            artifact_type,
            config,
            layers,
            manifests,
            subject,
            annotations,
            ..
        } = document;
        let shape = if media_type.is_index() {
            if config.is_some() || layers.is_some() {
                // A document that reads as an image and as an index means two things (CVE-2021-41190).
                return Err(ManifestError::Incoherent(
                    "an index must have neither config nor layers",
                ));
            }
            Shape::Index {
                manifests: manifests
                    .ok_or(ManifestError::Incoherent("an index must have manifests"))?,
            }
        } else {
            if manifests.is_some() {
                return Err(ManifestError::Incoherent(
                    "an image manifest must not have manifests",
                ));
            }
            let config = config.ok_or(ManifestError::Incoherent(
                "an image manifest must have a config",
            ))?;
            Shape::Image {
                config,
                layers: layers.unwrap_or_default(),
            }
        };
        Ok(Self {
            media_type,
            shape,
            subject,
            artifact_type,
            annotations,
        })
    }

    /// The `Content-Type` to serve stored bytes with. Never fails: what was stored is served, also where a registry
    /// of another age or kind stored it.
    pub fn content_type(bytes: &[u8]) -> Cow<'static, str> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Sketch<'a> {
            #[serde(borrow)]
            media_type: Option<Cow<'a, str>>,
            schema_version: Option<u64>,
            #[serde(borrow)]
            manifests: Option<&'a serde_json::value::RawValue>,
        }
        let Ok(sketch) = serde_json::from_slice::<Sketch<'_>>(bytes) else {
            return "application/octet-stream".into();
        };
        match sketch.media_type {
            Some(stored)
                if !stored.is_empty() && stored.bytes().all(|b| (0x21..0x7f).contains(&b)) =>
            {
                MediaType::of_manifest(&stored)
                    .map_or_else(|| stored.into_owned().into(), |known| known.as_str().into())
            }
            _ if sketch.schema_version == Some(1) => {
                "application/vnd.docker.distribution.manifest.v1+prettyjws".into()
            }
            _ if sketch.manifests.is_some() => MediaType::OciIndex.as_str().into(),
            _ => MediaType::OciManifest.as_str().into(),
        }
    }

    /// All that the manifest names and that a puller will want, `subject` excepted: that may arrive later.
    pub fn children(&self) -> Vec<Child<'_>> {
        match &self.shape {
            Shape::Image { config, layers } => std::iter::once(Child::Blob(config))
                .chain(layers.iter().map(Child::of_layer))
                .collect(),
            Shape::Index { manifests } => manifests.iter().map(Child::Manifest).collect(),
        }
    }

    /// What kind of artifact this is: its own word, else an image's config (distribution specification,
    /// "Listing Referrers").
    pub fn artifact_type(&self) -> Option<&str> {
        let own = self.artifact_type.as_deref().filter(|own| !own.is_empty());
        match &self.shape {
            Shape::Image { config, .. } => own
                .or(Some(&config.media_type))
                .filter(|kind| !kind.is_empty()),
            Shape::Index { .. } => own,
        }
    }

    /// The descriptor that stands for this manifest in its subject's list of referrers.
    pub fn as_referrer(&self, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: self.media_type.to_string(),
            digest,
            size,
            urls: None,
            annotations: self.annotations.clone(),
            artifact_type: self.artifact_type().map(str::to_owned),
            platform: None,
        }
    }
}

impl Document {
    fn media_type(&self, declared: Option<&str>) -> Result<MediaType, ManifestError> {
        let embedded = self
            .media_type
            .as_deref()
            .filter(|embedded| !embedded.is_empty());
        if let (Some(declared), Some(embedded)) = (declared, embedded)
            && declared != embedded
        {
            return Err(ManifestError::MediaTypeMismatch {
                declared: declared.into(),
                embedded: embedded.into(),
            });
        }
        let known = |named: &str| {
            MediaType::of_manifest(named)
                .ok_or_else(|| ManifestError::UnsupportedMediaType(named.into()))
        };
        let structural = if self.manifests.is_some() {
            MediaType::OciIndex
        } else {
            MediaType::OciManifest
        };
        match (
            declared.map(known).transpose()?,
            embedded.map(known).transpose()?,
        ) {
            (Some(declared @ (MediaType::DockerManifest | MediaType::DockerList)), None) => {
                // Served later by what the body says, it would come back as another type.
                Err(ManifestError::MediaTypeMismatch {
                    declared: declared.to_string(),
                    embedded: String::new(),
                })
            }
            (Some(declared), None) if declared != structural => Err(ManifestError::Incoherent(
                "the manifest's fields are not those of its media type",
            )),
            (declared, embedded) => Ok(embedded.or(declared).unwrap_or(structural)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{BLOB}","size":0}}"#)
    }

    fn image(extra: &str) -> String {
        let (config, layer) = (
            descriptor("application/vnd.x.config"),
            descriptor("application/vnd.oci.image.layer.v1.tar"),
        );
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]{extra}}}"#)
    }

    #[test]
    fn an_image_without_a_media_type_is_an_oci_image() {
        let manifest = Manifest::parse(image("").as_bytes(), None).unwrap();
        assert_eq!(manifest.media_type, MediaType::OciManifest);
        assert_eq!(manifest.children().len(), 2);
        assert_eq!(manifest.artifact_type(), Some("application/vnd.x.config"));
        assert_eq!(
            Manifest::content_type(image("").as_bytes()),
            MediaType::OciManifest.as_str()
        );
    }

    #[test]
    fn the_content_type_and_the_body_must_agree() {
        let body = image(r#","mediaType":"application/vnd.oci.image.manifest.v1+json""#);
        assert!(
            Manifest::parse(
                body.as_bytes(),
                Some("application/vnd.oci.image.manifest.v1+json; charset=x")
            )
            .is_ok()
        );
        let wrong = Manifest::parse(body.as_bytes(), Some(MediaType::DockerManifest.as_str()));
        assert!(matches!(
            wrong,
            Err(ManifestError::MediaTypeMismatch { .. })
        ));
        let docker = Manifest::parse(
            image("").as_bytes(),
            Some(MediaType::DockerManifest.as_str()),
        );
        assert!(matches!(
            docker,
            Err(ManifestError::MediaTypeMismatch { .. })
        ));
    }

    #[test]
    fn what_reads_as_an_image_and_an_index_is_refused() {
        let both = image(&format!(r#","manifests":[{}]"#, descriptor("x")));
        assert!(Manifest::parse(both.as_bytes(), None).is_err());
        assert!(Manifest::parse(both.as_bytes(), Some(MediaType::OciManifest.as_str())).is_err());
    }

    #[test]
    fn absent_and_null_lists_are_empty() {
        let config = descriptor("c");
        for layers in ["", r#","layers":null"#, r#","layers":[]"#] {
            let body = format!(r#"{{"schemaVersion":2,"config":{config}{layers}}}"#);
            assert_eq!(
                Manifest::parse(body.as_bytes(), None)
                    .unwrap()
                    .children()
                    .len(),
                1
            );
        }
    }

    #[test]
    fn nonsense_is_an_error_and_no_more() {
        let deep = "[".repeat(100_000);
        for body in [
            "",
            "{",
            "null",
            "[]",
            "1",
            r#"{"schemaVersion":1}"#,
            r#"{"schemaVersion":"2"}"#,
            deep.as_str(),
        ] {
            assert!(Manifest::parse(body.as_bytes(), None).is_err());
            let _served_anyhow = Manifest::content_type(body.as_bytes());
        }
        let crlf = r#"{"mediaType":"a\r\nb: c","schemaVersion":2}"#;
        assert_eq!(
            Manifest::content_type(crlf.as_bytes()),
            MediaType::OciManifest.as_str()
        );
    }

    #[test]
    fn foreign_layers_are_told_apart() {
        let foreign = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
        let body = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{foreign}]}}"#,
            descriptor("c")
        );
        let manifest = Manifest::parse(body.as_bytes(), None).unwrap();
        assert!(matches!(manifest.children()[1], Child::Foreign(_)));
    }
}
