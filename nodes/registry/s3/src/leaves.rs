//! Looking into many directories for the same file: a listing without a delimiter tells all of them, a thousand at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use md5::{Digest as _, Md5};
use roadstead_storage::{Error, Leaf, LeafFile, Read, StorePath};

use crate::failure::Failure;
use crate::list::{Listing, PAGE};
use crate::read;
use crate::store::{AT_ONCE, Store};

/// Files read for one directory, before the next are begun.
const READ_AT_ONCE: usize = 1024;

/// A file of which the content may be wanted.
struct Unread {
    at: usize,
    path: StorePath,
    limit: usize,
}

pub(crate) async fn leaves(
    store: &Arc<Store>,
    directory: &StorePath,
    file: &str,
    read: Read<'_>,
) -> Result<Vec<Leaf>, Error> {
    let prefix = store.keys.directory(directory);
    let listing = Listing {
        prefix: prefix.clone(),
        page: PAGE,
        ..Listing::default()
    };
    let (mut seen, mut token) = (Seen::new(directory, file, read), None);
    loop {
        let page = listing.page(store, token).await.map_err(Failure::other)?;
        for object in page.contents() {
            let Some(rest) = object.key().and_then(|key| key.strip_prefix(&prefix)) else {
                continue;
            };
            let modified = object.last_modified().copied();
            let found = LeafFile {
                size: object
                    .size()
                    .and_then(|size| size.try_into().ok())
                    .unwrap_or(0),
                modified: modified.and_then(|time| SystemTime::try_from(time).ok()),
                content: None,
            };
            seen.add(rest, found, object.e_tag());
        }
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    let Seen {
        mut leaves, unread, ..
    } = seen;
    for some in unread.chunks(READ_AT_ONCE) {
        read_into(&mut leaves, store, some).await?;
    }
    Ok(leaves)
}

async fn read_into(
    leaves: &mut [Leaf],
    store: &Arc<Store>,
    unread: &[Unread],
) -> Result<(), Error> {
    let reads: Vec<_> = unread
        .iter()
        .map(|one| async { (one.at, read::whole(store, &one.path, one.limit).await) })
        .collect();
    let reads: Vec<_> = stream::iter(reads)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for (at, content) in reads {
        match content {
            Ok(content) => {
                if let Some(file) = &mut leaves[at].file {
                    file.content = Some(content);
                }
            }
            Err(Error::NotFound(_)) => leaves[at].file = None,
            Err(Error::TooLarge { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

struct Seen<'a> {
    directory: &'a StorePath,
    file: &'a str,
    read: Read<'a>,
    leaves: Vec<Leaf>,
    /// Where in `leaves` a name is. Keys with one name need not follow each other: `a.b/` comes between `a` and `a/`.
    at: BTreeMap<String, usize>,
    unread: Vec<Unread>,
}

impl<'a> Seen<'a> {
    fn new(directory: &'a StorePath, file: &'a str, read: Read<'a>) -> Self {
        Self {
            directory,
            file,
            read,
            leaves: Vec::new(),
            at: BTreeMap::new(),
            unread: Vec::new(),
        }
    }

    fn add(&mut self, rest: &str, mut found: LeafFile, etag: Option<&str>) {
        let (name, inner) = match rest.split_once('/') {
            None => (rest, None),
            Some((name, inner)) => (name, Some(inner)),
        };
        // Consoles make an object with the directory's own key.
        if name.is_empty() {
            return;
        }
        let next = self.leaves.len();
        let at = *self.at.entry(name.to_owned()).or_insert(next);
        if at == next {
            self.leaves.push(Leaf {
                name: name.to_owned(),
                is_directory: false,
                file: None,
            });
        }
        self.leaves[at].is_directory |= inner.is_some();
        if inner != Some(self.file) {
            return;
        }
        let limit = match self.read {
            Read::Nothing => None,
            Read::All(limit) | Read::Unless(limit, _) => Some(limit),
        };
        if let Read::Unless(_, guess) = self.read
            && let Some(guess) = guess(name)
            && guess.len() as u64 == found.size
            && etag.is_some_and(|etag| is_of(etag, &guess))
        {
            found.content = Some(guess);
        } else if let Some(limit) = limit.filter(|limit| found.size <= *limit as u64)
            && let Ok(path) = self.directory.join(&format!("{name}/{}", self.file))
        {
            self.unread.push(Unread { at, path, limit });
        }
        self.leaves[at].file = Some(found);
    }
}

/// Of an object that was put in one request, and that the store has not encrypted with a key of its own, the entity tag is
/// the hash of its content. Another tag is not the hash of anything that was guessed.
fn is_of(etag: &str, content: &Bytes) -> bool {
    let digits = Md5::digest(content)
        .into_iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16));
    digits.eq(etag.trim_matches('"').chars())
}

pub(crate) async fn get_each(
    store: &Arc<Store>,
    paths: &[StorePath],
    limit: usize,
) -> Vec<Result<Bytes, Error>> {
    let reads: Vec<_> = paths
        .iter()
        .map(|path| read::whole(store, path, limit))
        .collect();
    stream::iter(reads).buffered(AT_ONCE).collect().await
}
