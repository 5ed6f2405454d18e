//! The reference's keys, and what their values say.
//!
//! ```text
//! blobs::<digest>                         hash: digest, size, mediatype
//! repository::<name>::blobs               set of digests
//! repository::<name>::blobs::<digest>     hash: mediatype, and ours: roadstead, the epoch in hexadecimal
//! roadstead::mark                         ours: tells one Redis from another
//! ```
//! Any of them may have been evicted; then the entry says nothing. No transaction: the three may lie on three nodes of a
//! cluster.

use std::borrow::Cow;

use redis::{Cmd, FromRedisValue as _, Value, cmd};

use crate::fact::{Descriptor, Key};

/// The field that is ours. The reference asks for its own fields by name and never sees it.
const EPOCH: &str = "roadstead";

/// The reference has no key of this beginning.
const MARK: &str = "roadstead::mark";

/// Puts a mark where there is none, and reads the one that is there.
pub(crate) fn mark(proposed: &str) -> Vec<Cmd> {
    let (mut set, mut get) = (cmd("SETNX"), cmd("GET"));
    set.arg(MARK).arg(proposed);
    get.arg(MARK);
    vec![set, get]
}

pub(crate) fn parse_mark(answers: &[Value]) -> Option<String> {
    let found = answers.last()?;
    Option::<String>::from_redis_value_ref(found).ok()?
}

fn blob(key: &Key) -> String {
    format!("blobs::{}", key.digest)
}

fn members(key: &Key) -> String {
    format!("repository::{}::blobs", key.name)
}

fn member(key: &Key) -> String {
    format!("repository::{}::blobs::{}", key.name, key.digest)
}

pub(crate) fn lookup(key: &Key) -> Vec<Cmd> {
    let (mut is_member, mut describes, mut proves) = (cmd("SISMEMBER"), cmd("HMGET"), cmd("HMGET"));
    is_member.arg(members(key)).arg(key.digest.to_string());
    describes
        .arg(blob(key))
        .arg(&["digest", "size", "mediatype"]);
    proves.arg(member(key)).arg(&["mediatype", EPOCH]);
    vec![is_member, describes, proves]
}

/// What the answers to [`lookup`] say: the descriptor, and the epoch for which the entry proves that the blob exists.
pub(crate) fn parse(key: &Key, answers: &[Value]) -> Option<(Descriptor, Option<u64>)> {
    let [is_member, describes, proves] = answers else {
        return None;
    };
    let texts = |value: &Value| Vec::<Option<String>>::from_redis_value_ref(value).ok();
    let [digest, size, media_type] = <[_; 3]>::try_from(texts(describes)?).ok()?;
    if digest? != key.digest.to_string() {
        return None;
    }
    let size: u64 = size?.parse().ok()?;
    let [own_type, epoch] = <[_; 2]>::try_from(texts(proves)?).ok()?;
    let is_member = bool::from_redis_value_ref(is_member).ok()?;
    // Whole only with a type of the repository's own: the reference reads it so, too.
    let epoch = if is_member && own_type.is_some() {
        epoch
    } else {
        None
    };
    let epoch = epoch.and_then(|epoch| u64::from_str_radix(&epoch, 16).ok());
    let media_type = own_type
        .or(media_type)
        .filter(|media_type| !media_type.is_empty())
        .unwrap_or_else(|| "application/octet-stream".to_owned());
    let descriptor = Descriptor {
        size,
        media_type: Cow::Owned(media_type),
    };
    Some((descriptor, epoch))
}

/// In the reference's order. Without an epoch the entry says what the reference's would.
pub(crate) fn fill(key: &Key, descriptor: &Descriptor, epoch: Option<u64>) -> Vec<Cmd> {
    let media_type = &*descriptor.media_type;
    let digest = key.digest.to_string();
    let (mut describe, mut first_type) = (cmd("HMSET"), cmd("HSETNX"));
    describe
        .arg(blob(key))
        .arg("digest")
        .arg(&digest)
        .arg("size")
        .arg(descriptor.size);
    first_type.arg(blob(key)).arg("mediatype").arg(media_type);
    let (mut add, mut prove) = (cmd("SADD"), cmd("HMSET"));
    add.arg(members(key)).arg(&digest);
    prove.arg(member(key)).arg("mediatype").arg(media_type);
    match epoch {
        Some(epoch) => prove.arg(EPOCH).arg(format!("{epoch:016x}")),
        // One of an earlier epoch must not come to stand beside it.
        None => prove.arg(EPOCH).arg(""),
    };
    vec![describe, first_type, add, prove]
}

pub(crate) fn clear(key: &Key) -> Vec<Cmd> {
    let (mut remove, mut unprove, mut undescribe) = (cmd("SREM"), cmd("DEL"), cmd("HDEL"));
    remove.arg(members(key)).arg(key.digest.to_string());
    unprove.arg(member(key));
    undescribe
        .arg(blob(key))
        .arg(&["digest", "size", "mediatype"]);
    vec![remove, unprove, undescribe]
}

#[cfg(test)]
mod tests {
    use roadstead_oci::{Algorithm, Digest};

    use super::*;

    fn key() -> Key {
        let name = "team/app".parse().expect("a name");
        Key::blob(&name, &Digest::of(Algorithm::CANONICAL, b"a blob"))
    }

    fn words(command: &Cmd) -> Vec<String> {
        command
            .args_iter()
            .map(|word| match word {
                redis::Arg::Simple(word) => String::from_utf8(word.to_vec()).expect("text"),
                _ => panic!("a cursor"),
            })
            .collect()
    }

    fn texts(texts: &[Option<&str>]) -> Value {
        let value = |text: Option<&str>| match text {
            Some(text) => Value::BulkString(text.as_bytes().to_vec()),
            None => Value::Nil,
        };
        Value::Array(texts.iter().copied().map(value).collect())
    }

    fn read(
        member: i64,
        describes: &[Option<&str>],
        proves: &[Option<&str>],
    ) -> Option<(Descriptor, Option<u64>)> {
        parse(
            &key(),
            &[Value::Int(member), texts(describes), texts(proves)],
        )
    }

    #[test]
    fn the_keys_are_the_references() {
        let digest = key().digest.to_string();
        let fill = fill(&key(), &Descriptor::of_blob(6), Some(10));
        let blob = format!("blobs::{digest}");
        let own = format!("repository::team/app::blobs::{digest}");
        let octets = "application/octet-stream";
        let expected: [&[&str]; 4] = [
            &["HMSET", &blob, "digest", &digest, "size", "6"],
            &["HSETNX", &blob, "mediatype", octets],
            &["SADD", "repository::team/app::blobs", &digest],
            &[
                "HMSET",
                &own,
                "mediatype",
                octets,
                "roadstead",
                "000000000000000a",
            ],
        ];
        for (command, expected) in fill.iter().zip(expected) {
            assert_eq!(words(command), expected);
        }
    }

    #[test]
    fn only_a_whole_entry_says_something() {
        let digest = key().digest.to_string();
        let (of, octets) = (Some(digest.as_str()), Some("application/octet-stream"));
        let six = Descriptor::of_blob(6);
        let whole = read(1, &[of, Some("6"), octets], &[octets, Some("a")]);
        assert_eq!(whole, Some((six.clone(), Some(10))));
        // The reference's, or one that lost a part: size and type, and no proof.
        for (member, proves) in [
            (1, [octets, None]),
            (1, [None, Some("a")]),
            (1, [octets, Some("")]),
            (1, [octets, Some("not hexadecimal")]),
            (0, [octets, Some("a")]),
        ] {
            let described = read(member, &[of, Some("6"), octets], &proves);
            assert_eq!(described, Some((six.clone(), None)), "{member} {proves:?}");
        }
        for describes in [
            [None, Some("6"), octets],
            [of, None, octets],
            [of, Some("-6"), octets],
            [of, Some(""), octets],
            [Some("sha256:other"), Some("6"), octets],
        ] {
            assert_eq!(
                read(1, &describes, &[octets, Some("a")]),
                None,
                "{describes:?}"
            );
        }
    }

    #[test]
    fn nonsense_says_nothing() {
        assert_eq!(parse(&key(), &[]), None);
        assert_eq!(
            parse(&key(), &[Value::Okay, Value::Nil, Value::Int(3)]),
            None
        );
        assert_eq!(read(1, &[], &[]), None);
    }
}
