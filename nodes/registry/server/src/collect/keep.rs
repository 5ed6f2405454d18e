//! Which manifests stay.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use roadstead_oci::Name;
use roadstead_storage::StorePath;

use super::ids::Id;
use super::refs::{Manifests, Refs};

/// How far down a collection goes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// What a manifest names stays while the manifest is in the store, whether it goes or not: a tag may lead to it before it
    /// is gone. What refers to a manifest likewise.
    TopDown,
    /// Whole trees, where nobody can push.
    Trees,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) depth: Depth,
    pub(super) untagged: bool,
    pub(super) grace: Duration,
    pub(super) now: SystemTime,
}

impl Rules {
    /// Too young to go. What tells no age is.
    pub(super) fn spares(&self, modified: Option<SystemTime>) -> bool {
        let old = |modified: SystemTime| {
            let age = self.now.duration_since(modified);
            age.is_ok_and(|age| age >= self.grace)
        };
        !self.grace.is_zero() && !modified.is_some_and(old)
    }
}

/// A repository's manifests, in the order of their digests.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) path: StorePath,
    /// `None` for one that is not served.
    pub(super) name: Option<Name>,
    pub(super) revisions: Vec<Revision>,
    pub(super) tagged: Vec<Id>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Revision {
    /// Which others name it by.
    pub(super) name: Id,
    /// Where its bytes are.
    pub(super) content: Id,
    pub(super) modified: Option<SystemTime>,
}

/// Of each repository, and of each of its manifests, whether it stays.
pub(super) fn kept(
    repositories: &[Repository],
    manifests: &Manifests,
    rules: &Rules,
) -> Vec<Vec<bool>> {
    let all = |repository: &Repository| vec![true; repository.revisions.len()];
    if !rules.untagged {
        return repositories.iter().map(all).collect();
    }
    let shelves: Vec<_> = repositories
        .iter()
        .map(|repository| Shelf::new(repository, manifests))
        .collect();
    match rules.depth {
        Depth::TopDown => top_down(&shelves, rules),
        Depth::Trees => trees(&shelves, rules),
    }
}

/// A repository with what its manifests name.
struct Shelf<'a> {
    repository: &'a Repository,
    refs: Vec<Option<&'a Refs>>,
    at: HashMap<Id, usize>,
}

impl<'a> Shelf<'a> {
    fn new(repository: &'a Repository, manifests: &'a Manifests) -> Self {
        let revisions = repository.revisions.iter();
        Self {
            repository,
            refs: revisions
                .clone()
                .map(|it| manifests.get(&it.content))
                .collect(),
            at: revisions
                .enumerate()
                .map(|(at, it)| (it.name, at))
                .collect(),
        }
    }

    /// Manifests that are named here and that another repository may have.
    fn names_elsewhere(&self, refs: &'a Refs) -> impl Iterator<Item = Id> {
        let elsewhere = refs.manifests().iter().copied();
        elsewhere.filter(|id| !self.at.contains_key(id))
    }

    fn is_young(&self, at: usize, rules: &Rules) -> bool {
        rules.spares(self.repository.revisions[at].modified)
    }
}

fn top_down(shelves: &[Shelf<'_>], rules: &Rules) -> Vec<Vec<bool>> {
    let mut wanted = HashSet::new();
    for shelf in shelves {
        let all = shelf.refs.iter().flatten();
        wanted.extend(all.flat_map(|refs| shelf.names_elsewhere(refs)));
    }
    let kept = |shelf: &Shelf<'_>| {
        let all = || shelf.refs.iter().flatten();
        let mut held: HashSet<Id> = all().flat_map(|refs| refs.children()).copied().collect();
        held.extend(&shelf.repository.tagged);
        let revisions = shelf.repository.revisions.iter().enumerate();
        let stays = revisions.map(|(at, Revision { name, .. })| {
            let subjects = shelf.refs[at].map_or(&[][..], Refs::subjects);
            shelf.repository.name.is_none()
                || held.contains(name)
                || wanted.contains(name)
                || subjects
                    .iter()
                    .any(|subject| shelf.at.contains_key(subject))
                || shelf.is_young(at, rules)
        });
        stays.collect()
    };
    shelves.iter().map(kept).collect()
}

fn trees(shelves: &[Shelf<'_>], rules: &Rules) -> Vec<Vec<bool>> {
    let mut wanted = HashSet::new();
    loop {
        let kept: Vec<Vec<bool>> = shelves
            .iter()
            .map(|shelf| reached(shelf, &wanted, rules))
            .collect();
        // An index may name what another repository is about to lose.
        let before = wanted.len();
        for (shelf, kept) in shelves.iter().zip(&kept) {
            let staying = shelf.refs.iter().zip(kept).filter(|(_, stays)| **stays);
            let staying = staying.filter_map(|(refs, _)| *refs);
            wanted.extend(staying.flat_map(|refs| shelf.names_elsewhere(refs)));
        }
        if wanted.len() == before {
            return kept;
        }
    }
}

/// What tags lead to, what that names, and what refers to any of it.
fn reached(shelf: &Shelf<'_>, wanted: &HashSet<Id>, rules: &Rules) -> Vec<bool> {
    let mut referrers: HashMap<Id, Vec<usize>> = HashMap::new();
    for (at, refs) in shelf.refs.iter().enumerate() {
        for subject in refs.map_or(&[][..], Refs::subjects) {
            referrers.entry(*subject).or_default().push(at);
        }
    }
    let revisions = &shelf.repository.revisions;
    let tagged = shelf.repository.tagged.iter();
    let mut next: Vec<usize> = tagged.filter_map(|id| shelf.at.get(id).copied()).collect();
    let roots = revisions.iter().enumerate();
    let roots = roots.filter(|(at, it)| wanted.contains(&it.name) || shelf.is_young(*at, rules));
    next.extend(roots.map(|(at, _)| at));
    let mut reached = vec![false; revisions.len()];
    while let Some(at) = next.pop() {
        if std::mem::replace(&mut reached[at], true) {
            continue;
        }
        let children = shelf.refs[at].map_or(&[][..], Refs::children);
        next.extend(children.iter().filter_map(|id| shelf.at.get(id).copied()));
        next.extend(referrers.get(&revisions[at].name).into_iter().flatten());
    }
    reached
}
