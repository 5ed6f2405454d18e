//! A repository's manifests, and what they name.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_oci::Digest;

use super::named::Named;

#[derive(Default)]
pub(super) struct Graph {
    /// By the name of its link, which is what others name it by.
    manifests: BTreeMap<Digest, Named>,
}

impl Graph {
    pub(super) fn add(&mut self, link: Digest, named: Named) {
        self.manifests.insert(link, named);
    }

    pub(super) fn has(&self, manifest: &Digest) -> bool {
        self.manifests.contains_key(manifest)
    }

    pub(super) fn manifests(&self) -> impl Iterator<Item = (&Digest, &Named)> {
        self.manifests.iter()
    }

    pub(super) fn all(&self) -> BTreeSet<Digest> {
        self.manifests.keys().cloned().collect()
    }

    /// What these lead to, what that names, and what refers to any of it.
    pub(super) fn reached_from(&self, roots: Vec<Digest>) -> BTreeSet<Digest> {
        let mut referrers: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
        for (digest, named) in &self.manifests {
            for subject in &named.subjects {
                referrers.entry(subject).or_default().push(digest);
            }
        }
        let (mut reached, mut next) = (BTreeSet::new(), roots);
        while let Some(digest) = next.pop() {
            let Some(named) = self.manifests.get(&digest) else {
                continue;
            };
            if reached.contains(&digest) {
                continue;
            }
            next.extend(named.children().cloned());
            let refer = referrers.get(&digest).into_iter().flatten();
            next.extend(refer.map(|digest| (*digest).clone()));
            reached.insert(digest);
        }
        reached
    }
}
