//! The reference registry's storage layout, as paths.
//!
//! ```text
//! /docker/registry/v2/
//!     blobs/<algorithm>/<first two hex digits>/<hex>/data
//!     repositories/<name>/
//!         _layers/<algorithm>/<hex>/link                        the blob is in this repository
//!         _manifests/revisions/<algorithm>/<hex>/link           the manifest is in this repository
//!         _manifests/tags/<tag>/current/link                    what the tag points to
//!         _manifests/tags/<tag>/index/<algorithm>/<hex>/link    what the tag ever pointed to
//! /roadstead/                                                   Roadstead's own, which the reference never looks at
//! ```
//! A link's content is the digest it stands for, without a newline. Blobs and manifests share the blob store. A
//! repository exists for the catalog when it has `_manifests`; names nest, and no component of a name starts with `_`.

use roadstead_oci::{Digest, Name, Tag};

use crate::StorePath;

/// Links are a digest long; anything larger is not one.
pub const LINK_LIMIT: usize = 256;

/// Where the blob's, or the manifest's, bytes are.
pub fn blob_data(digest: &Digest) -> StorePath {
    StorePath::of(format_args!("{}/data", blob(digest)))
}

/// The directories of all blobs, one for each algorithm in use; below each, one for each first two hex digits.
pub fn blobs() -> StorePath {
    StorePath::of(format_args!("/docker/registry/v2/blobs"))
}

/// The directory of a blob, which holds its data and nothing else.
pub fn blob(digest: &Digest) -> StorePath {
    let hex = digest.hex();
    let (shard, _) = hex.split_at(2);
    StorePath::of(format_args!(
        "/docker/registry/v2/blobs/{}/{shard}/{hex}",
        digest.algorithm()
    ))
}

pub fn repositories() -> StorePath {
    StorePath::of(format_args!("/docker/registry/v2/repositories"))
}

pub fn repository(name: &Name) -> StorePath {
    StorePath::of(format_args!("/docker/registry/v2/repositories/{name}"))
}

/// Exists when the repository does.
pub fn manifests(name: &Name) -> StorePath {
    StorePath::of(format_args!("{}/_manifests", repository(name)))
}

/// The directories that hold the repository's layer links, one for each algorithm in use.
pub fn layers(name: &Name) -> StorePath {
    StorePath::of(format_args!("{}/_layers", repository(name)))
}

/// The directory of a layer link, which holds it and nothing else.
pub fn layer(name: &Name, digest: &Digest) -> StorePath {
    StorePath::of(format_args!(
        "{}/{}/{}",
        layers(name),
        digest.algorithm(),
        digest.hex()
    ))
}

pub fn layer_link(name: &Name, digest: &Digest) -> StorePath {
    StorePath::of(format_args!(
        "{}/_layers/{}/{}/link",
        repository(name),
        digest.algorithm(),
        digest.hex()
    ))
}

/// The directories that hold the repository's revisions, one for each algorithm in use.
pub fn revisions(name: &Name) -> StorePath {
    StorePath::of(format_args!("{}/revisions", manifests(name)))
}

/// The link in a layer's directory, or a revision's.
pub fn link_in(directory: &StorePath) -> StorePath {
    StorePath::of(format_args!("{directory}/link"))
}

/// The directory of a revision link, which holds it and, from old registries, signatures.
pub fn revision(name: &Name, digest: &Digest) -> StorePath {
    StorePath::of(format_args!(
        "{}/{}/{}",
        revisions(name),
        digest.algorithm(),
        digest.hex()
    ))
}

pub fn revision_link(name: &Name, digest: &Digest) -> StorePath {
    StorePath::of(format_args!(
        "{}/{}/{}/link",
        revisions(name),
        digest.algorithm(),
        digest.hex()
    ))
}

pub fn tags(name: &Name) -> StorePath {
    StorePath::of(format_args!("{}/tags", manifests(name)))
}

pub fn tag(name: &Name, tag: &Tag) -> StorePath {
    StorePath::of(format_args!("{}/{tag}", tags(name)))
}

/// All that a tag ever pointed to, below this.
pub fn tag_indexes(name: &Name, tag: &Tag) -> StorePath {
    StorePath::of(format_args!("{}/{tag}/index", tags(name)))
}

/// What makes a tag's directory a tag: which manifest it points to.
pub const CURRENT_LINK: &str = "current/link";

pub fn tag_current(name: &Name, tag: &Tag) -> StorePath {
    StorePath::of(format_args!("{}/{tag}/{CURRENT_LINK}", tags(name)))
}

pub fn tag_index(name: &Name, tag: &Tag, digest: &Digest) -> StorePath {
    StorePath::of(format_args!(
        "{}/{tag}/index/{}/{}/link",
        tags(name),
        digest.algorithm(),
        digest.hex()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_oci::Algorithm;

    #[test]
    fn paths_are_the_references() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let (name, latest): (Name, Tag) = ("a/b".parse().unwrap(), "latest".parse().unwrap());
        let root = "/docker/registry/v2";
        let cases = [
            (
                blob_data(&digest),
                format!("{root}/blobs/sha256/e3/{hex}/data"),
            ),
            (
                layer_link(&name, &digest),
                format!("{root}/repositories/a/b/_layers/sha256/{hex}/link"),
            ),
            (
                revision_link(&name, &digest),
                format!("{root}/repositories/a/b/_manifests/revisions/sha256/{hex}/link"),
            ),
            (
                tag_current(&name, &latest),
                format!("{root}/repositories/a/b/_manifests/tags/latest/current/link"),
            ),
            (
                tag_index(&name, &latest, &digest),
                format!("{root}/repositories/a/b/_manifests/tags/latest/index/sha256/{hex}/link"),
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(path.as_str(), expected);
        }
    }
}
