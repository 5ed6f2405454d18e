//! What a server writes about itself, a line each, so that operators can read it.

use bytes::Bytes;

use super::ClaimError;
use crate::{Driver, Error, Put, StorePath};

/// Of the first line: what it is, and in which version.
const TITLE: &str = "roadstead server 1";
/// Longer than any: a host's name has at most 255 bytes.
const LIMIT: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) owner: String,
    pub(super) instance: String,
    pub(super) host: String,
    pub(super) beat: u64,
}

impl Record {
    fn text(&self) -> String {
        let Self {
            owner,
            instance,
            host,
            beat,
        } = self;
        format!("{TITLE}\nowner {owner}\ninstance {instance}\nhost {host}\nbeat {beat}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return None;
        }
        let mut line = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
        Some(Self {
            owner: line("owner")?.to_owned(),
            instance: line("instance")?.to_owned(),
            host: line("host")?.to_owned(),
            beat: line("beat")?.parse().ok()?,
        })
    }
}

pub(super) fn path() -> StorePath {
    StorePath::of(format_args!("/roadstead/server"))
}

/// What is written to learn the time.
pub(super) fn clock() -> StorePath {
    StorePath::of(format_args!("/roadstead/clock"))
}

pub(super) async fn read(store: &dyn Driver) -> Result<Option<Record>, ClaimError> {
    let path = path();
    let content = match store.get(&path, LIMIT).await {
        Err(Error::NotFound(_)) => return Ok(None),
        Err(Error::TooLarge { .. }) => return Err(ClaimError::Strange { path }),
        content => content?,
    };
    let record = str::from_utf8(&content).ok().and_then(Record::parse);
    record.map(Some).ok_or(ClaimError::Strange { path })
}

pub(super) async fn write(store: &dyn Driver, record: &Record) -> Result<(), Error> {
    let content = Bytes::from(record.text());
    let path = path();
    store.put(vec![Put { path, content }]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_the_first_version_wrote() {
        let text = "roadstead server 1\nowner a\ninstance b\nhost c d\nbeat 7\n";
        let record = Record {
            owner: "a".to_owned(),
            instance: "b".to_owned(),
            host: "c d".to_owned(),
            beat: 7,
        };
        assert_eq!(record.text(), text);
        assert_eq!(Record::parse(text), Some(record));
        for strange in ["", "roadstead server 2\n", "roadstead server 1\nowner a\n"] {
            assert_eq!(Record::parse(strange), None);
        }
    }
}
