//! Takes typed values out of the tree by their keys, and notes what is wrong with them.
//!
//! A value that is wrong is noted and then treated as absent, so that reading goes on and finds the next mistake.
//! Shapes (a map where a list belongs) are judged before, against the table of keys: here they are merely absent.

use crate::mistake::{Findings, Mistake, Origin};
use crate::node::Node;
use crate::scalar::Unfit;
use crate::schema;

pub(crate) struct Reader<'a> {
    root: &'a Node,
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
        Self { root, findings }
    }

    /// The node at a key of the table; `None` when absent.
    pub(crate) fn node(&self, key: &'static str) -> Option<&'a Node> {
        debug_assert!(
            schema::is_known(key),
            "{key} is read, but has no line in the table"
        );
        key.split('.').try_fold(self.root, Node::get)
    }

    /// The value at a key as `parse` has it; `None` when absent, empty or wrong.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Unfit>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let found = Found {
            key: key.to_owned(),
            origin: &node.origin,
            text: node.text()?,
        };
        self.parse(&found, parse)
    }

    /// The text at a key; `None` when absent or empty.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, |text| Ok(text.to_owned()))
    }

    /// The texts of a list.
    pub(crate) fn texts(&self, key: &'static str) -> Vec<Found<'a>> {
        self.node(key)
            .map_or_else(Vec::new, |list| texts_of(key, list))
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

    pub(crate) fn mistake(&mut self, mistake: Mistake) {
        self.findings.mistakes.push(mistake);
    }

    pub(crate) fn remark(&mut self, key: &str, origin: &Origin, text: impl Into<String>) {
        self.findings.remark(key, origin, text);
    }

    fn unfit(&mut self, found: &Found<'_>, unfit: Unfit) {
        let Unfit { reason, suggestion } = unfit;
        let mut mistake = Mistake::new(&found.key, found.origin.clone(), reason);
        if !schema::is_secret(&found.key) {
            mistake.value = Some(found.text.to_owned());
        }
        self.mistake(mistake.suggest(suggestion));
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
