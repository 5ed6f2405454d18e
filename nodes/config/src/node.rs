//! A configuration as a tree of what was written, before anything has a type.
//!
//! Scalars keep their text: `0644`, `1.10` and `yes` mean what the key they stand under makes of them.

mod builder;

pub use builder::MAX_BYTES;
pub(crate) use builder::parse;

use crate::mistake::Origin;

/// More than any configuration needs; keeps every walk over a tree within a small stack.
pub(crate) const MAX_DEPTH: usize = 64;

/// One value with the place it was written: for a value in a map, the place of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In the order written; no key twice.
    Map(Vec<(String, Node)>),
    Seq(Vec<Node>),
    /// Quotes and escapes resolved, otherwise as written.
    Scalar(String),
    /// Nothing, `~` or `null`: the key is as good as absent.
    Null,
}

/// What a configuration's text holds.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    /// The line of a second document, which is not read.
    pub(crate) ignored_from: Option<usize>,
}

/// Why a text is not a tree.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

impl Node {
    pub(crate) fn scalar(text: impl Into<String>, origin: Origin) -> Self {
        Self {
            kind: Kind::Scalar(text.into()),
            origin,
        }
    }

    pub(crate) fn null(origin: Origin) -> Self {
        Self {
            kind: Kind::Null,
            origin,
        }
    }

    /// The value of `name` in a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The entries of a map; none for anything else.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Seq(_) | Kind::Scalar(_) | Kind::Null => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::Seq(items) => items,
            Kind::Map(_) | Kind::Scalar(_) | Kind::Null => &[],
        }
    }

    /// The text of a scalar that is not empty.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text) if !text.is_empty() => Some(text),
            Kind::Map(_) | Kind::Seq(_) | Kind::Scalar(_) | Kind::Null => None,
        }
    }

    /// Whether anything is said here: empty strings, nulls and maps of nothing else say nothing.
    pub(crate) fn is_set(&self) -> bool {
        match &self.kind {
            Kind::Map(entries) => entries.iter().any(|(_, value)| value.is_set()),
            Kind::Seq(items) => !items.is_empty(),
            Kind::Scalar(text) => !text.is_empty(),
            Kind::Null => false,
        }
    }

    /// Whether there is no value, so that a map or list may take the place.
    pub(crate) fn is_blank(&self) -> bool {
        match &self.kind {
            Kind::Scalar(text) => text.is_empty(),
            Kind::Null => true,
            Kind::Map(_) | Kind::Seq(_) => false,
        }
    }

    /// What the value is, for messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Map(_) => "a map",
            Kind::Seq(_) => "a list",
            Kind::Scalar(_) => "a single value",
            Kind::Null => "nothing",
        }
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        let values = self.entries().iter().map(|(_, value)| value);
        values.chain(self.items())
    }

    /// How many levels the value has; 1 for a scalar.
    fn depth(&self) -> usize {
        1 + self.children().map(Self::depth).max().unwrap_or(0)
    }

    /// How many values there are in all.
    fn count(&self) -> usize {
        1 + self.children().map(Self::count).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
