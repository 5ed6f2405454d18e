//! What is remembered of content.

use std::borrow::Cow;

use roadstead_oci::{Digest, Name};

/// As what a repository holds content: the two have links of their own, and come and go apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Blob,
    Manifest,
}

/// Content in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub kind: Kind,
    pub name: Name,
    pub digest: Digest,
}

impl Key {
    pub fn blob(name: &Name, digest: &Digest) -> Self {
        Self::of(Kind::Blob, name, digest)
    }

    pub fn manifest(name: &Name, digest: &Digest) -> Self {
        Self::of(Kind::Manifest, name, digest)
    }

    fn of(kind: Kind, name: &Name, digest: &Digest) -> Self {
        Self {
            kind,
            name: name.clone(),
            digest: digest.clone(),
        }
    }

    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.name.as_str().len() + self.digest.hex().len()
    }
}

/// Size and type of content. Both follow from the digest, so that they hold for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Bytes.
    pub size: u64,
    pub media_type: Cow<'static, str>,
}

impl Descriptor {
    /// Of a blob, whose type nobody knows.
    pub fn of_blob(size: u64) -> Self {
        Self {
            size,
            media_type: Cow::Borrowed("application/octet-stream"),
        }
    }
}
