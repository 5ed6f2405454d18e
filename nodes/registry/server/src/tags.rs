//! Listing tags, in byte order, a page at a time.

use roadstead_oci::{Name, Tag};
use roadstead_storage::{Entry, Error as StoreError, layout};

use crate::Registry;
use crate::error::Error;

/// Entries that are looked at together.
const STEP: usize = 1000;

/// A page of names, and whether there are more behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) more: bool,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            more: false,
        }
    }
}

impl<T> Page<T> {
    /// Of `limit + 1` items that were looked for, the page.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }
}

impl Registry {
    /// At most `limit` tags after `last`.
    pub(crate) async fn tag_list(
        &self,
        name: &Name,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>, Error> {
        self.check_known(name).await?;
        let wanted = if limit == 0 {
            0
        } else {
            limit.saturating_add(1)
        };
        let (mut tags, mut after) = (Vec::new(), last.map(str::to_owned));
        let (mut step, turn) = (wanted.min(STEP), self.turns.long_list());
        while tags.len() < wanted {
            let entries = match self
                .store
                .list(&layout::tags(name), after.as_deref(), step)
                .await
            {
                Err(StoreError::NotFound(_)) => break,
                entries => entries?,
            };
            let Some(end) = entries.last() else { break };
            let is_long = entries.len() >= step;
            after = Some(end.name.clone());
            for some in entries.chunks(STEP) {
                tags.extend(self.complete_tags(name, some).await?);
            }
            step = wanted.saturating_sub(tags.len());
            if is_long && step > 0 {
                turn.take().await?;
            }
        }
        Ok(Page::cut(tags, limit))
    }

    /// A tag that is being written, or was left half written, has no current link and is not one yet.
    async fn complete_tags(&self, name: &Name, entries: &[Entry]) -> Result<Vec<Tag>, Error> {
        let tags: Vec<Tag> = entries
            .iter()
            .filter_map(|entry| entry.name.parse().ok())
            .collect();
        let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        let complete = self
            .store
            .which_hold(&layout::tags(name), layout::CURRENT_LINK, &names)
            .await?;
        let tags = tags.into_iter().zip(complete);
        Ok(tags
            .filter_map(|(tag, complete)| complete.then_some(tag))
            .collect())
    }
}
