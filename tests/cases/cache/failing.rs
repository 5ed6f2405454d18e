//! Redis that is down, hangs or refuses: nobody hears of it but the log.

use roadstead_tests::{Image, Kind, Redis, Registry, wait_until};

use super::{SOON, comes_and_goes, says, with_redis};

/// C37: pushes, pulls and deletions, while it runs, is paused, dead, and back with nothing in it.
#[test]
fn c37_deletions_are_seen_at_once_whatever_redis_does() {
    if Kind::under_test() == Kind::Reference {
        return; // Its deletions fail with Redis.
    }
    let mut redis = Redis::start();
    let registry = Registry::roadstead(with_redis(&redis));
    let repository = registry.repository("a/b");
    says(&registry, "redis is used");
    comes_and_goes(&repository, b"while it runs");
    redis.pause();
    comes_and_goes(&repository, b"while it is paused");
    // With so much to ask it must have noticed.
    says(&registry, "redis failed: going on without it");
    comes_and_goes(&repository, b"while it is given up");
    redis.resume();
    comes_and_goes(&repository, b"while it comes back");
    wait_until("it is used again", SOON, || {
        registry.log().matches("redis is used").count() == 2
    });
    comes_and_goes(&repository, b"after the pause");
    redis.kill();
    comes_and_goes(&repository, b"while it is dead");
    let image = Image::new(5_100).build();
    repository.push("v1", &image);
    repository.assert_serves("v1", &image);
    redis.restart();
    comes_and_goes(&repository, b"while it comes back from the dead");
    wait_until("it is used again", SOON, || {
        registry.log().matches("redis is used").count() == 3
    });
    comes_and_goes(&repository, b"at last");
    repository.assert_serves("v1", &image);
    let log = registry.log();
    assert!(!log.contains("http.response.status=5"), "{log}");
    assert_eq!(
        log.matches("redis failed").count(),
        2,
        "once for each: {log}"
    );
}

#[test]
fn a_redis_that_is_not_there_is_a_warning() {
    if Kind::under_test() == Kind::Reference {
        return;
    }
    let mut redis = Redis::start();
    redis.kill();
    let registry = Registry::roadstead(with_redis(&redis));
    says(&registry, "redis cannot be used");
    let log = registry.log();
    let mut lines = log.lines();
    let line = lines.find(|line| line.contains("redis cannot be used"));
    let is_warning = line.is_some_and(|line| line.contains("level=warning"));
    assert!(is_warning, "{log}");
    comes_and_goes(&registry.repository("a/b"), b"a layer");
    redis.restart();
    says(&registry, "redis is used");
    comes_and_goes(&registry.repository("a/b"), b"a layer");
}

#[test]
fn passwords_are_tried_and_not_logged() {
    if Kind::under_test() == Kind::Reference {
        return;
    }
    let redis = Redis::with_password("of-the-tests");
    for (password, works) in [("of-the-tests", true), ("wrong-of-the-tests", false)] {
        let options = with_redis(&redis).env("REGISTRY_REDIS_PASSWORD", password);
        let registry = Registry::roadstead(options.env("REGISTRY_LOG_LEVEL", "debug"));
        let words = if works {
            "redis is used"
        } else {
            "redis cannot be used"
        };
        says(&registry, words);
        comes_and_goes(&registry.repository("a/b"), b"a layer");
        assert!(
            !registry.log().contains("of-the-tests"),
            "a password is in the log"
        );
    }
}
