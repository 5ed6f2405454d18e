//! Removing, and removing only what was meant.

use super::{get, is_absent, path, put};
use crate::Error;
use crate::driver::{Driver, Put};

/// Of two writers, one that takes away what it saw and one that puts something else there, the second is never undone.
const RACES: usize = 50;

pub(super) async fn removal_of_what_was_seen(driver: &dyn Driver) {
    let file = path("/a/t/current/link");
    let removed = driver.remove_if(&file, b"old").await;
    assert!(!removed.expect("it is looked for"), "what is absent");
    put(driver, "/a/t/current/link", b"new").await;
    for other in [b"old".as_slice(), b"new and more", b"ne", b""] {
        let removed = driver.remove_if(&file, other).await;
        assert!(
            !removed.expect("it is looked at"),
            "what holds something else"
        );
    }
    assert_eq!(get(driver, "/a/t/current/link").await, "new");
    let removed = driver.remove_if(&file, b"new").await;
    assert!(removed.expect("it is removed"), "what was meant");
    is_absent(driver.stat(&file)).await;
}

pub(super) async fn empty_directories(driver: &dyn Driver) {
    put(driver, "/a/t/current/link", b"one").await;
    put(driver, "/a/u/link", b"two").await;
    driver.prune(&path("/a/t")).await.expect("it is looked at");
    assert_eq!(get(driver, "/a/t/current/link").await, "one");
    let removed = driver.remove_if(&path("/a/t/current/link"), b"one").await;
    assert!(removed.expect("it is removed"));
    driver.prune(&path("/a/t")).await.expect("it is removed");
    driver.prune(&path("/a/t")).await.expect("it is gone");
    let left = driver.list(&path("/a"), None, 10).await;
    let left: Vec<String> = left
        .expect("a directory")
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(left, ["u"]);
}

pub(super) async fn racing_replacements(driver: &dyn Driver) {
    let file = path("/r/link");
    for race in 0..RACES {
        put(driver, "/r/link", b"old").await;
        let (removed, ()) = futures::future::join(
            driver.remove_if(&file, b"old"),
            put(driver, "/r/link", b"new"),
        )
        .await;
        removed.expect("it is looked at");
        assert_eq!(get(driver, "/r/link").await, "new", "race {race}");
    }
}

pub(super) async fn removal(driver: &dyn Driver) {
    put(driver, "/r/one", b"1").await;
    put(driver, "/r/tree/x/y", b"2").await;
    put(driver, "/r/tree/z", b"3").await;
    put(driver, "/r/tree-beside", b"4").await;
    driver
        .remove(&path("/r/tree"))
        .await
        .expect("a tree is removed");
    is_absent(driver.stat(&path("/r/tree"))).await;
    is_absent(driver.get(&path("/r/tree/x/y"), 10)).await;
    assert_eq!(get(driver, "/r/tree-beside").await, "4", "neighbours stay");
    driver
        .remove(&path("/r/one"))
        .await
        .expect("a file is removed");
    is_absent(driver.get(&path("/r/one"), 10)).await;
    put(driver, "/r/tree/x/y", b"5").await;
    assert_eq!(
        get(driver, "/r/tree/x/y").await,
        "5",
        "what was removed can be written again"
    );
}

/// A write that was answered is there, unless a removal came after it.
pub(super) async fn racing_removals(driver: Box<dyn Driver>) {
    let driver: std::sync::Arc<dyn Driver> = driver.into();
    let (tree, leaf) = (path("/race/tree"), path("/race/tree/sub/leaf"));
    let remover = {
        let (driver, tree) = (std::sync::Arc::clone(&driver), tree.clone());
        tokio::spawn(async move {
            for _ in 0..100 {
                match driver.remove(&tree).await {
                    Ok(()) | Err(Error::NotFound(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("a removal failed: {error}"),
                }
            }
        })
    };
    for _ in 0..100 {
        driver
            .put(vec![Put {
                path: leaf.clone(),
                content: "x".into(),
            }])
            .await
            .expect("written into a vanishing tree");
    }
    remover.await.expect("no removal failed");
    driver
        .put(vec![Put {
            path: leaf.clone(),
            content: "last".into(),
        }])
        .await
        .expect("written");
    assert_eq!(
        driver
            .get(&leaf, 10)
            .await
            .expect("nothing was removed since"),
        "last"
    );
}
