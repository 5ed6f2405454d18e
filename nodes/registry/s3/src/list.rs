//! Listing: a bucket's keys as directories, in the order of names.
//!
//! A bucket lists by key, and a directory's key ends in a slash: `a-b` comes before `a/`, while the name `a` comes
//! before `a-b`. Where a listing is cut off, directories may be missing that sort before what was seen. Only names that
//! the last one seen begins with can be, so those few are asked for.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use roadstead_storage::{Entry, Error, StorePath};

use crate::failure::Failure;
use crate::store::{AT_ONCE, Store};

/// What one answer holds at most.
pub(crate) const PAGE: i32 = 1000;
/// Asked for besides what is wanted: the directory itself, what came before, and directories out of order.
const MARGIN: usize = 8;

/// What to list, of which a request answers a page.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) prefix: String,
    /// Keys behind it.
    pub(crate) after: Option<String>,
    /// What lies below a slash is told as one.
    pub(crate) folded: bool,
    /// Keys of a page.
    pub(crate) page: i32,
}

impl Listing {
    pub(crate) async fn page(
        &self,
        store: &Store,
        token: Option<String>,
    ) -> Result<ListObjectsV2Output, Failure> {
        let list = store.clients.quick.list_objects_v2();
        let list = list.bucket(&store.bucket).prefix(&self.prefix);
        let list = list.set_start_after(self.after.clone().filter(|_| token.is_none()));
        let list = list.set_delimiter(self.folded.then(|| "/".to_owned()));
        let list = list.max_keys(self.page).set_continuation_token(token);
        let listed = list.send().await;
        listed.map_err(|error| Failure::of("ListObjectsV2", &self.prefix, &error))
    }
}

/// Whether anything lies in a directory.
pub(crate) async fn is_directory(store: &Store, prefix: &str) -> Result<bool, Failure> {
    let listing = Listing {
        prefix: prefix.to_owned(),
        page: 1,
        ..Listing::default()
    };
    let page = listing.page(store, None).await?;
    Ok(!page.contents().is_empty())
}

/// Names of a directory, as [`roadstead_storage::Driver::list`] wants them.
pub(crate) async fn list(
    store: &Store,
    directory: &StorePath,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Entry>, Error> {
    let prefix = store.keys.directory(directory);
    let seen = names(store, &prefix, after, limit);
    let seen = seen.await.map_err(Failure::other)?;
    if seen.is_empty() && !is_directory(store, &prefix).await.map_err(Failure::other)? {
        return Err(Error::NotFound(directory.clone()));
    }
    let entry = |(name, is_directory)| Entry { name, is_directory };
    Ok(seen.into_iter().take(limit).map(entry).collect())
}

async fn names(
    store: &Store,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<BTreeMap<String, bool>, Failure> {
    let mut names = Names::new(prefix, after);
    if limit == 0 {
        return Ok(names.seen);
    }
    let page = i32::try_from(limit.saturating_add(MARGIN)).unwrap_or(PAGE);
    let listing = Listing {
        prefix: prefix.to_owned(),
        after: after.map(|after| format!("{prefix}{after}")),
        folded: true,
        page: page.min(PAGE),
    };
    let mut token = None;
    loop {
        let page = listing.page(store, token).await?;
        names.add(&page);
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok(names.seen);
        }
        if names.seen.len() >= limit {
            break;
        }
    }
    let missed: Vec<String> = names.missed();
    let missed: Vec<String> = stream::iter(missed)
        .map(|name| async move {
            let there = is_directory(store, &format!("{prefix}{name}/")).await?;
            Ok(there.then_some(name))
        })
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|name| std::future::ready(Ok(name)))
        .try_collect()
        .await?;
    names
        .seen
        .extend(missed.into_iter().map(|name| (name, true)));
    Ok(names.seen)
}

/// Names behind one, from pages of keys.
#[derive(Debug)]
struct Names<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    /// Whether each is a directory.
    seen: BTreeMap<String, bool>,
    /// The name of the last key.
    last: String,
}

impl<'a> Names<'a> {
    fn new(prefix: &'a str, after: Option<&'a str>) -> Self {
        Self {
            prefix,
            after,
            seen: BTreeMap::new(),
            last: String::new(),
        }
    }

    fn add(&mut self, page: &ListObjectsV2Output) {
        let files = page.contents().iter();
        let files = files.filter_map(|object| Some((object.key()?, false)));
        let directories = page.common_prefixes().iter();
        let directories = directories.filter_map(|directory| Some((directory.prefix()?, true)));
        let mut last = "";
        for (key, is_directory) in files.chain(directories) {
            let Some(rest) = key.strip_prefix(self.prefix) else {
                continue;
            };
            last = last.max(rest);
            let name = rest.strip_suffix('/').unwrap_or(rest);
            // Consoles make an object with the directory's own key.
            let named = !name.is_empty() && !name.contains('/');
            if named && self.after.is_none_or(|after| name > after) {
                *self.seen.entry(name.to_owned()).or_default() |= is_directory;
            }
        }
        last.trim_end_matches('/').clone_into(&mut self.last);
    }

    /// Directories whose keys come behind the last, and whose names before it.
    fn missed(&self) -> Vec<String> {
        let cuts = self.last.match_indices(['-', '.']);
        let names = cuts.filter_map(|(at, _)| self.last.get(..at));
        let unseen = |name: &&str| {
            !name.is_empty()
                && self.after.is_none_or(|after| *name > after)
                && self.seen.get(*name) != Some(&true)
        };
        names.filter(unseen).map(str::to_owned).collect()
    }
}

/// Finished places that are older.
pub(crate) async fn staged(
    store: &Store,
    before: SystemTime,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, Failure> {
    let prefix = store.keys.places();
    let listing = Listing {
        after: after.map(|after| format!("{prefix}{after}")),
        page: PAGE,
        prefix,
        ..Listing::default()
    };
    let (mut old, mut token) = (Vec::new(), None);
    while old.len() < limit {
        let page = listing.page(store, token).await?;
        for object in page.contents() {
            let modified = object.last_modified().copied();
            let modified = modified.and_then(|time| SystemTime::try_from(time).ok());
            let place = object
                .key()
                .and_then(|key| key.strip_prefix(&listing.prefix));
            if let Some(place) = place
                && modified.is_some_and(|modified| modified < before)
                && store.keys.place(place).is_some()
            {
                old.push(place.to_owned());
            }
        }
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    old.truncate(limit);
    Ok(old)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{CommonPrefix, Object};

    use super::*;

    fn page(files: &[&str], directories: &[&str]) -> ListObjectsV2Output {
        let file = |key: &&str| Object::builder().key(*key).build();
        let directory = |key: &&str| CommonPrefix::builder().prefix(*key).build();
        ListObjectsV2Output::builder()
            .set_contents(Some(files.iter().map(file).collect()))
            .set_common_prefixes(Some(directories.iter().map(directory).collect()))
            .build()
    }

    #[test]
    fn names_that_a_cut_off_page_may_miss_are_known() {
        let mut names = Names::new("d/", Some("1.0"));
        names.add(&page(&["d/", "d/1.0-a"], &["d/1.0/", "d/1.2.3-rc.1/"]));
        assert_eq!(
            names.seen,
            [("1.0-a".to_owned(), false), ("1.2.3-rc.1".to_owned(), true)].into()
        );
        assert_eq!(names.missed(), ["1.2", "1.2.3", "1.2.3-rc"]);
    }

    #[test]
    fn a_name_of_both_is_a_directory() {
        let mut names = Names::new("", None);
        names.add(&page(&["a"], &["a/"]));
        assert_eq!(names.seen, [("a".to_owned(), true)].into());
    }
}
