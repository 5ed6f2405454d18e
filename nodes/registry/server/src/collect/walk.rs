//! Reading the store's directories for a collection: where serving skips what it does not understand, this refuses.
//!
//! A repository is known by its directory alone. What the reference took (`MyCompany.com/app`) may have a name that is
//! not served here, and its images stay all the same.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use roadstead_oci::Digest;
use roadstead_storage::{Driver, Entry, Error as StoreError, StorePath, layout};

use super::doubt::{CollectError, Doubt};

/// What a file system's check puts into the root of what was mounted. No registry takes such a name.
const LOST_AND_FOUND: &str = "lost+found";

/// Directories looked into at a time.
const AT_ONCE: usize = 16;

/// What holds images, or blobs of images to be.
#[derive(Debug, Default)]
pub(super) struct Repositories {
    /// In the order of their paths.
    pub(super) all: Vec<StorePath>,
    /// Of those that manifests were ever pushed to.
    pub(super) with_manifests: usize,
}

/// The directories of all repositories.
pub(super) async fn repositories(store: &dyn Driver) -> Result<Repositories, CollectError> {
    let (mut found, mut waiting) = (Repositories::default(), vec![layout::repositories()]);
    while !waiting.is_empty() {
        let looks = std::mem::take(&mut waiting).into_iter();
        let looks = looks.map(|directory| async move {
            let inner = directories(store, &directory).await?;
            Ok::<_, CollectError>((directory, inner))
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        while let Some((directory, inner)) = looks.try_next().await? {
            let has = |wanted: &str| inner.iter().any(|(name, _)| name == wanted);
            found.with_manifests += usize::from(has("_manifests"));
            if has("_manifests") || has("_layers") {
                found.all.push(directory);
            }
            let below = inner.into_iter().filter(|(name, _)| !name.starts_with('_'));
            waiting.extend(below.map(|(_, path)| path));
        }
    }
    found.all.sort_unstable();
    Ok(found)
}

/// The directories in this one, with their names; none when it does not exist. Files are nothing to a registry here.
pub(super) async fn directories(
    store: &dyn Driver,
    parent: &StorePath,
) -> Result<Vec<(String, StorePath)>, CollectError> {
    let mut found = Vec::new();
    for Entry { name, is_directory } in entries(store, parent).await? {
        if let Some(path) = directory(store, parent, &name, is_directory).await? {
            found.push((name, path));
        }
    }
    Ok(found)
}

/// Where a name leads, if to a directory.
pub(super) async fn directory(
    store: &dyn Driver,
    parent: &StorePath,
    name: &str,
    is_directory: bool,
) -> Result<Option<StorePath>, CollectError> {
    match (parent.join(name), is_directory) {
        (Ok(path), true) => Ok(Some(path)),
        (Ok(path), false) => is_a_file(store, &path).await.map(|()| None),
        (Err(_), true) if name != LOST_AND_FOUND => {
            let place = format!("{parent}/{}", name.escape_debug());
            Err(Doubt::StrangeName.at_text(place))
        }
        (Err(_), _) => Ok(None),
    }
}

/// What a link holds; `None` when there is none, which is how a registry deletes.
pub(super) async fn linked(
    store: &dyn Driver,
    link: &StorePath,
) -> Result<Option<Digest>, CollectError> {
    let held = match store.get(link, layout::LINK_LIMIT).await {
        Ok(content) => std::str::from_utf8(&content)
            .ok()
            .and_then(|text| text.trim_end().parse().ok()),
        Err(StoreError::NotFound(_)) if is_absent(store, link).await? => return Ok(None),
        Err(StoreError::TooLarge { .. } | StoreError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    held.map(Some).ok_or_else(|| Doubt::TornLink.at(link))
}

/// Whether a directory is there.
pub(super) async fn exists(
    store: &dyn Driver,
    directory: &StorePath,
) -> Result<bool, CollectError> {
    match store.list(directory, None, 1).await {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A path below a directory, of parts that are digests, names from this walk, and literals.
pub(super) fn below(directory: &StorePath, rest: &str) -> Result<StorePath, CollectError> {
    let path = directory.join(rest);
    path.map_err(|_strange| {
        Doubt::StrangeName.at_text(format!("{directory}/{}", rest.escape_debug()))
    })
}

/// All that lies in a directory; nothing when it does not exist.
pub(super) async fn entries(
    store: &dyn Driver,
    directory: &StorePath,
) -> Result<Vec<Entry>, CollectError> {
    // In one go: a file system reads all of it for each page.
    match store.list(directory, None, usize::MAX).await {
        Ok(all) => Ok(all),
        Err(StoreError::NotFound(_)) if is_absent(store, directory).await? => Ok(Vec::new()),
        Err(StoreError::NotFound(_)) => Err(Doubt::LeadsNowhere.at(directory)),
        Err(error) => Err(error.into()),
    }
}

/// Whether what was not found is not even named where it would lie: neither a symbolic link that leads nowhere, nor a
/// file where a directory should be, nor the other way round. A directory above it that is named and holds nothing is one
/// that an object store has kept of files that were removed.
async fn is_absent(store: &dyn Driver, file: &StorePath) -> Result<bool, CollectError> {
    let mut path = file.clone();
    while let Some(parent) = path.parent() {
        let name = path.as_str().rsplit('/').next().unwrap_or_default();
        match store.list(&parent, None, usize::MAX).await {
            Err(StoreError::NotFound(_)) => path = parent,
            Err(error) => return Err(error.into()),
            Ok(entries) => {
                let named = entries.iter().find(|entry| entry.name == name);
                return Ok(named.is_none_or(|named| named.is_directory && path != *file));
            }
        }
    }
    Ok(true)
}

/// Not a symbolic link that leads nowhere: that could be a directory tomorrow.
pub(super) async fn is_a_file(store: &dyn Driver, path: &StorePath) -> Result<(), CollectError> {
    match store.stat(path).await {
        Ok(_) => Ok(()),
        Err(StoreError::NotFound(_)) => Err(Doubt::LeadsNowhere.at(path)),
        Err(error) => Err(error.into()),
    }
}
