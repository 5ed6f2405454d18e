//! Removing units from the store.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_metadata::Unit;
use roadstead_oci::{Digest, Name};
use roadstead_storage::{Driver, Gone, Still, StorePath, layout};

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
    // What tags remember of a manifest is no unit, and need not be gone.
    let remembered = remembered(store, &links).await?;
    store.remove_fenced(&remembered, still).await?;
    let mut left = remove(store, &links, still).await?;
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
    let left = all.filter(|(_, gone)| *gone == Gone::Not);
    Ok(left.map(|(unit, _)| (*unit).clone()).collect())
}

fn place(unit: &Unit) -> StorePath {
    match unit {
        Unit::Revision { repository, digest } => layout::revision(repository, digest),
        Unit::Layer { repository, digest } => layout::layer(repository, digest),
        Unit::Data { digest } => layout::blob(digest),
    }
}

/// The entries for these manifests among what tags ever pointed to.
async fn remembered(store: &dyn Driver, links: &[&Unit]) -> Result<Vec<StorePath>, CollectError> {
    let mut manifests: BTreeMap<&Name, BTreeSet<&Digest>> = BTreeMap::new();
    for unit in links {
        if let Unit::Revision { repository, digest } = unit {
            manifests.entry(repository).or_default().insert(digest);
        }
    }
    let mut found = Vec::new();
    for (repository, digests) in manifests {
        let tags = below(&layout::repository(repository), TAGS)?;
        for (_, tag) in walk::directories(store, &tags).await? {
            let index = below(&tag, "index")?;
            for algorithm in walk::entries(store, &index).await? {
                let Ok(algorithm) = algorithm.name.parse::<roadstead_oci::Algorithm>() else {
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
