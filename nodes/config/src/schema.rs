//! Every key that the configuration format has, and what this version does with it.
//!
//! `keys.rs` is the table; here it becomes a tree that a path can be followed through.

mod check;
mod keys;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub(crate) use check::{check, name_kinds};
pub(crate) use keys::{environment_name, wanted_key};

use crate::suggest;

static ROOT: LazyLock<Level> = LazyLock::new(|| Level::of(keys::KEYS));

/// What this version does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is read.
    Used,
    /// It is recognised, named in a warning when set, and otherwise ignored.
    NotYet,
    /// To ignore it would serve something less safe than, or other than, what was asked for: an error for this reason.
    Refused(&'static str),
    /// Its children name alternatives of this sort; an unknown one is an error, and a single word stands for one.
    Kinds(&'static str),
}

/// One line of the table: a pattern of keys with their status.
///
/// In a pattern `.` goes into a map, `[]` into a list, `*` is any key, `**` anything at all from here on, and
/// `{a,b}` at the end stands for several patterns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pattern: &'static str,
    status: Status,
    secret: bool,
}

/// A place in the format: a map with these names, or of any, or a list, or anything, or else a single value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level {
    names: BTreeMap<&'static str, Self>,
    any: Option<Box<Self>>,
    item: Option<Box<Self>>,
    free: bool,
    status: Option<Status>,
    secret: bool,
}

/// One step from the root to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a map.
    Key(String),
    /// Into a list.
    Index(usize),
    /// Into whichever of the two is there: the format leaves it open.
    Free(String),
}

/// Where a path leaves the format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stray {
    /// The segment's index.
    pub(crate) at: usize,
    pub(crate) how: Astray,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Astray {
    /// No such name here; the nearest one.
    Unknown(Option<&'static str>),
    /// No such alternative of this sort; the nearest one.
    UnknownKind(&'static str, Option<&'static str>),
    /// A list's index must be a number.
    NotAnIndex,
}

/// Follows a variable's segments, in lower case, through the format.
pub(crate) fn follow(segments: &[String]) -> Result<Vec<Step>, Stray> {
    let mut level = &*ROOT;
    let mut steps = Vec::with_capacity(segments.len());
    for (at, segment) in segments.iter().enumerate() {
        if level.free {
            steps.push(Step::Free(segment.clone()));
        } else if let Some(item) = &level.item {
            let index = segment.parse().map_err(|_not_a_number| Stray {
                at,
                how: Astray::NotAnIndex,
            })?;
            steps.push(Step::Index(index));
            level = item;
        } else {
            let how = || level.astray(segment);
            level = level
                .child(segment)
                .ok_or_else(|| Stray { at, how: how() })?;
            steps.push(Step::Key(segment.clone()));
        }
    }
    Ok(steps)
}

/// Whether the value of this key must not be shown.
///
/// Of a map or list, whether any value in it must not: names of headers may hold dots, which lead no further here.
pub(crate) fn is_secret(key: &str) -> bool {
    let mut level = &*ROOT;
    for name in segments(key) {
        if level.secret {
            return true;
        }
        match level.step(name) {
            Some(next) => level = next,
            None => break,
        }
    }
    level.hides_something()
}

/// Whether the table has this key, or keys below it.
pub(crate) fn is_known(key: &str) -> bool {
    let mut names = segments(key);
    names
        .try_fold(&*ROOT, |level, name| level.step(name))
        .is_some()
}

/// The steps of a key as messages write it: `endpoints[0].url` is `endpoints`, `0]`, `url`.
fn segments(key: &str) -> impl Iterator<Item = &str> {
    key.split(['.', '['])
}

impl Level {
    fn of(rows: &[Row]) -> Self {
        let mut root = Self::default();
        for row in rows {
            let (stem, names) = split_braces(row.pattern);
            for name in names {
                let level = root.descend(stem).descend(name);
                // `s3aws.**` tells what is below `s3aws`, whose own line came before.
                level.status.get_or_insert(row.status);
                level.secret |= row.secret;
            }
        }
        for (parent, alias, name) in keys::ALIASES {
            let level = root.descend(parent);
            let mut copy = level.names.get(name).cloned().unwrap_or_default();
            let alias = level.names.entry(alias).or_default();
            copy.status = alias.status.or(copy.status);
            *alias = copy;
        }
        root
    }

    /// The level that a pattern leads to, made on the way.
    fn descend(&mut self, pattern: &'static str) -> &mut Self {
        let segments = pattern.split('.').filter(|segment| !segment.is_empty());
        segments.fold(self, |level, segment| {
            let name = segment.trim_end_matches("[]");
            let lists = (segment.len() - name.len()) / "[]".len();
            let level = match name {
                "*" => level.any.get_or_insert_default(),
                "**" => {
                    level.free = true;
                    level
                }
                _ => level.names.entry(name).or_default(),
            };
            (0..lists).fold(level, |level, _| level.item.get_or_insert_default())
        })
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.names.get(name).or(self.any.as_deref())
    }

    /// As [`Self::child`], and into a list by an index that ends in `]`.
    fn step(&self, segment: &str) -> Option<&Self> {
        match &self.item {
            Some(item) if segment.ends_with(']') => Some(item),
            _ => self.child(segment),
        }
    }

    fn hides_something(&self) -> bool {
        self.secret || self.children().any(Self::hides_something)
    }

    fn nearest(&self, name: &str) -> Option<&'static str> {
        suggest::nearest(name, self.names.keys().copied())
    }

    fn astray(&self, name: &str) -> Astray {
        match self.status {
            Some(Status::Kinds(sort)) => Astray::UnknownKind(sort, self.nearest(name)),
            _ => Astray::Unknown(self.nearest(name)),
        }
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        let unnamed = self.any.as_deref().into_iter().chain(self.item.as_deref());
        self.names.values().chain(unnamed)
    }

    /// Whether this version reads the value, or any below it.
    fn is_used(&self) -> bool {
        matches!(self.status, Some(Status::Used | Status::Kinds(_)))
            || self.children().any(Self::is_used)
    }

    /// Whether the value, or any below it, is an error.
    fn refuses(&self) -> bool {
        matches!(self.status, Some(Status::Refused(_))) || self.children().any(Self::refuses)
    }

    /// What is to stand here, for messages; `None` where anything may.
    fn noun(&self) -> Option<&'static str> {
        if self.free {
            None
        } else if self.item.is_some() {
            Some("a list")
        } else if self.any.is_some() || !self.names.is_empty() {
            Some("a map")
        } else {
            Some("a single value")
        }
    }
}

/// `a.{b,c}` is `a.` with `b` and `c`.
fn split_braces(pattern: &'static str) -> (&'static str, Vec<&'static str>) {
    match pattern.split_once('{') {
        Some((stem, names)) => (stem, names.trim_end_matches('}').split(',').collect()),
        None => ("", vec![pattern]),
    }
}

#[cfg(test)]
mod tests;
