//! Removing units from the store.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_metadata::Unit;
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::{Driver, Gone as Removed, Still, StorePath, layout};

use super::doubt::CollectError;
use super::walk::{self, below};
use super::{TAGS, at};

/// Removes what these units stand for when `still` says that it is still to be done; it is asked again and again. Links go
/// before the bytes: cut off half way, nothing leads nowhere. Answers with those that are not gone. An error leaves it
/// open which are.
pub async fn reap(
    store: &dyn Driver,
    units: &[Unit],
    still: Still<'_>,
) -> Result<Vec<Unit>, CollectError> {
    let (bytes, links): (Vec<&Unit>, Vec<&Unit>) = units
        .iter()
        .partition(|unit| matches!(unit, Unit::Data { .. }));
    let mut manifests = Gone::new();
    for unit in &links {
        if let Unit::Revision { repository, digest } = unit {
            let repository = manifests.entry(layout::repository(repository)).or_default();
            repository.insert(digest.clone());
        }
    }
    // What tags remember of a manifest is no unit, and need not be gone.
    let remembered = remembered(store, &manifests).await?;
    store.remove_fenced(&remembered, still).await?;
    let mut left = remove(store, &links, still).await?;
    // What a link leads to that is still there stays as well.
    let held: BTreeSet<Digest> = left.iter().map(|unit| digest(unit).clone()).collect();
    let (held, bytes): (Vec<&Unit>, Vec<&Unit>) = bytes
        .into_iter()
        .partition(|unit| held.contains(digest(unit)));
    left.extend(held.into_iter().cloned());
    left.append(&mut remove(store, &bytes, still).await?);
    Ok(left)
}

async fn remove(
    store: &dyn Driver,
    units: &[&Unit],
    still: Still<'_>,
) -> Result<Vec<Unit>, CollectError> {
    let places: Vec<StorePath> = units.iter().map(|unit| place(unit)).collect();
    let gone = store.remove_fenced(&places, still).await?;
    let all = units.iter().zip(gone);
    let left = all.filter(|(_, gone)| *gone == Removed::Not);
    Ok(left.map(|(unit, _)| (*unit).clone()).collect())
}

fn digest(unit: &Unit) -> &Digest {
    match unit {
        Unit::Revision { digest, .. } | Unit::Layer { digest, .. } | Unit::Data { digest } => {
            digest
        }
    }
}

fn place(unit: &Unit) -> StorePath {
    match unit {
        Unit::Revision { repository, digest } => layout::revision(repository, digest),
        Unit::Layer { repository, digest } => layout::layer(repository, digest),
        Unit::Data { digest } => layout::blob(digest),
    }
}

/// Manifests that go, by the directories of their repositories.
pub(super) type Gone = BTreeMap<StorePath, BTreeSet<Digest>>;

/// The entries for these manifests among what tags ever pointed to.
pub(super) async fn remembered(
    store: &dyn Driver,
    manifests: &Gone,
) -> Result<Vec<StorePath>, CollectError> {
    let mut found = Vec::new();
    for (repository, digests) in manifests {
        let tags = below(repository, TAGS)?;
        for (_, tag) in walk::directories(store, &tags).await? {
            let index = below(&tag, "index")?;
            for algorithm in walk::entries(store, &index).await? {
                let Ok(algorithm) = algorithm.name.parse::<Algorithm>() else {
                    continue;
                };
                let entries = walk::entries(store, &below(&index, algorithm.as_str())?).await?;
                let named = entries
                    .iter()
                    .filter_map(|entry| Digest::from_parts(algorithm, &entry.name).ok());
                for digest in named.filter(|digest| digests.contains(digest)) {
                    found.push(below(&index, &at(&digest))?);
                }
            }
        }
    }
    Ok(found)
}
