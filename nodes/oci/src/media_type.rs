//! The media types of manifests, and what a `Content-Type` says without its parameters.

use std::fmt;

/// The kinds of manifest that are accepted and served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaType {
    OciManifest,
    OciIndex,
    DockerManifest,
    DockerList,
}

impl MediaType {
    pub const ALL: [Self; 4] = [
        Self::OciManifest,
        Self::OciIndex,
        Self::DockerManifest,
        Self::DockerList,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// The kind of manifest that a media type without parameters names.
    pub fn of_manifest(essence: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(essence))
    }

    pub const fn is_index(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }

    /// Layers that may lie elsewhere: a registry need not hold them.
    pub fn is_nondistributable(layer: &str) -> bool {
        layer.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
            || layer == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A media type without its parameters: `a/b; charset=utf-8` is `a/b` (RFC 9110, section 8.3.1).
pub fn essence(content_type: &str) -> &str {
    content_type
        .split_once(';')
        .map_or(content_type, |(essence, _)| essence)
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_dropped() {
        assert_eq!(
            essence("application/json; charset=utf-8"),
            "application/json"
        );
        assert_eq!(
            MediaType::of_manifest(essence(" application/vnd.oci.image.index.v1+json ;x=y")),
            Some(MediaType::OciIndex)
        );
        assert_eq!(MediaType::of_manifest("text/plain"), None);
    }
}
