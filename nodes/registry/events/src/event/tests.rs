//! The envelopes are frozen in `tests/golden`, and nothing that can be in an event breaks them.

use proptest::prelude::*;
use roadstead_oci::Algorithm;
use serde::Deserialize;
use time::macros::datetime;

use super::*;

fn event(action: Action, target: Target) -> Event {
    Event {
        id: Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef),
        timestamp: datetime!(2026-02-03 04:05:06.120_000_700 UTC),
        action,
        target,
        request: Request {
            id: "77f1b0a2-0000-4000-8000-000000000001".to_owned(),
            addr: "192.0.2.7:51234".to_owned(),
            host: "registry.example.com".to_owned(),
            method: "PUT".to_owned(),
            user_agent: "docker/28.0 <go&co>".to_owned(),
        },
        actor: "alice".to_owned(),
        source: Source {
            addr: "node-1:5000".to_owned(),
            instance_id: "5d1f4a54-0000-4000-8000-000000000002".to_owned(),
        },
    }
}

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

fn target() -> Target {
    Target::in_repository("library/alpine".parse().unwrap())
}

fn manifest() -> Target {
    Target {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        size: 527,
        digest: Some(digest("manifest")),
        url: format!(
            "https://registry.example.com/v2/library/alpine/manifests/{}",
            digest("manifest")
        ),
        tag: Some("3.22".parse().unwrap()),
        ..target()
    }
}

fn blob() -> Target {
    Target {
        media_type: "application/octet-stream".to_owned(),
        size: 32,
        digest: Some(digest("blob")),
        url: format!(
            "https://registry.example.com/v2/library/alpine/blobs/{}",
            digest("blob")
        ),
        ..target()
    }
}

fn descriptor(media_type: &str, content: &str) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest(content),
        size: content.len() as u64,
        urls: None,
        annotations: None,
        artifact_type: None,
        platform: None,
    }
}

fn index() -> Target {
    let mut child = descriptor("application/vnd.oci.image.manifest.v1+json", "child");
    child.platform = Some(Platform {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
    });
    child.annotations = Some([("a".to_owned(), "b".to_owned())].into());
    child.urls = Some(Vec::new());
    let mut artifact = descriptor("", "artifact");
    artifact.artifact_type = Some("application/x".to_owned());
    artifact.urls = Some(vec!["https://example.com/?a&b".to_owned()]);
    Target {
        media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
        references: vec![child, artifact],
        tag: None,
        ..manifest()
    }
}

fn kinds() -> Vec<(&'static str, Event)> {
    let mount = Target {
        from_repository: Some("library/base".parse().unwrap()),
        ..blob()
    };
    let untagged = Target {
        tag: Some("3.22".parse().unwrap()),
        ..target()
    };
    let gone = Target {
        digest: Some(digest("manifest")),
        ..target()
    };
    let mut bare = event(Action::Delete, target());
    bare.request = Request::default();
    bare.actor = String::new();
    bare.source = Source::default();
    bare.timestamp = datetime!(2026-02-03 04:05:06 +02:00);
    vec![
        ("push-manifest", event(Action::Push, manifest())),
        ("push-index-with-references", event(Action::Push, index())),
        ("push-blob", event(Action::Push, blob())),
        ("pull-manifest", event(Action::Pull, manifest())),
        ("pull-blob", event(Action::Pull, blob())),
        ("mount-blob", event(Action::Mount, mount)),
        ("delete-digest", event(Action::Delete, gone)),
        ("delete-tag", event(Action::Delete, untagged)),
        ("delete-repository", bare),
    ]
}

/// A file that is missing is written, and the test fails: look at it, then commit it.
#[test]
fn each_kind_of_event_has_its_frozen_envelope() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    for (kind, event) in kinds() {
        let path = format!("{directory}/{kind}.json");
        let envelope = event.envelope().unwrap();
        let golden = std::fs::read(&path).unwrap_or_else(|_missing| {
            std::fs::write(&path, &envelope).unwrap();
            panic!("{path} was missing and is written anew")
        });
        assert_eq!(
            String::from_utf8_lossy(&envelope),
            String::from_utf8_lossy(&golden),
            "{kind}"
        );
    }
}

#[test]
fn a_year_that_rfc_3339_has_not_is_an_error() {
    let mut event = event(Action::Push, blob());
    event.timestamp = datetime!(-0001-01-01 00:00 UTC);
    event.envelope().unwrap_err();
}

/// An envelope as a consumer reads it that ignores what it does not know.
#[derive(Debug, Deserialize)]
struct Envelope {
    events: Vec<Read>,
}

#[derive(Debug, Deserialize)]
struct Read {
    id: String,
    timestamp: String,
    action: String,
    target: ReadTarget,
    request: ReadRequest,
    actor: ReadActor,
    source: ReadSource,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadTarget {
    media_type: String,
    size: u64,
    digest: String,
    length: u64,
    repository: String,
    from_repository: String,
    url: String,
    tag: String,
    references: Vec<Descriptor>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct ReadRequest {
    id: String,
    addr: String,
    host: String,
    method: String,
    useragent: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReadActor {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReadSource {
    addr: String,
    #[serde(rename = "instanceID")]
    instance_id: String,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[<>&\u{2028}\u{2029}\"\\\\\\x00-\\x1f]{0,8}",
        Just(String::new()),
    ]
}

prop_compose! {
    fn any_descriptor()(
        media_type in text(),
        content in text(),
        size in 1..u64::MAX,
        annotations in proptest::option::of(proptest::collection::btree_map(text(), text(), 1..3)),
        artifact_type in proptest::option::of(text()),
    ) -> Descriptor {
        Descriptor { size, annotations, artifact_type, ..descriptor(&media_type, &content) }
    }
}

prop_compose! {
    fn any_target()(
        media_type in text(),
        size in any::<u64>(),
        content in proptest::option::of(text()),
        from in proptest::option::of("[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}"),
        url in text(),
        tag in proptest::option::of("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}"),
        references in proptest::collection::vec(any_descriptor(), 0..4),
    ) -> Target {
        Target {
            media_type,
            size,
            digest: content.map(|content| digest(&content)),
            repository: "a/b".parse().unwrap(),
            from_repository: from.map(|name| name.parse().unwrap()),
            url,
            tag: tag.map(|tag| tag.parse().unwrap()),
            references,
        }
    }
}

prop_compose! {
    fn any_event()(
        id in any::<u128>(),
        seconds in -62_000_000_000_i64..253_000_000_000,
        nanoseconds in 0_u32..1_000_000_000,
        action in prop_oneof![
            Just(Action::Push), Just(Action::Pull), Just(Action::Mount), Just(Action::Delete)
        ],
        target in any_target(),
        texts in proptest::array::uniform8(text()),
    ) -> Event {
        let [request, addr, host, method, user_agent, actor, node, instance_id] = texts;
        let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        Event {
            id: Uuid::from_u128(id),
            timestamp: time.replace_nanosecond(nanoseconds).unwrap(),
            action,
            target,
            request: Request { id: request, addr, host, method, user_agent },
            actor,
            source: Source { addr: node, instance_id },
        }
    }
}

proptest! {
    #[test]
    fn what_an_event_says_is_what_a_consumer_reads(event in any_event()) {
        let envelope = event.envelope().unwrap();
        let text = std::str::from_utf8(&envelope).unwrap();
        let escaped = ['<', '>', '&', '\u{2028}', '\u{2029}'];
        prop_assert!(!text.contains(escaped));
        let Envelope { events } = serde_json::from_slice(&envelope).unwrap();
        let [read] = events.try_into().unwrap();
        prop_assert_eq!(read.id, event.id.to_string());
        let time = OffsetDateTime::parse(&read.timestamp, &Rfc3339).unwrap();
        prop_assert_eq!(time, event.timestamp);
        prop_assert_eq!(read.action, event.action.as_str());
        let (target, sent) = (read.target, event.target);
        prop_assert_eq!(target.media_type, sent.media_type);
        prop_assert_eq!((target.size, target.length), (sent.size, sent.size));
        prop_assert_eq!(target.digest, sent.digest.map_or_else(String::new, |digest| digest.to_string()));
        prop_assert_eq!(target.repository, sent.repository.to_string());
        prop_assert_eq!(target.from_repository, sent.from_repository.map_or_else(String::new, |name| name.to_string()));
        prop_assert_eq!(target.url, sent.url);
        prop_assert_eq!(target.tag, sent.tag.map_or_else(String::new, |tag| tag.to_string()));
        let lengths = (target.references.len(), sent.references.len());
        prop_assert_eq!(lengths.0, lengths.1);
        for (read, sent) in target.references.iter().zip(&sent.references) {
            prop_assert_eq!(&read.digest, &sent.digest);
            prop_assert_eq!(&read.annotations, &sent.annotations);
            prop_assert_eq!(&read.artifact_type, &sent.artifact_type);
        }
        let Request { id, addr, host, method, user_agent: useragent } = event.request;
        prop_assert_eq!(read.request, ReadRequest { id, addr, host, method, useragent });
        prop_assert_eq!(read.actor.name, event.actor);
        prop_assert_eq!((read.source.addr, read.source.instance_id), (event.source.addr, event.source.instance_id));
    }
}
