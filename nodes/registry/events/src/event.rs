//! What happened, and how it is told: the envelope of the reference, to the byte.

use std::fmt;

use bytes::Bytes;
use roadstead_oci::{Descriptor, Digest, Name, Platform, Tag};
use serde::ser::{Error as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use serde_json::ser::PrettyFormatter;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// The media type of an envelope.
pub const CONTENT_TYPE: &str = "application/vnd.docker.distribution.events.v2+json";

/// The reference indents by so much.
const INDENT: &[u8] = b"   ";

/// Something that happened in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Tells deliveries of the same event apart from those of another: an endpoint may get one twice.
    pub id: Uuid,
    /// When it happened.
    #[serde(serialize_with = "rfc3339")]
    pub timestamp: OffsetDateTime,
    /// What happened.
    pub action: Action,
    /// To what.
    pub target: Target,
    /// The request that brought it about.
    pub request: Request,
    /// The user that was authenticated; empty without authentication.
    #[serde(serialize_with = "actor")]
    pub actor: String,
    /// The node where it happened.
    pub source: Source,
}

/// What is told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A manifest or a blob came in.
    Push,
    /// A manifest or a blob was asked for, with `GET` or `HEAD`.
    Pull,
    /// A blob was linked from another repository.
    Mount,
    /// A manifest, a tag, a blob or a repository was removed.
    Delete,
}

impl Action {
    /// As in the envelope, and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Mount => "mount",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an event is about. What is empty, zero or absent does not appear in the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Of the content; empty for a deletion.
    pub media_type: String,
    /// Bytes of the content; sent as `size` and, for old consumers, as `length`.
    pub size: u64,
    /// Of the content; absent where a tag or a repository was removed.
    pub digest: Option<Digest>,
    /// Where it happened.
    pub repository: Name,
    /// Where a blob was mounted from.
    pub from_repository: Option<Name>,
    /// Where the content can be fetched; empty for a deletion.
    pub url: String,
    /// The tag that was pushed, pulled or removed.
    pub tag: Option<Tag>,
    /// What a manifest names, where `events.includereferences` asks for it.
    pub references: Vec<Descriptor>,
}

impl Target {
    /// The repository alone; the rest is for the caller to fill in.
    pub fn in_repository(repository: Name) -> Self {
        Self {
            media_type: String::new(),
            size: 0,
            digest: None,
            repository,
            from_repository: None,
            url: String::new(),
            tag: None,
            references: Vec::new(),
        }
    }
}

/// The request that brought an event about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Request {
    /// The request's id, as in the log.
    pub id: String,
    /// The client's address, with or without a port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub addr: String,
    /// The registry's name, as the client has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// As in HTTP.
    pub method: String,
    /// The client's `User-Agent`.
    #[serde(rename = "useragent")]
    pub user_agent: String,
}

/// The node where an event happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Host name and port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub addr: String,
    /// Of the process: another one after each start.
    #[serde(rename = "instanceID", skip_serializing_if = "String::is_empty")]
    pub instance_id: String,
}

impl Event {
    /// The envelope with this event alone, as it goes to every endpoint. Fails where the timestamp's year has no four
    /// digits.
    pub(crate) fn envelope(&self) -> Result<Bytes, serde_json::Error> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            events: [&'a Event; 1],
        }
        let mut json = Vec::with_capacity(1024);
        let formatter = PrettyFormatter::with_indent(INDENT);
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, formatter);
        Envelope { events: [self] }.serialize(&mut serializer)?;
        Ok(escape(&json).into())
    }
}

/// Go's encoder writes these as escapes, so that JSON can stand in HTML and JavaScript. In valid JSON they occur in
/// strings only.
const ESCAPED: [(&[u8], &[u8]); 5] = [
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u{2028}".as_bytes(), b"\\u2028"),
    ("\u{2029}".as_bytes(), b"\\u2029"),
];

fn escape(json: &[u8]) -> Vec<u8> {
    let begins = |byte: &u8| matches!(byte, b'<' | b'>' | b'&' | 0xe2);
    let mut escaped = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some(plain) = rest.iter().position(begins) {
        let (before, from) = rest.split_at(plain);
        escaped.extend_from_slice(before);
        let mut known = ESCAPED.iter();
        let (written, after) = known
            .find_map(|(character, escape)| Some((*escape, from.strip_prefix(*character)?)))
            .unwrap_or_else(|| from.split_at(1));
        escaped.extend_from_slice(written);
        rest = after;
    }
    escaped.extend_from_slice(rest);
    escaped
}

fn rfc3339<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time.format(&Rfc3339).map_err(S::Error::custom)?;
    serializer.serialize_str(&text)
}

fn actor<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Actor<'a> {
        #[serde(skip_serializing_if = "str::is_empty")]
        name: &'a str,
    }
    Actor { name }.serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(size: &u64) -> bool {
    *size == 0
}

/// A target with the reference's names, in its order.
impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            #[serde(skip_serializing_if = "str::is_empty")]
            media_type: &'a str,
            #[serde(skip_serializing_if = "is_zero")]
            size: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            digest: Option<&'a Digest>,
            #[serde(skip_serializing_if = "is_zero")]
            length: u64,
            repository: &'a Name,
            #[serde(skip_serializing_if = "Option::is_none")]
            from_repository: Option<&'a Name>,
            #[serde(skip_serializing_if = "str::is_empty")]
            url: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            tag: Option<String>,
            #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "references")]
            references: &'a [Descriptor],
        }
        Wire {
            media_type: &self.media_type,
            size: self.size,
            digest: self.digest.as_ref(),
            length: self.size,
            repository: &self.repository,
            from_repository: self.from_repository.as_ref(),
            url: &self.url,
            tag: self.tag.as_ref().map(Tag::to_string),
            references: &self.references,
        }
        .serialize(serializer)
    }
}

/// The reference's order is another than that of the distribution specification, and empty is absent.
fn references<S: Serializer>(listed: &[Descriptor], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire<'a> {
        #[serde(skip_serializing_if = "str::is_empty")]
        media_type: &'a str,
        #[serde(skip_serializing_if = "is_zero")]
        size: u64,
        digest: &'a Digest,
        #[serde(skip_serializing_if = "Option::is_none")]
        urls: Option<&'a [String]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations: Option<&'a std::collections::BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        platform: Option<&'a Platform>,
        #[serde(skip_serializing_if = "Option::is_none")]
        artifact_type: Option<&'a str>,
    }
    let mut sequence = serializer.serialize_seq(Some(listed.len()))?;
    for descriptor in listed {
        sequence.serialize_element(&Wire {
            media_type: &descriptor.media_type,
            size: descriptor.size,
            digest: &descriptor.digest,
            urls: descriptor.urls.as_deref().filter(|urls| !urls.is_empty()),
            annotations: descriptor
                .annotations
                .as_ref()
                .filter(|map| !map.is_empty()),
            platform: descriptor.platform.as_ref(),
            artifact_type: descriptor.artifact_type.as_deref(),
        })?;
    }
    sequence.end()
}

#[cfg(test)]
mod tests;
