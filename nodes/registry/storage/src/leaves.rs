//! Looking into every directory of a directory for the same file.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::driver::{Driver, Entry, Leaf, LeafFile, Read};
use crate::{Error, StorePath};

const PAGE: usize = 1000;

/// Looks at a time.
const AT_ONCE: usize = 16;

/// One look for each directory, for stores that know no better.
pub(crate) async fn by_looking<D: Driver + ?Sized>(
    driver: &D,
    directory: &StorePath,
    file: &str,
    read: Read<'_>,
) -> Result<Vec<Leaf>, Error> {
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = match driver.list(directory, after.as_deref(), PAGE).await {
            Err(Error::NotFound(_)) => return Ok(found),
            page => page?,
        };
        let Some(last) = page.last() else {
            return Ok(found);
        };
        after = Some(last.name.clone());
        let looks: Vec<_> = page
            .into_iter()
            .map(|entry| leaf(driver, directory, entry, file, read))
            .collect();
        let looked: Vec<Leaf> = stream::iter(looks)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        found.extend(looked);
    }
}

async fn leaf<D: Driver + ?Sized>(
    driver: &D,
    directory: &StorePath,
    entry: Entry,
    file: &str,
    read: Read<'_>,
) -> Result<Leaf, Error> {
    let Entry { name, is_directory } = entry;
    let path = directory.join(&name).and_then(|path| path.join(file));
    let file = match path {
        Ok(path) if is_directory => look(driver, &path, read).await?,
        // A name that no path holds is the caller's to make sense of.
        _ => None,
    };
    Ok(Leaf {
        name,
        is_directory,
        file,
    })
}

async fn look<D: Driver + ?Sized>(
    driver: &D,
    path: &StorePath,
    read: Read<'_>,
) -> Result<Option<LeafFile>, Error> {
    let stat = match driver.stat(path).await {
        Ok(stat) if !stat.is_directory => stat,
        Ok(_) | Err(Error::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let content = match read {
        Read::Nothing => None,
        Read::All(limit) | Read::Unless(limit, _) => match content(driver, path, limit).await? {
            None => return Ok(None),
            Some(content) => content,
        },
    };
    Ok(Some(LeafFile {
        size: stat.size,
        modified: stat.modified,
        content,
    }))
}

/// `None` when it is gone meanwhile, `Some(None)` when it is too long.
async fn content<D: Driver + ?Sized>(
    driver: &D,
    path: &StorePath,
    limit: usize,
) -> Result<Option<Option<Bytes>>, Error> {
    match driver.get(path, limit).await {
        Ok(content) => Ok(Some(Some(content))),
        Err(Error::TooLarge { .. }) => Ok(Some(None)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
