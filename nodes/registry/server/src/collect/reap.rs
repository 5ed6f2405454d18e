//! Removing units from the store.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_metadata::Unit;
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::{Driver, Gone as Removed, Still, StorePath, layout};

use super::doubt::CollectError;
use super::walk::{self, below};
use super::{REVISIONS, TAGS, at};

/// Of a tag: what it ever pointed to, and what it points to.
const INDEX: &str = "index";
const CURRENT: &str = "current/link";

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

/// The entries for these manifests among what tags ever pointed to; and those of tags that are not there for manifests that
/// are not there, which a write left that came half way, or late.
pub(super) async fn remembered(
    store: &dyn Driver,
    manifests: &Gone,
) -> Result<Vec<StorePath>, CollectError> {
    let mut found = Vec::new();
    for (repository, digests) in manifests {
        let mut others = Vec::new();
        for (_, tag) in walk::directories(store, &below(repository, TAGS)?).await? {
            let (going, staying): (Vec<Digest>, Vec<Digest>) = entries_of(store, &tag)
                .await?
                .into_iter()
                .partition(|digest| digests.contains(digest));
            for digest in going {
                found.push(entry(&tag, &digest)?);
            }
            if !staying.is_empty() {
                others.push((tag, staying));
            }
        }
        found.append(&mut left_over(store, repository, others).await?);
    }
    Ok(found)
}

/// What a tag remembers.
async fn entries_of(store: &dyn Driver, tag: &StorePath) -> Result<Vec<Digest>, CollectError> {
    let (index, mut found) = (below(tag, INDEX)?, Vec::new());
    for algorithm in walk::entries(store, &index).await? {
        let Ok(algorithm) = algorithm.name.parse::<Algorithm>() else {
            continue;
        };
        let entries = walk::entries(store, &below(&index, algorithm.as_str())?).await?;
        let named = entries.iter();
        found.extend(named.filter_map(|it| Digest::from_parts(algorithm, &it.name).ok()));
    }
    Ok(found)
}

fn entry(tag: &StorePath, digest: &Digest) -> Result<StorePath, CollectError> {
    below(tag, &format!("{INDEX}/{}", at(digest)))
}

/// Of these entries of tags, those that lead nowhere. Nobody reads them but this: one that a push counts on at this moment is
/// not missed.
async fn left_over(
    store: &dyn Driver,
    repository: &StorePath,
    tags: Vec<(StorePath, Vec<Digest>)>,
) -> Result<Vec<StorePath>, CollectError> {
    let links: Result<Vec<_>, _> = tags.iter().map(|(tag, _)| below(tag, CURRENT)).collect();
    let tagged = store.which_exist(&links?).await?;
    let (mut entries, mut revisions) = (Vec::new(), Vec::new());
    for ((tag, digests), _) in tags.iter().zip(tagged).filter(|(_, is_there)| !is_there) {
        for digest in digests {
            entries.push(entry(tag, digest)?);
            let link = format!("{REVISIONS}/{}/link", at(digest));
            revisions.push(below(repository, &link)?);
        }
    }
    let there = store.which_exist(&revisions).await?;
    let all = entries.into_iter().zip(there);
    Ok(all
        .filter_map(|(entry, is_there)| (!is_there).then_some(entry))
        .collect())
}

#[cfg(test)]
mod tests {
    use roadstead_oci::Name;
    use roadstead_storage::{Memory, Put};

    use super::*;

    fn digest(of: &str) -> Digest {
        Digest::of(Algorithm::Sha256, of.as_bytes())
    }

    #[tokio::test]
    async fn what_tags_remember_goes_with_manifests_and_where_it_leads_nowhere() {
        let (store, name) = (Memory::new(), "a/b".parse::<Name>().unwrap());
        let index = |tag: &str, of| layout::tag_index(&name, &tag.parse().unwrap(), &digest(of));
        let paths = [
            layout::revision_link(&name, &digest("kept")),
            layout::revision_link(&name, &digest("goes")),
            layout::tag_current(&name, &"moved".parse().unwrap()),
            index("moved", "kept"),
            index("moved", "goes"),
            // It was deleted, and the tag is there.
            index("moved", "gone"),
            // Pushed at this moment, or cut off: it goes with the manifest.
            index("begun", "kept"),
            index("late", "gone"),
        ];
        let put = |path: StorePath| Put {
            path,
            content: "x".into(),
        };
        store
            .put(paths.into_iter().map(put).collect())
            .await
            .unwrap();
        let going = [(layout::repository(&name), [digest("goes")].into())].into();
        let found = remembered(&store, &going).await.unwrap();
        let of = |tag, of| index(tag, of).parent().unwrap();
        assert_eq!(found, [of("moved", "goes"), of("late", "gone")]);
    }
}
