//! Redis that is dead, hangs, or comes back with an older state: never an error, never a claim that is not so.

use roadstead_cache::{Cache, EpochSource, RedisOptions};
use rustix::process::Signal;

use super::server::{Server, free_port, wait_for};
use super::{IMPATIENT, at, cache, down, key, learn, redis, seven, up};

fn impatient(port: u16) -> RedisOptions {
    RedisOptions {
        patience: IMPATIENT,
        ..redis(at(port))
    }
}

/// Proves nothing of the key, also when asked again.
async fn is_unknown(cache: &Cache, blob: &str) {
    assert_eq!(cache.find(cache.begin(), &key(blob)).await, None, "{blob}");
}

#[tokio::test]
async fn one_that_was_never_there_costs_nothing_and_is_used_when_it_comes() {
    let port = free_port();
    let cache = cache(redis(at(port)), EpochSource::Own).await;
    assert_eq!(cache.redis_is_up(), Some(false));
    is_unknown(&cache, "a blob").await;
    cache.learn(cache.begin(), &key("a blob"), &seven());
    assert!(!cache.removing(&key("a blob")).await.end().await);
    let _server = Server::start_on(port, &[]).await;
    up(&cache).await;
    learn(&cache, &key("a blob")).await;
}

/// The removal never reached it, and it comes back with the entry.
#[tokio::test]
async fn what_was_removed_while_it_was_dead_stays_removed() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let (cache, blob) = (
        cache(redis(at(server.port)), EpochSource::Own).await,
        key("a blob"),
    );
    learn(&cache, &blob).await;
    server.kill();
    is_unknown(&cache, "a blob").await;
    down(&cache).await;
    assert!(
        !cache.removing(&blob).await.end().await,
        "it was not reached"
    );
    server.restart().await;
    let set = server.says(&["SMEMBERS", "repository::team/app::blobs"]);
    assert_eq!(set, blob.digest.to_string(), "it has the entry");
    up(&cache).await;
    is_unknown(&cache, "a blob").await;
    learn(&cache, &blob).await;
    assert_eq!(
        cache.find(cache.begin(), &blob).await,
        Some(seven()),
        "pushed again"
    );
}

/// It lost what it had not saved: a removal that it had confirmed.
#[tokio::test]
async fn a_removal_that_it_forgot_is_not_forgotten_here() {
    let mut server = Server::start(&[]).await;
    let (cache, blob) = (
        cache(redis(at(server.port)), EpochSource::Own).await,
        key("a blob"),
    );
    learn(&cache, &blob).await;
    assert_eq!(server.says(&["SAVE"]), "OK");
    assert!(cache.removing(&blob).await.end().await);
    server.kill();
    server.restart().await;
    let set = server.says(&["SMEMBERS", "repository::team/app::blobs"]);
    assert_eq!(set, blob.digest.to_string(), "it has the entry");
    // The next question may be the one that finds out that the connection is gone.
    is_unknown(&cache, "a blob").await;
    up(&cache).await;
    is_unknown(&cache, "a blob").await;
}

/// What was sent before the pause is carried out after it, behind the removal's back.
#[tokio::test]
async fn a_paused_one_is_given_up_and_what_it_does_late_is_not_believed() {
    let server = Server::start(&[]).await;
    let (cache, blob) = (
        cache(impatient(server.port), EpochSource::Own).await,
        key("a blob"),
    );
    up(&cache).await;
    server.signal(Signal::STOP);
    cache.learn(cache.begin(), &blob, &seven());
    assert!(!cache.removing(&blob).await.end().await);
    wait_for("it is given up", || async {
        is_unknown(&cache, "another").await;
        cache.redis_is_up().filter(|up| !up)
    })
    .await;
    server.signal(Signal::CONT);
    up(&cache).await;
    is_unknown(&cache, "a blob").await;
    wait_for("it is of use again", || async {
        cache.learn(cache.begin(), &blob, &seven());
        cache.find(cache.begin(), &blob).await
    })
    .await;
}

/// What the store said before a removal, told while it goes on and after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hears_of_what_was_removed() {
    let server = Server::start(&[]).await;
    let cache = cache(redis(at(server.port)), EpochSource::Own).await;
    up(&cache).await;
    let blob = key("a blob");
    for _round in 0..50 {
        let tickets = [cache.begin(); 4];
        let readers = tickets.map(|ticket| {
            let (cache, blob) = (cache.clone(), blob.clone());
            tokio::spawn(async move {
                for _again in 0..10 {
                    cache.learn(ticket, &blob, &seven());
                    cache.find(cache.begin(), &blob).await;
                }
            })
        });
        assert!(cache.removing(&blob).await.end().await);
        is_unknown(&cache, "a blob").await;
        for reader in readers {
            reader.await.expect("a reader ends");
        }
        is_unknown(&cache, "a blob").await;
    }
    assert_eq!(
        server.says(&["DBSIZE"]),
        "0",
        "nothing came behind the last removal"
    );
}
