//! Pushing a manifest: check what it names, store it, then let tags point to it.

use std::borrow::Cow;

use bytes::Bytes;
use roadstead_cache::{Descriptor as Known, Key};
use roadstead_metadata::Unit;
use roadstead_oci::{
    Algorithm, Child, Descriptor, Digest, Manifest, MediaType, Name, Reference, Tag,
};
use roadstead_storage::{Error as StoreError, Put, StorePath, layout};

use crate::Registry;
use crate::collect::admission::{ATTEMPTS, Flight, data, digest_of, of_push, undone};
use crate::error::Error;
use crate::link::{Already, link_to};
use crate::options::{ManifestRules, Platforms};

/// Tags that one request may set besides the one in its path. The specification asks for ten at least.
pub(crate) const MAX_TAGS: usize = 64;

/// References looked up together.
const AT_ONCE: usize = 16;

/// References told to be missing, at most: each is an error of its own in the answer.
const MISSING_TOLD: usize = 100;

/// A manifest as a client sends it.
#[derive(Debug)]
pub(crate) struct Push<'a> {
    pub(crate) name: &'a Name,
    pub(crate) reference: &'a Reference,
    /// Tags to set besides.
    pub(crate) tags: Vec<Tag>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) bytes: Bytes,
}

/// The same, understood.
#[derive(Clone, Copy)]
struct Parsed<'a> {
    name: &'a Name,
    digest: &'a Digest,
    tags: &'a [Tag],
    manifest: &'a Manifest,
    bytes: &'a Bytes,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    pub(crate) subject: Option<Digest>,
}

impl Registry {
    /// Stores a manifest, exactly as it came. What it names is durable, then it is, and only then do tags point to it:
    /// a tag that was good stays good whenever the power goes.
    pub(crate) async fn put_manifest(&self, push: Push<'_>) -> Result<Pushed, Error> {
        let Push {
            name,
            reference,
            mut tags,
            content_type,
            bytes,
        } = push;
        if tags.len() > MAX_TAGS {
            return Err(Error::TooManyTags { limit: MAX_TAGS });
        }
        let manifest = Manifest::parse(&bytes, content_type)?;
        let digest = match reference {
            Reference::Tag(tag) => {
                tags.push(tag.clone());
                Digest::of(Algorithm::CANONICAL, &bytes)
            }
            Reference::Digest(said) => {
                let digest = Digest::of(said.algorithm(), &bytes);
                if digest != *said {
                    return Err(Error::DigestInvalid(format!(
                        "the manifest's digest is {digest}, not {said}"
                    )));
                }
                digest
            }
        };
        tags.sort_unstable();
        tags.dedup();
        // Before it is admitted, however often it is.
        let ticket = self.cache.begin();
        let pushed = Parsed {
            name,
            digest: &digest,
            tags: &tags,
            manifest: &manifest,
            bytes: &bytes,
        };
        self.store_admitted(pushed).await?;
        self.cache.keep_manifest(&digest, &bytes);
        let known = Known {
            size: bytes.len() as u64,
            media_type: Cow::Owned(manifest.media_type.as_str().to_owned()),
        };
        let key = Key::manifest(name, &digest);
        self.cache.learn(ticket, &key, &known);
        Ok(Pushed {
            digest,
            media_type: manifest.media_type,
            subject: manifest.subject.map(|subject| subject.digest),
        })
    }

    /// Again from the beginning where another node deletes it, or something that it names is condemned, meanwhile.
    async fn store_admitted(&self, pushed: Parsed<'_>) -> Result<(), Error> {
        let Parsed {
            name,
            digest,
            manifest,
            ..
        } = pushed;
        let mut flight = self.promise(of_push(name, digest, manifest));
        for _attempt in 0..ATTEMPTS {
            let gone = self.admit(&mut flight).await?;
            self.refuse_without(manifest, &gone)?;
            if !gone.is_empty() {
                self.admit_in_time(&mut flight).await?;
                continue;
            }
            let more = self.check_children(name, manifest).await?;
            if flight.widen(more) {
                continue;
            }
            if self.store_tagged(pushed, &flight).await? {
                return Ok(());
            }
        }
        Err(undone())
    }

    /// What is being reaped does not exist; the manifest itself can be pushed when that is over.
    fn refuse_without(&self, manifest: &Manifest, gone: &[Unit]) -> Result<(), Error> {
        if self.options.manifests.disabled {
            return Ok(());
        }
        let children = manifest.children();
        let children = children.iter().map(|child| &child.descriptor().digest);
        let is_gone = |digest: &&Digest| gone.iter().any(|unit| digest_of(unit) == *digest);
        let mut missing: Vec<Digest> = children.filter(is_gone).cloned().collect();
        missing.sort_unstable();
        missing.dedup();
        missing.truncate(MISSING_TOLD);
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Error::ReferencesUnknown(missing))
        }
    }

    /// The manifest, and then its tags, with no deletion between the two. Whether all of it stands. Not by a node that was
    /// paused since it was admitted for so long that its client may have tagged something newer at another.
    async fn store_tagged(&self, pushed: Parsed<'_>, flight: &Flight) -> Result<bool, Error> {
        let Parsed {
            name, digest, tags, ..
        } = pushed;
        let _no_deletion = self.deletions.held_off(name).await;
        self.store_manifest(pushed, flight).await?;
        if !self.stands(flight)? {
            return Ok(false);
        }
        // What a tag remembers is collected with the manifest: cut off half way, it is not there without it.
        let links = tags.iter().flat_map(|tag| {
            let places = [
                layout::tag_index(name, tag, digest),
                layout::tag_current(name, tag),
            ];
            places.map(|place| link_to(place, digest))
        });
        let put = self.write_under(flight, links.collect(), Already::IsReplaced);
        let put = put.await;
        // Also after a failure: any of them may point there.
        self.deletions.tell(name, digest, tags);
        put?;
        if !self.stands(flight)? {
            return Ok(false);
        }
        // Another node may have deleted the manifest meanwhile, and looked for its tags before they were there.
        Ok(self.lease.is_unlimited()
            || self.linked_manifest(name, digest).await?.as_ref() == Some(digest))
    }

    async fn store_manifest(&self, pushed: Parsed<'_>, flight: &Flight) -> Result<(), Error> {
        let Parsed {
            name,
            digest,
            bytes,
            ..
        } = pushed;
        // What lies there may be torn, if another registry left it; then it is written again.
        let data = self.store.ensure(vec![Put {
            path: layout::blob_data(digest),
            content: bytes.clone(),
        }]);
        let link = link_to(layout::revision_link(name, digest), digest);
        let data = async { Ok::<_, Error>(data.await?) };
        let link = self.write_under(flight, vec![link], Already::IsReplaced);
        tokio::try_join!(data, link)?;
        Ok(())
    }

    /// Makes sure that all the manifest names is in the repository, and durable. Named twice, it is looked up once; of
    /// what is missing, as much is told as helps. Answers with the bytes that links stand for by another name than theirs.
    async fn check_children(&self, name: &Name, manifest: &Manifest) -> Result<Vec<Unit>, Error> {
        let rules = &self.options.manifests;
        if rules.disabled {
            return Ok(Vec::new());
        }
        let mut children = manifest.children();
        children.sort_unstable_by_key(|child| &child.descriptor().digest);
        children.dedup_by(|one, other| one.is_same_as(other));
        let (mut missing, mut others): (Vec<Digest>, _) = (Vec::new(), Vec::new());
        for some in children.chunks(AT_ONCE) {
            let looks = some.iter().map(|child| self.look(name, *child, rules));
            let looks = futures::future::try_join_all(looks).await?;
            for (child, look) in some.iter().zip(looks) {
                let digest = &child.descriptor().digest;
                match look {
                    Look::Absent => missing.push(digest.clone()),
                    Look::Found(found) if found != *digest => others.push(data(&found)),
                    Look::Found(_) | Look::NotAsked => {}
                }
            }
            missing.dedup();
            if missing.len() >= MISSING_TOLD {
                break;
            }
        }
        if missing.is_empty() {
            Ok(others)
        } else {
            missing.truncate(MISSING_TOLD);
            Err(Error::ReferencesUnknown(missing))
        }
    }

    async fn look(
        &self,
        name: &Name,
        child: Child<'_>,
        rules: &ManifestRules,
    ) -> Result<Look, Error> {
        let found = match child {
            Child::Blob(blob) => self.settle_blob(name, &blob.digest).await?,
            Child::Foreign(layer) if layer.urls.as_ref().is_none_or(Vec::is_empty) => {
                self.settle_blob(name, &layer.digest).await?
            }
            Child::Foreign(layer) => {
                check_urls(layer, rules)?;
                return Ok(Look::NotAsked);
            }
            Child::Manifest(manifest) if !must_be_present(manifest, rules) => {
                return Ok(Look::NotAsked);
            }
            Child::Manifest(manifest) => {
                match self.settle_manifest(name, &manifest.digest).await? {
                    None => self.settle_blob(name, &manifest.digest).await?,
                    found => found,
                }
            }
        };
        Ok(found.map_or(Look::Absent, Look::Found))
    }

    pub(crate) async fn settle_blob(
        &self,
        name: &Name,
        digest: &Digest,
    ) -> Result<Option<Digest>, Error> {
        self.settle_linked(layout::layer_link(name, digest)).await
    }

    async fn settle_manifest(&self, name: &Name, digest: &Digest) -> Result<Option<Digest>, Error> {
        self.settle_linked(layout::revision_link(name, digest))
            .await
    }

    /// What a link points to, if both are there; then they are durable.
    async fn settle_linked(&self, link: StorePath) -> Result<Option<Digest>, Error> {
        match self.follow_settled(&link).await? {
            Some(found) => {
                let is_there = self.settled(&[layout::blob_data(&found)]).await?;
                Ok(is_there.then_some(found))
            }
            None => Ok(None),
        }
    }

    /// Whether all of these are there; if so, they are durable.
    async fn settled(&self, paths: &[StorePath]) -> Result<bool, Error> {
        match self.store.settle(paths).await {
            Ok(()) => Ok(true),
            Err(StoreError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// What became of a child.
enum Look {
    /// Its bytes lie under this digest.
    Found(Digest),
    Absent,
    /// It may lie elsewhere.
    NotAsked,
}

fn must_be_present(child: &Descriptor, rules: &ManifestRules) -> bool {
    match &rules.platforms {
        Platforms::All => true,
        Platforms::None => false,
        Platforms::List(listed) => child.platform.as_ref().is_some_and(|platform| {
            listed.iter().any(|(architecture, os)| {
                *architecture == platform.architecture && *os == platform.os
            })
        }),
    }
}

/// URLs of a layer that clients may fetch elsewhere: http or https, without a fragment, and as the rules say.
fn check_urls(layer: &Descriptor, rules: &ManifestRules) -> Result<(), Error> {
    let unruled = rules.allow_urls.is_empty() && rules.deny_urls.is_empty();
    for url in layer.urls.iter().flatten() {
        let lower = url.to_ascii_lowercase();
        let is_web =
            (lower.starts_with("http://") || lower.starts_with("https://")) && !url.contains('#');
        let allowed =
            rules.allow_urls.is_empty() || rules.allow_urls.iter().any(|rule| rule.is_match(url));
        let denied = rules.deny_urls.iter().any(|rule| rule.is_match(url));
        if unruled || !is_web || !allowed || denied {
            let digest = &layer.digest;
            return Err(Error::ManifestRefused(format!(
                "layer {digest} has a URL that validation.manifests.urls does not allow"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "manifest_put_tests.rs"]
mod tests;
