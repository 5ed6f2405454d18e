//! What lies in Redis, and what of it is believed.

use roadstead_cache::EpochSource;

use super::server::Server;
use super::{at, cache, key, learn, node, redis, seven};

#[tokio::test]
async fn an_entry_is_the_references_and_a_field() {
    let server = Server::start(&[]).await;
    let (cache, key) = (node(redis(at(server.port)), 0x1f).await, key("a blob"));
    learn(&cache, &key).await;
    let digest = &key.digest;
    let blob = format!("blobs::{digest}");
    let own = format!("repository::team/app::blobs::{digest}");
    let mut keys: Vec<String> = server
        .says(&["KEYS", "*"])
        .lines()
        .map(str::to_owned)
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [blob.as_str(), "repository::team/app::blobs", own.as_str()]
    );
    let octets = "application/octet-stream";
    assert_eq!(
        server.says(&["HMGET", &blob, "digest", "size", "mediatype"]),
        format!("{digest}\n7\n{octets}")
    );
    assert_eq!(server.says(&["HLEN", &blob]), "3");
    assert_eq!(
        server.says(&["SMEMBERS", "repository::team/app::blobs"]),
        digest.to_string()
    );
    assert_eq!(
        server.says(&["HGETALL", &own]),
        format!("mediatype\n{octets}\nroadstead\n000000000000001f")
    );
    assert!(cache.removing(&key).await.end().await);
    assert_eq!(server.says(&["KEYS", "*"]), "");
}

#[tokio::test]
async fn an_entry_proves_existence_in_its_epoch_only() {
    let server = Server::start(&[]).await;
    let (one, key) = (node(redis(at(server.port)), 7).await, key("a blob"));
    learn(&one, &key).await;
    let other = node(redis(at(server.port)), 7).await;
    assert_eq!(
        other.find(other.begin(), &key).await,
        Some(seven()),
        "another node"
    );
    other.replace_epoch(8);
    assert_eq!(other.find(other.begin(), &key).await, None);
    assert_eq!(
        other.describe(&key).await,
        Some(seven()),
        "its size holds for ever"
    );
    let restarted = cache(redis(at(server.port)), EpochSource::Own).await;
    assert_eq!(
        restarted.find(restarted.begin(), &key).await,
        None,
        "from an earlier life"
    );
    learn(&restarted, &key).await;
    assert_eq!(restarted.find(restarted.begin(), &key).await, Some(seven()));
    restarted.forget_all();
    assert_eq!(restarted.find(restarted.begin(), &key).await, None);
}

/// C36: what was evicted in part is a miss.
#[tokio::test]
async fn an_entry_that_lost_a_part_is_no_entry() {
    let server = Server::start(&[]).await;
    let (cache, key) = (node(redis(at(server.port)), 7).await, key("a blob"));
    let digest = &key.digest;
    for lost in [
        format!("blobs::{digest}"),
        "repository::team/app::blobs".to_owned(),
        format!("repository::team/app::blobs::{digest}"),
    ] {
        learn(&cache, &key).await;
        assert_eq!(server.says(&["DEL", &lost]), "1");
        assert_eq!(
            cache.find(cache.begin(), &key).await,
            None,
            "without {lost}"
        );
    }
    learn(&cache, &key).await;
    assert_eq!(server.says(&["FLUSHALL"]), "OK");
    assert_eq!(cache.find(cache.begin(), &key).await, None);
    // Something else under the reference's names.
    server.says(&["SET", "repository::team/app::blobs", "nonsense"]);
    assert_eq!(cache.find(cache.begin(), &key).await, None);
    assert_eq!(cache.redis_is_up(), Some(true), "a refusal is no failure");
}

#[tokio::test]
async fn without_trust_redis_proves_nothing() {
    let server = Server::start(&[]).await;
    let (cache, key) = (node(redis(at(server.port)), 7).await, key("a blob"));
    learn(&cache, &key).await;
    cache.trust(false);
    assert_eq!(cache.find(cache.begin(), &key).await, None);
    cache.trust(true);
    assert_eq!(cache.find(cache.begin(), &key).await, Some(seven()));
}

#[tokio::test]
async fn a_full_redis_is_asked_and_not_given_up() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let (cache, kept) = (node(redis(at(server.port)), 7).await, key("kept"));
    learn(&cache, &kept).await;
    assert_eq!(server.says(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    let refused = key("refused");
    cache.learn(cache.begin(), &refused, &seven());
    // A removal of the same waits for what is being written.
    assert!(
        cache.removing(&refused).await.end().await,
        "removing is possible"
    );
    assert_eq!(cache.find(cache.begin(), &kept).await, Some(seven()));
    assert!(cache.removing(&kept).await.end().await);
    assert_eq!(cache.find(cache.begin(), &kept).await, None);
    assert_eq!(cache.redis_is_up(), Some(true));
}

#[tokio::test]
async fn what_is_evicted_is_a_miss() {
    let server = Server::start(&["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let cache = node(redis(at(server.port)), 7).await;
    let first = key("first");
    learn(&cache, &first).await;
    for number in 0..8 {
        // Half a mebibyte.
        server.says(&["SETRANGE", &format!("filler-{number}"), "524287", "x"]);
        let found = cache.find(cache.begin(), &first).await;
        assert!(found.is_none_or(|found| found == seven()));
    }
    let last = key("last");
    learn(&cache, &last).await;
    assert_eq!(cache.redis_is_up(), Some(true));
}
