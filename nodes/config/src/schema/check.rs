//! Holds a tree against the table: strangers, wrong shapes, and settings that this version lacks.

use super::{Level, ROOT, Status};
use crate::mistake::{Findings, Mistake, Origin, Warning};
use crate::node::{Kind, Node};

/// A single word where alternatives are named stands for that alternative: `storage: inmemory`.
pub(crate) fn name_kinds(root: &mut Node) {
    let Kind::Map(entries) = &mut root.kind else {
        return;
    };
    for (name, value) in entries {
        let level = ROOT.child(name);
        let kinds = level.is_some_and(|level| matches!(level.status, Some(Status::Kinds(_))));
        if kinds && let Some(word) = value.text() {
            let chosen = Node::null(value.origin.clone());
            value.kind = Kind::Map(vec![(word.to_owned(), chosen)]);
        }
    }
}

/// Reports what the table has to say about every key of the tree.
pub(crate) fn check(root: &Node, findings: &mut Findings) {
    let mut check = Check {
        findings,
        not_yet: Vec::new(),
    };
    check.value(root, &ROOT, &Place::default());
    if !check.not_yet.is_empty() {
        let keys = check.not_yet;
        findings.warnings.push(Warning::NotYet { keys });
    }
}

struct Check<'f> {
    findings: &'f mut Findings,
    /// What is set without effect, by its shortest path.
    not_yet: Vec<String>,
}

/// Where in the tree the check stands.
#[derive(Clone, Default)]
struct Place {
    key: String,
    /// Its name chooses an alternative, even with nothing under it.
    chosen: bool,
    /// Something above is already reported as being without effect.
    reported: bool,
}

impl Check<'_> {
    fn value(&mut self, node: &Node, level: &Level, place: &Place) {
        let mut place = place.clone();
        if let Some(Status::Refused(reason)) = level.status
            && (place.chosen || node.is_set())
        {
            let mistake = Mistake::new(&place.key, node.origin.clone(), reason);
            self.findings.mistakes.push(mistake);
            place.reported = true;
        }
        let idle = !level.is_used() && !level.refuses();
        if idle && !place.key.is_empty() && !place.reported && node.is_set() {
            self.not_yet.push(place.key.clone());
            place.reported = true;
        }
        if !level.free {
            self.shaped(node, level, &place);
        }
    }

    fn shaped(&mut self, node: &Node, level: &Level, place: &Place) {
        let wanted = level.noun();
        match &node.kind {
            Kind::Null => {}
            Kind::Map(entries) if wanted == Some("a map") => {
                for (name, value) in entries {
                    self.entry(name, value, level, place);
                }
            }
            Kind::Seq(items) if wanted == Some("a list") => {
                for (index, item) in items.iter().enumerate() {
                    let below = place.below(format!("{}[{index}]", place.key));
                    if let Some(level) = &level.item {
                        self.value(item, level, &below);
                    }
                }
            }
            Kind::Scalar(_) if wanted == Some("a single value") => {}
            _ => self.misshapen(node, wanted.unwrap_or_default(), place),
        }
    }

    fn entry(&mut self, name: &str, value: &Node, level: &Level, place: &Place) {
        let key = match place.key.as_str() {
            "" => name.to_owned(),
            parent => format!("{parent}.{name}"),
        };
        let Some(child) = level.child(name) else {
            self.stranger(key, name, value.origin.clone(), level);
            return;
        };
        let mut below = place.below(key);
        below.chosen = matches!(level.status, Some(Status::Kinds(_)));
        self.value(value, child, &below);
    }

    fn stranger(&mut self, key: String, name: &str, origin: Origin, level: &Level) {
        let suggestion = level.nearest(name).map(str::to_owned);
        if let Some(Status::Kinds(sort)) = level.status {
            let mistake = Mistake::new(key, origin, format!("there is no such {sort}"));
            self.findings.mistakes.push(mistake.suggest(suggestion));
        } else {
            self.findings.warnings.push(Warning::UnknownKey {
                key,
                origin,
                suggestion,
            });
        }
    }

    fn misshapen(&mut self, node: &Node, wanted: &str, place: &Place) {
        let reason = format!("{} stands here, where {wanted} belongs", node.noun());
        let key = match place.key.as_str() {
            "" => "configuration",
            key => key,
        };
        let mistake = Mistake::new(key, node.origin.clone(), reason);
        self.findings.mistakes.push(mistake);
    }
}

impl Place {
    fn below(&self, key: String) -> Self {
        Self {
            key,
            chosen: false,
            reported: self.reported,
        }
    }
}
