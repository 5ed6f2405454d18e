//! Paths: which part of the API a request means.
//!
//! ```text
//! /                                   for simple balancers
//! /livez, /readyz                     whether the process lives, and whether it should be sent requests
//! /v2/                                is this a registry?
//! /v2/_catalog
//! /v2/<name>/tags/list
//! /v2/<name>/manifests/<tag or digest>
//! /v2/<name>/blobs/<digest>
//! /v2/<name>/blobs/uploads/           a new upload
//! /v2/<name>/blobs/uploads/<id>       one that is going on
//! /v2/<name>/referrers/<digest>
//! ```
//! Names hold slashes, so paths are read from their end.

use http::Method;
use roadstead_oci::Name;

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    To(Target),
    /// To the same path, spelled so.
    Elsewhere(String),
    Nowhere,
}

/// What a path means. References, digests and ids are as they came: what a malformed one is answered with depends on
/// the method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Root,
    Live,
    Ready,
    Base,
    Catalog,
    Tags { name: RawName },
    Manifest { name: RawName, reference: String },
    Blob { name: RawName, digest: String },
    Uploads { name: RawName },
    Upload { name: RawName, id: String },
    Referrers { name: RawName, digest: String },
}

/// A repository name that may not be one.
pub(super) type RawName = Result<Name, String>;

impl Route {
    pub(super) fn parse(path: &str) -> Self {
        let Some(rest) = path.strip_prefix("/v2/") else {
            return match path {
                "/" => Self::To(Target::Root),
                "/livez" => Self::To(Target::Live),
                "/readyz" => Self::To(Target::Ready),
                "/v2" => Self::Elsewhere("/v2/".to_owned()),
                _ => Self::Nowhere,
            };
        };
        let segments: Vec<&str> = rest.split('/').collect();
        let name = |of: &[&str]| {
            let text = of.join("/");
            text.parse().map_err(|_malformed| text)
        };
        let to_text = |text: &str| text.to_owned();
        match segments.as_slice() {
            [""] => Self::To(Target::Base),
            ["_catalog"] => Self::To(Target::Catalog),
            [of @ .., "tags", "list"] if !of.is_empty() => {
                Self::To(Target::Tags { name: name(of) })
            }
            [of @ .., "manifests", reference] if !of.is_empty() && !reference.is_empty() => {
                Self::To(Target::Manifest {
                    name: name(of),
                    reference: to_text(reference),
                })
            }
            [of @ .., "referrers", digest] if !of.is_empty() && !digest.is_empty() => {
                Self::To(Target::Referrers {
                    name: name(of),
                    digest: to_text(digest),
                })
            }
            // Without the slash too: a redirect would turn a POST into a GET.
            [of @ .., "blobs", "uploads"] | [of @ .., "blobs", "uploads", ""] if !of.is_empty() => {
                Self::To(Target::Uploads { name: name(of) })
            }
            [of @ .., "blobs", "uploads", id] if !of.is_empty() => Self::To(Target::Upload {
                name: name(of),
                id: to_text(id),
            }),
            [of @ .., "blobs", digest] if !of.is_empty() && !digest.is_empty() => {
                Self::To(Target::Blob {
                    name: name(of),
                    digest: to_text(digest),
                })
            }
            [.., ""] => Self::without_slash(path),
            _ => Self::Nowhere,
        }
    }

    fn without_slash(path: &str) -> Self {
        let shorter = path.trim_end_matches('/');
        match Self::parse(shorter) {
            Self::To(_) => Self::Elsewhere(shorter.to_owned()),
            other => other,
        }
    }
}

impl Target {
    /// Whether every method means the same, as with the reference: is somebody there?
    pub(super) fn answers_all(&self) -> bool {
        matches!(self, Self::Root | Self::Live | Self::Ready | Self::Base)
    }

    /// Whether this is for whoever looks after the process, and so lies outside the prefix and needs no login.
    pub(super) fn is_probe(&self) -> bool {
        matches!(self, Self::Root | Self::Live | Self::Ready)
    }

    /// The methods that the reference knows here, in the order of its `Allow` header.
    pub(super) fn methods(&self) -> &'static [Method] {
        const READ: &[Method] = &[Method::GET, Method::HEAD];
        match self {
            Self::Root
            | Self::Live
            | Self::Ready
            | Self::Base
            | Self::Catalog
            | Self::Tags { .. }
            | Self::Referrers { .. } => READ,
            Self::Manifest { .. } => &[Method::DELETE, Method::GET, Method::HEAD, Method::PUT],
            Self::Blob { .. } => &[Method::DELETE, Method::GET, Method::HEAD],
            Self::Uploads { .. } => &[Method::POST],
            Self::Upload { .. } => &[
                Method::DELETE,
                Method::GET,
                Method::HEAD,
                Method::PATCH,
                Method::PUT,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> RawName {
        text.parse().map_err(|error| format!("{error}"))
    }

    fn leads_to(path: &str, target: Target) {
        assert_eq!(Route::parse(path), Route::To(target), "{path}");
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let manifest = |of: &str, reference: &str| Target::Manifest {
            name: name(of),
            reference: reference.to_owned(),
        };
        let blob = |name: RawName, digest: &str| Target::Blob {
            name,
            digest: digest.to_owned(),
        };
        leads_to("/", Target::Root);
        leads_to("/v2/", Target::Base);
        leads_to("/v2/_catalog", Target::Catalog);
        leads_to("/v2/a/b/tags/list", Target::Tags { name: name("a/b") });
        leads_to(
            "/v2/a/manifests/tags/list",
            Target::Tags {
                name: name("a/manifests"),
            },
        );
        leads_to("/v2/a/manifests/list", manifest("a", "list"));
        leads_to("/v2/blobs/blobs/x", blob(name("blobs"), "x"));
        leads_to("/v2/a/blobs/uploads", Target::Uploads { name: name("a") });
        leads_to("/v2/a/blobs/uploads/", Target::Uploads { name: name("a") });
        leads_to(
            "/v2/a/blobs/uploads/x",
            Target::Upload {
                name: name("a"),
                id: "x".to_owned(),
            },
        );
        leads_to(
            "/v2/a/referrers/x",
            Target::Referrers {
                name: name("a"),
                digest: "x".to_owned(),
            },
        );
    }

    #[test]
    fn names_that_are_none_are_told_apart_from_paths_that_are_none() {
        leads_to(
            "/v2/A/tags/list",
            Target::Tags {
                name: Err("A".to_owned()),
            },
        );
        let digest = "x".to_owned();
        leads_to(
            "/v2/../../etc/blobs/x",
            Target::Blob {
                name: Err("../../etc".to_owned()),
                digest,
            },
        );
        for path in [
            "/v1/",
            "/v2/a",
            "/v2/tags/list",
            "/v2/a/tags/list/x",
            "/etc/passwd",
            "v2/",
        ] {
            assert_eq!(Route::parse(path), Route::Nowhere, "{path}");
        }
    }

    #[test]
    fn slashes_are_put_right() {
        for (path, right) in [
            ("/v2", "/v2/"),
            ("/v2//", "/v2/"),
            ("/v2/a/tags/list/", "/v2/a/tags/list"),
            ("/v2/_catalog/", "/v2/_catalog"),
        ] {
            assert_eq!(
                Route::parse(path),
                Route::Elsewhere(right.to_owned()),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_path_leads_somewhere_or_nowhere(path in "(/|v2|a|blobs|uploads|manifests|tags|list|\\.\\.|%2f|\\PC){0,12}") {
            let _whatever = Route::parse(&path);
        }
    }
}
