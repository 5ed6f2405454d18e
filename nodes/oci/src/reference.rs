//! Tags, and what a manifest is asked for by: a tag or a digest.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, DigestError};

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

/// A text that is not a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tag is up to 128 letters, digits, underscores, periods and dashes, and starts with none of the last two"
)]
pub struct TagError;

impl Tag {
    pub const MAX_LEN: usize = 128;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag under which clients keep the list of referrers where a registry has no referrers API
    /// ("Referrers tag schema"): algorithm, `-`, and the hex digits, cut to what a tag may hold.
    pub fn of_referrers(subject: &Digest) -> Self {
        const ALGORITHM_MAX: usize = 32;
        const HEX_MAX: usize = 64;
        let algorithm: String = subject
            .algorithm()
            .as_str()
            .chars()
            .take(ALGORITHM_MAX)
            .collect();
        let hex: String = subject.hex().chars().take(HEX_MAX).collect();
        Self(format!("{algorithm}-{hex}").into())
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let [first, rest @ ..] = text.as_bytes() else {
            return Err(TagError);
        };
        let right = text.len() <= Self::MAX_LEN
            && word(*first)
            && rest.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'));
        if right {
            Ok(Self(text.into()))
        } else {
            Err(TagError)
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

/// A text that is neither a tag nor a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error(transparent)]
    Tag(#[from] TagError),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// A colon tells a digest from a tag: no tag holds one.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') {
            Ok(Self::Digest(text.parse()?))
        } else {
            Ok(Self::Tag(text.parse()?))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn tags_of_the_specification() {
        let longest = "a".repeat(128);
        for tag in ["latest", "_x", "1.0-rc.1", "A", longest.as_str()] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag}");
        }
        let too_long = "a".repeat(129);
        for tag in [
            "",
            ".x",
            "-x",
            "a/b",
            "a b",
            "ä",
            "a:b",
            "..",
            too_long.as_str(),
        ] {
            assert_eq!(tag.parse::<Tag>(), Err(TagError), "{tag}");
        }
    }

    #[test]
    fn the_referrers_tag_is_a_tag_for_every_algorithm() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"x");
            let tag = Tag::of_referrers(&digest);
            assert!(tag.as_str().parse::<Tag>().is_ok());
            assert!(tag.as_str().starts_with(algorithm.as_str()));
        }
    }
}
