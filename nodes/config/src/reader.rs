//! Takes typed values out of the tree by their keys, and notes what is wrong with them.
//!
//! A value that is wrong is noted and then treated as absent, so that reading goes on and finds the next mistake.
//! Shapes (a map where a list belongs) are judged before, against the table of keys: here they are merely absent.

use std::path::PathBuf;

use crate::mistake::{Findings, Mistake, Origin};
use crate::node::Node;
use crate::scalar::Unfit;
use crate::schema;
use crate::secret::Secret;

/// Reads from one place of the tree: the root, or a map or a list's item below it.
pub(crate) struct Reader<'a> {
    node: Option<&'a Node>,
    /// Where it stands; empty at the root.
    key: String,
    findings: &'a mut Findings,
}

/// A text with the key and place it was found at.
pub(crate) struct Found<'a> {
    pub(crate) key: String,
    pub(crate) origin: &'a Origin,
    pub(crate) text: &'a str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(root: &'a Node, findings: &'a mut Findings) -> Self {
        Self {
            node: Some(root),
            key: String::new(),
            findings,
        }
    }

    /// A reader of the map at this key.
    pub(crate) fn below(&mut self, key: &str) -> Reader<'_> {
        Reader {
            node: self.node(key),
            key: self.full(key),
            findings: self.findings,
        }
    }

    /// What `read` makes of each item of the list at this key.
    pub(crate) fn each<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Reader<'_>) -> Option<T>,
    ) -> Vec<T> {
        let list = self.node(key);
        let full = self.full(key);
        let items = list.map_or(&[][..], Node::items).iter().enumerate();
        items
            .filter_map(|(index, item)| {
                read(&mut Reader {
                    node: Some(item),
                    key: format!("{full}[{index}]"),
                    findings: self.findings,
                })
            })
            .collect()
    }

    /// What `read` makes of each entry of the map at this key, whose names are the operator's and may hold dots.
    pub(crate) fn each_entry<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&str, &mut Reader<'_>) -> T,
    ) -> Vec<T> {
        let map = self.node(key);
        let full = self.full(key);
        let entries = map.map_or(&[][..], Node::entries).iter();
        entries
            .map(|(name, value)| {
                let mut reader = Reader {
                    node: Some(value),
                    key: format!("{full}.{name}"),
                    findings: self.findings,
                };
                read(name, &mut reader)
            })
            .collect()
    }

    /// Whether anything is said where the reader stands.
    pub(crate) fn is_set(&self) -> bool {
        self.node.is_some_and(Node::is_set)
    }

    /// The key of where the reader stands.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The place where the reader stands.
    pub(crate) fn origin(&self) -> Origin {
        self.node
            .map_or(Origin::BuiltIn, |node| node.origin.clone())
    }

    /// The node at a key of the table, or with an empty key where the reader stands; `None` when absent.
    pub(crate) fn node(&self, key: &str) -> Option<&'a Node> {
        if key.is_empty() {
            return self.node;
        }
        debug_assert!(
            schema::is_known(&self.full(key)),
            "{} is read, but has no line in the table",
            self.full(key)
        );
        let start = self.node?;
        key.split('.').try_fold(start, Node::get)
    }

    /// The value at a key as `parse` has it; `None` when absent, empty or wrong.
    pub(crate) fn read<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, Unfit>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let found = Found {
            key: self.full(key),
            origin: &node.origin,
            text: node.text()?,
        };
        self.parse(&found, parse)
    }

    /// The text at a key; `None` when absent or empty.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.read(key, |text| Ok(text.to_owned()))
    }

    /// The path at a key; `None` when absent or empty.
    pub(crate) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// The secret at a key; `None` when absent or empty.
    pub(crate) fn secret(&mut self, key: &str) -> Option<Secret> {
        debug_assert!(schema::is_secret(&self.full(key)), "{key} can be shown");
        self.text(key).map(Secret::from)
    }

    /// The value at a key that cannot do without; its absence is a mistake.
    pub(crate) fn required<T>(
        &mut self,
        key: &str,
        what_to_write: &str,
        parse: impl FnOnce(&str) -> Result<T, Unfit>,
    ) -> Option<T> {
        let text = self.node(key).and_then(Node::text);
        if text.is_none() {
            self.missing(key, what_to_write);
        }
        self.read(key, parse)
    }

    /// The path at a key that cannot do without.
    pub(crate) fn required_path(&mut self, key: &str, what_to_write: &str) -> Option<PathBuf> {
        self.required(key, what_to_write, |text| Ok(text.into()))
    }

    /// What `parse` makes of the texts of a list; empty ones are left out.
    pub(crate) fn list<T>(
        &mut self,
        key: &str,
        mut parse: impl FnMut(&str) -> Result<T, Unfit>,
    ) -> Vec<T> {
        let texts = self.texts(key);
        texts
            .iter()
            .filter_map(|found| self.parse(found, &mut parse))
            .collect()
    }

    /// The texts of a list.
    pub(crate) fn texts(&self, key: &str) -> Vec<Found<'a>> {
        let full = self.full(key);
        self.node(key)
            .map_or_else(Vec::new, |list| texts_of(&full, list))
    }

    /// What `parse` makes of a text; `None` when that is a mistake.
    pub(crate) fn parse<T>(
        &mut self,
        found: &Found<'_>,
        parse: impl FnOnce(&str) -> Result<T, Unfit>,
    ) -> Option<T> {
        match parse(found.text) {
            Ok(value) => Some(value),
            Err(unfit) => {
                self.unfit(found, unfit);
                None
            }
        }
    }

    /// Notes what is wrong with a key, or with its absence; an empty key is where the reader stands.
    pub(crate) fn mistake(&mut self, key: &str, reason: impl Into<String>) {
        let mistake = Mistake::new(self.full(key), self.place(key), reason);
        self.findings.mistakes.push(mistake);
    }

    /// Notes that a key is missing.
    pub(crate) fn missing(&mut self, key: &str, what_to_write: &str) {
        self.mistake(key, format!("is missing; {what_to_write}"));
    }

    /// Notes a mistake at a place that is found otherwise.
    pub(crate) fn note(&mut self, mistake: Mistake) {
        self.findings.mistakes.push(mistake);
    }

    /// Notes what is odd about a key; an empty key is where the reader stands.
    pub(crate) fn remark(&mut self, key: &str, text: impl Into<String>) {
        let (full, place) = (self.full(key), self.place(key));
        self.findings.remark(&full, &place, text);
    }

    /// The place of a key, or of the nearest map above it that is there.
    fn place(&self, key: &str) -> Origin {
        let mut place = self.origin();
        let mut node = self.node;
        for name in key.split('.').filter(|name| !name.is_empty()) {
            node = node.and_then(|node| node.get(name));
            match node {
                Some(node) => place = node.origin.clone(),
                None => break,
            }
        }
        place
    }

    fn full(&self, key: &str) -> String {
        match (self.key.as_str(), key) {
            (at, "") => at.to_owned(),
            ("", key) => key.to_owned(),
            (at, key) => format!("{at}.{key}"),
        }
    }

    fn unfit(&mut self, found: &Found<'_>, unfit: Unfit) {
        let Unfit {
            reason,
            suggestion,
            hidden,
        } = unfit;
        let mut mistake = Mistake::new(&found.key, found.origin.clone(), reason);
        if !hidden && !schema::is_secret(&found.key) {
            mistake.value = Some(found.text.to_owned());
        }
        self.findings.mistakes.push(mistake.suggest(suggestion));
    }
}

/// The texts of a list's items, each under its index; empty ones left out.
pub(crate) fn texts_of<'a>(key: &str, list: &'a Node) -> Vec<Found<'a>> {
    let items = list.items().iter().enumerate();
    items
        .filter_map(|(index, item)| {
            Some(Found {
                key: format!("{key}[{index}]"),
                origin: &item.origin,
                text: item.text()?,
            })
        })
        .collect()
}
