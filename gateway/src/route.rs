//! What a request is, as far as a gateway needs to know. Paths are read from their end, as names hold slashes; what is
//! none of these is passed on as it came.

use http::Method;
use roadstead_oci::Digest;

/// What a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `/`, answered by the gateway: is somebody there?
    Root,
    Live,
    Ready,
    /// A blob's bytes.
    Blob,
    /// A manifest that is stored.
    ManifestPut,
    /// Bytes of an upload.
    Chunk,
    /// The end of an upload, with its last bytes or without.
    Close,
    /// A whole blob in one request.
    Whole(Digest),
    /// Whatever else. Deleting may find, tried again, that it is done.
    Other,
}

/// What was found in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) kind: Kind,
    /// Under `/v2/`.
    pub(crate) is_api: bool,
    /// The upload that the path names.
    pub(crate) session: Option<String>,
}

impl Route {
    pub(crate) fn of(method: &Method, prefix: &str, path: &str, query: Option<&str>) -> Self {
        let own = match path {
            "/" => Some(Kind::Root),
            "/livez" => Some(Kind::Live),
            "/readyz" => Some(Kind::Ready),
            _ => None,
        };
        if let Some(kind) = own {
            return Self {
                kind,
                is_api: false,
                session: None,
            };
        }
        let below = path.strip_prefix(prefix.trim_end_matches('/'));
        let is_api = below.is_some_and(|below| below == "/v2" || below.starts_with("/v2/"));
        let below = below.and_then(|below| below.strip_prefix("/v2/"));
        let segments: Vec<&str> = below.unwrap_or_default().split('/').collect();
        let session = match segments.as_slice() {
            [of @ .., "blobs", "uploads", id] if !of.is_empty() && !id.is_empty() => {
                Some((*id).to_owned())
            }
            _ => None,
        };
        let kind = match (method.as_str(), segments.as_slice()) {
            ("PATCH", _) if session.is_some() => Kind::Chunk,
            ("PUT", _) if session.is_some() => Kind::Close,
            ("POST", [of @ .., "blobs", "uploads"] | [of @ .., "blobs", "uploads", ""])
                if !of.is_empty() =>
            {
                whole(query)
            }
            ("PUT", [of @ .., "manifests", _]) if !of.is_empty() => Kind::ManifestPut,
            ("GET", [of @ .., "blobs", _]) if !of.is_empty() => Kind::Blob,
            _ => Kind::Other,
        };
        Self {
            kind,
            is_api,
            session,
        }
    }
}

/// A whole blob, if the query says which; a mount has no bytes.
fn whole(query: Option<&str>) -> Kind {
    let digest = parameter(query.unwrap_or_default(), "digest");
    let is_mount = parameter(query.unwrap_or_default(), "mount").is_some();
    match digest.and_then(|digest| digest.replace("%3A", ":").replace("%3a", ":").parse().ok()) {
        Some(digest) if !is_mount => Kind::Whole(digest),
        _ => Kind::Other,
    }
}

/// A parameter of a query, as it stands there.
pub(crate) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(method: &str, target: &str) -> Kind {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Route::of(&method.parse().unwrap(), "/", path, query).kind
    }

    #[test]
    fn requests_are_known_by_method_and_path() {
        let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        assert_eq!(kind("GET", "/"), Kind::Root);
        assert_eq!(kind("GET", "/v2/a/b/blobs/sha256:0"), Kind::Blob);
        assert_eq!(kind("HEAD", "/v2/a/b/blobs/sha256:0"), Kind::Other);
        assert_eq!(kind("PUT", "/v2/a/manifests/x"), Kind::ManifestPut);
        assert_eq!(kind("PATCH", "/v2/a/blobs/uploads/1"), Kind::Chunk);
        assert_eq!(kind("PUT", "/v2/a/blobs/uploads/1?digest=x"), Kind::Close);
        assert_eq!(kind("POST", "/v2/a/blobs/uploads/"), Kind::Other);
        let whole = format!("/v2/a/blobs/uploads/?digest={digest}");
        assert_eq!(kind("POST", &whole), Kind::Whole(digest.clone()));
        assert_eq!(
            kind("POST", &whole.replace("sha256:", "sha256%3A")),
            Kind::Whole(digest)
        );
        assert_eq!(kind("POST", &format!("{whole}&mount=x")), Kind::Other);
        assert_eq!(kind("GET", "/v2/a/blobs/uploads/1"), Kind::Other);
        assert_eq!(kind("PUT", "/v2/blobs/uploads/1"), Kind::Other);
    }

    #[test]
    fn sessions_and_the_api_are_seen_below_the_prefix() {
        let route = Route::of(&Method::GET, "/reg/", "/reg/v2/a/blobs/uploads/1", None);
        assert_eq!((route.is_api, route.session.as_deref()), (true, Some("1")));
        for path in ["/reg/v2", "/reg/v2/", "/reg/v2/_catalog"] {
            assert!(
                Route::of(&Method::GET, "/reg/", path, None).is_api,
                "{path}"
            );
        }
        for path in ["/v2/", "/reg/v3/", "/reg", "/"] {
            assert!(
                !Route::of(&Method::GET, "/reg/", path, None).is_api,
                "{path}"
            );
        }
    }
}
