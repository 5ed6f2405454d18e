//! Which object holds what: the reference's keys, and our own beside them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roadstead_storage::StorePath;

/// What a copy's source is named with: all but what URLs leave as it is.
const SOURCE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Keys below a root.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// Ends in a slash, or is empty.
    root: String,
}

impl Keys {
    pub(crate) fn new(root: &str) -> Self {
        let root = match root.trim_matches('/') {
            "" => String::new(),
            root => format!("{root}/"),
        };
        Self { root }
    }

    pub(crate) fn file(&self, path: &StorePath) -> String {
        format!("{}{}", self.root, path.relative())
    }

    /// What the keys of a directory's files begin with.
    pub(crate) fn directory(&self, path: &StorePath) -> String {
        match path.relative() {
            "" => self.root.clone(),
            path => format!("{}{path}/", self.root),
        }
    }

    /// What the keys of places begin with.
    pub(crate) fn places(&self) -> String {
        format!("{}roadstead/uploads/", self.root)
    }

    /// `None` for what is no place of ours.
    pub(crate) fn place(&self, place: &str) -> Option<String> {
        let ours = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        let known = !place.is_empty() && place.len() <= 255 && place.bytes().all(ours);
        known.then(|| format!("{}{place}", self.places()))
    }

    /// Where multipart uploads of ours go to: places, and blobs. The reference's own uploads lie elsewhere.
    pub(crate) fn multiparts(&self) -> [String; 2] {
        [
            self.places(),
            format!("{}docker/registry/v2/blobs/", self.root),
        ]
    }
}

/// A copy's source as its header wants it.
pub(crate) fn source(bucket: &str, key: &str) -> String {
    let key = utf8_percent_encode(key, SOURCE);
    format!("{bucket}/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_references() {
        let path: StorePath = "/docker/registry/v2/x/link".parse().unwrap();
        for (root, key) in [
            ("", "docker/registry/v2/x/link"),
            ("/", "docker/registry/v2/x/link"),
            ("/some/where/", "some/where/docker/registry/v2/x/link"),
            ("some", "some/docker/registry/v2/x/link"),
        ] {
            assert_eq!(Keys::new(root).file(&path), key);
            assert_eq!(Keys::new(root).directory(&path), format!("{key}/"));
        }
        assert_eq!(Keys::new("").directory(&StorePath::root()), "");
        assert_eq!(Keys::new("a").directory(&StorePath::root()), "a/");
    }

    #[test]
    fn places_lie_beside_the_layout_and_lead_nowhere_else() {
        let keys = Keys::new("r");
        assert_eq!(
            keys.place("a-1.b").as_deref(),
            Some("r/roadstead/uploads/a-1.b")
        );
        for place in ["", "a/b", "../x", "a b", "\u{e9}"] {
            assert_eq!(keys.place(place), None, "{place:?}");
        }
    }

    #[test]
    fn sources_are_encoded() {
        assert_eq!(source("b", "a b/c+d/é.x"), "b/a%20b/c%2Bd/%C3%A9.x");
    }
}
