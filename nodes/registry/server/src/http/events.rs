//! Telling others what happened (`notifications`): pushes, pulls, mounts and deletions.
//!
//! Of what changed something, the event is on the disk before the client has its answer; of a pull it is noted, and on
//! the disk a moment later.

use std::fmt;

use bytes::Bytes;
use futures::future::join_all;
use roadstead_events::{Action, Event, Events, Request, Source, Target};
use roadstead_oci::{Descriptor, Digest, Manifest, Name, Reference, Tag};
use time::OffsetDateTime;
use uuid::Uuid;

use super::account::user_agent;
use super::request::Call;
use super::{Api, location};

/// Of blobs, as the reference tells it.
const OCTETS: &str = "application/octet-stream";

/// Whom to tell, and what.
#[derive(Clone)]
pub struct Notices {
    pub events: Events,
    /// This node.
    pub source: Source,
    /// Manifests are told with what they name.
    pub include_references: bool,
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}

/// A manifest that came or went out.
#[derive(Debug, Clone, Copy)]
pub(super) struct ManifestSeen<'a> {
    pub(super) name: &'a Name,
    pub(super) reference: &'a Reference,
    pub(super) digest: &'a Digest,
    pub(super) media_type: &'a str,
    pub(super) bytes: &'a Bytes,
}

impl Api {
    pub(super) async fn tell_manifest_pushed(&self, call: &Call, seen: ManifestSeen<'_>) {
        let Some(notices) = self.wanted(Action::Push, seen.media_type) else {
            return;
        };
        let target = notices.manifest(call, seen);
        notices
            .record(notices.event(call, Action::Push, target))
            .await;
    }

    pub(super) fn tell_manifest_pulled(&self, call: &Call, seen: ManifestSeen<'_>) {
        let Some(notices) = self.wanted(Action::Pull, seen.media_type) else {
            return;
        };
        let target = notices.manifest(call, seen);
        notices
            .events
            .note(&notices.event(call, Action::Pull, target));
    }

    pub(super) async fn tell_blob_pushed(&self, call: &Call, name: &Name, digest: &Digest) {
        self.tell_blob(call, Action::Push, name, digest, None).await;
    }

    pub(super) async fn tell_blob_mounted(
        &self,
        call: &Call,
        name: &Name,
        digest: &Digest,
        from: Option<&Name>,
    ) {
        self.tell_blob(call, Action::Mount, name, digest, from)
            .await;
    }

    async fn tell_blob(
        &self,
        call: &Call,
        action: Action,
        name: &Name,
        digest: &Digest,
        from: Option<&Name>,
    ) {
        let Some(notices) = self.wanted(action, OCTETS) else {
            return;
        };
        let size = self.registry.blob_size(name, digest).await.unwrap_or(0);
        let mut target = blob(call, name, digest, size);
        target.from_repository = from.cloned();
        notices.record(notices.event(call, action, target)).await;
    }

    pub(super) fn tell_blob_pulled(&self, call: &Call, name: &Name, digest: &Digest, size: u64) {
        let Some(notices) = self.wanted(Action::Pull, OCTETS) else {
            return;
        };
        let target = blob(call, name, digest, size);
        notices
            .events
            .note(&notices.event(call, Action::Pull, target));
    }

    pub(super) async fn tell_digest_deleted(&self, call: &Call, name: &Name, digest: &Digest) {
        let digest = Some(digest.clone());
        let target = Target {
            digest,
            ..Target::in_repository(name.clone())
        };
        self.tell_deleted(call, target).await;
    }

    pub(super) async fn tell_tag_deleted(&self, call: &Call, name: &Name, tag: &Tag) {
        let tag = Some(tag.clone());
        let target = Target {
            tag,
            ..Target::in_repository(name.clone())
        };
        self.tell_deleted(call, target).await;
    }

    async fn tell_deleted(&self, call: &Call, target: Target) {
        let Some(notices) = self.wanted(Action::Delete, "") else {
            return;
        };
        notices
            .record(notices.event(call, Action::Delete, target))
            .await;
    }

    fn wanted(&self, action: Action, media_type: &str) -> Option<&Notices> {
        let notices = self.surface.notices.as_ref()?;
        notices
            .events
            .is_wanted(action, media_type)
            .then_some(notices)
    }
}

impl Notices {
    fn event(&self, call: &Call, action: Action, target: Target) -> Event {
        Event {
            id: Uuid::new_v4(),
            timestamp: OffsetDateTime::now_utc(),
            action,
            target,
            request: Request {
                id: call.id.clone(),
                addr: call.remote(),
                host: call.via.host.clone().unwrap_or_default(),
                method: call.method.to_string(),
                user_agent: user_agent(&call.headers),
            },
            actor: call.user().unwrap_or_default().to_owned(),
            source: self.source.clone(),
        }
    }

    /// That repositories have these no more, since they were collected: no request brought it about. All of them share the
    /// syncs of the disk.
    pub(crate) async fn collected(&self, links: impl Iterator<Item = (&Name, &Digest)>) {
        if !self.events.is_wanted(Action::Delete, "") {
            return;
        }
        let records = links.map(|(name, digest)| {
            let target = Target {
                digest: Some(digest.clone()),
                ..Target::in_repository(name.clone())
            };
            self.record(Event {
                id: Uuid::new_v4(),
                timestamp: OffsetDateTime::now_utc(),
                action: Action::Delete,
                target,
                request: Request::default(),
                actor: String::new(),
                source: self.source.clone(),
            })
        });
        join_all(records).await;
    }

    fn manifest(&self, call: &Call, seen: ManifestSeen<'_>) -> Target {
        let references = if self.include_references {
            references(seen.bytes)
        } else {
            Vec::new()
        };
        Target {
            media_type: seen.media_type.to_owned(),
            size: seen.bytes.len() as u64,
            digest: Some(seen.digest.clone()),
            url: location::told_of(call, &format!("{}/manifests/{}", seen.name, seen.digest)),
            tag: match seen.reference {
                Reference::Tag(tag) => Some(tag.clone()),
                Reference::Digest(_) => None,
            },
            references,
            ..Target::in_repository(seen.name.clone())
        }
    }

    /// What happened has happened: that it could not be recorded is counted and logged there, and no news to the client.
    async fn record(&self, event: Event) {
        if let Err(error) = self.events.record(&event).await {
            tracing::error!(%error, action = %event.action, "an event is not recorded");
        }
    }
}

fn blob(call: &Call, name: &Name, digest: &Digest, size: u64) -> Target {
    Target {
        media_type: OCTETS.to_owned(),
        size,
        digest: Some(digest.clone()),
        url: location::told_of(call, &format!("{name}/blobs/{digest}")),
        ..Target::in_repository(name.clone())
    }
}

fn references(bytes: &Bytes) -> Vec<Descriptor> {
    let Ok(manifest) = Manifest::parse(bytes, None) else {
        return Vec::new();
    };
    let children = manifest.children();
    children
        .iter()
        .map(|child| child.descriptor().clone())
        .collect()
}
