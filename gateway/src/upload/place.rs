//! Where an upload goes on: the session's path, with the state that says so.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use http::header::LOCATION;
use http::{HeaderMap, Uri};

use crate::route::parameter;

/// Length of the signature before the state's document.
const SIGNATURE: usize = 32;

/// Path and query of a session, as a node gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: String,
    query: String,
}

impl Place {
    /// From a request's target.
    pub(super) fn of(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            path: path.to_owned(),
            query: query.to_owned(),
        }
    }

    /// From an answer's `Location`: wherever it leads, it is asked for at a node.
    pub(super) fn told(headers: &HeaderMap) -> Option<Self> {
        let location = headers.get(LOCATION)?.to_str().ok()?;
        let uri: Uri = location.parse().ok()?;
        Some(Self::of(uri.path_and_query()?.as_str()))
    }

    /// Without a parameter.
    pub(super) fn without(&self, name: &str) -> Self {
        let is_other =
            |pair: &&str| !pair.starts_with(name) || pair.as_bytes().get(name.len()) != Some(&b'=');
        let pairs: Vec<&str> = self.query.split('&').filter(is_other).collect();
        Self {
            path: self.path.clone(),
            query: pairs.join("&"),
        }
    }

    /// With a parameter more, as it stands in a query.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let joint = if self.query.is_empty() { "" } else { "&" };
        Self {
            path: self.path.clone(),
            query: format!("{}{joint}{name}={value}", self.query),
        }
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.query, name)
    }

    pub(super) fn target(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }

    /// How many bytes the state says there are. Nodes check its signature; here it is only read.
    pub(super) fn offset(&self) -> Option<u64> {
        let state = self
            .parameter("_state")?
            .replace("%3D", "=")
            .replace("%3d", "=");
        let signed = URL_SAFE
            .decode(&state)
            .or_else(|_unpadded| URL_SAFE_NO_PAD.decode(&state))
            .ok()?;
        let document: serde_json::Value = serde_json::from_slice(signed.get(SIGNATURE..)?).ok()?;
        document.get("Offset")?.as_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(json: &str) -> String {
        let mut signed = vec![7; SIGNATURE];
        signed.extend_from_slice(json.as_bytes());
        URL_SAFE.encode(signed).replace('=', "%3D")
    }

    #[test]
    fn the_offset_is_read_from_the_state() {
        let target = format!(
            "/v2/a/blobs/uploads/x?_state={}",
            state(r#"{"Name":"a","Offset":12345678901}"#)
        );
        assert_eq!(Place::of(&target).offset(), Some(12_345_678_901));
        for wrong in [
            "/x",
            "/x?_state=",
            "/x?_state=AAAA",
            &format!("/x?_state={}", state("[]")),
        ] {
            assert_eq!(Place::of(wrong).offset(), None, "{wrong}");
        }
    }

    #[test]
    fn parameters_come_and_go() {
        let place = Place::of("/u?digest=a&_state=b&digests=c");
        let without = place.without("digest");
        assert_eq!(without.target(), "/u?_state=b&digests=c");
        assert_eq!(without.without("_state").without("digests").target(), "/u");
        assert_eq!(
            Place::of("/u").with("digest", "a").with("x", "y").target(),
            "/u?digest=a&x=y"
        );
    }

    #[test]
    fn a_location_is_where_a_node_has_it() {
        let mut headers = HeaderMap::new();
        headers.insert(
            LOCATION,
            "https://registry:8443/v2/a/blobs/uploads/x?_state=b"
                .parse()
                .unwrap(),
        );
        let expected = Place::of("/v2/a/blobs/uploads/x?_state=b");
        assert_eq!(Place::told(&headers), Some(expected.clone()));
        headers.insert(LOCATION, "/v2/a/blobs/uploads/x?_state=b".parse().unwrap());
        assert_eq!(Place::told(&headers), Some(expected));
    }
}
