//! Paths inside a store.

use std::fmt;
use std::str::FromStr;

/// A path from the store's root: `/`-led components of `[A-Za-z0-9._-]+`, none of them `.` or `..`; or `/` alone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorePath(String);

/// A text that is not such a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path of the store")]
pub struct PathError(String);

impl StorePath {
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the leading slash, as a key or a path relative to a root; empty for the root.
    pub fn relative(&self) -> &str {
        self.0.strip_prefix('/').unwrap_or(&self.0)
    }

    /// `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/')? {
            ("", "") => None,
            ("", _) => Some(Self::root()),
            (parent, _) => Some(Self(parent.to_owned())),
        }
    }

    pub fn join(&self, component: &str) -> Result<Self, PathError> {
        format!("{}/{component}", self.0.trim_end_matches('/')).parse()
    }

    /// Parts that are components by their types (names, digests, tags), and literals.
    pub(crate) fn of(parts: fmt::Arguments<'_>) -> Self {
        let path = parts.to_string();
        debug_assert!(path.parse::<Self>().is_ok(), "{path}");
        Self(path)
    }
}

impl FromStr for StorePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let component = |part: &str| {
            !matches!(part, "" | "." | "..") && part.len() <= 255 && part.bytes().all(allowed)
        };
        match text.strip_prefix('/') {
            Some("") => Ok(Self::root()),
            Some(rest) if rest.split('/').all(component) => Ok(Self(text.to_owned())),
            _ => Err(PathError(text.to_owned())),
        }
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_store() {
        for wrong in [
            "", "a", "//", "/a//b", "/a/", "/..", "/a/../b", "/.", "/a b", "/a\0", "/ä", "a/../..",
        ] {
            assert!(wrong.parse::<StorePath>().is_err(), "{wrong:?}");
        }
        for right in ["/", "/a", "/docker/registry/v2/a.b_c-d/..."] {
            assert!(right.parse::<StorePath>().is_ok(), "{right:?}");
        }
    }

    #[test]
    fn parents_end_at_the_root() {
        let path: StorePath = "/a/b".parse().unwrap();
        let parent = path.parent().unwrap();
        assert_eq!(parent.as_str(), "/a");
        assert_eq!(parent.parent().unwrap(), StorePath::root());
        assert_eq!(StorePath::root().parent(), None);
        assert_eq!(StorePath::root().join("a").unwrap().as_str(), "/a");
    }
}
