//! Writes that end with an epoch, and removals of what was seen.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Fenced, get, is_absent, path, put};
use crate::driver::{Driver, Put};
use crate::{Error, Gone, Under};

fn held(epoch: u64) -> Under<'static> {
    let is_held = &|| true;
    Under { epoch, is_held }
}

fn link(at: &str, content: &'static str) -> Vec<Put> {
    let (path, content) = (path(at), content.into());
    vec![Put { path, content }]
}

pub(super) async fn writes(driver: &dyn Driver, fenced: Fenced) {
    for epoch in [7, 8, 8] {
        driver.begin_epoch(epoch).await.expect("an epoch begins");
    }
    let mut both = link("/f/one", "1");
    both.extend(link("/f/g/two", "2"));
    let written = driver.put_under(held(7), both).await;
    written.expect("what is written under an epoch is there");
    assert_eq!(
        (get(driver, "/f/one").await, get(driver, "/f/g/two").await),
        ("1".into(), "2".into())
    );
    let ensured = driver.ensure_under(held(7), link("/f/one", "1")).await;
    ensured.expect("what is there may stay");
    let ensured = driver.ensure_under(held(7), link("/f/one", "3")).await;
    ensured.expect("what is different is written");
    assert_eq!(get(driver, "/f/one").await, "3");
    if fenced == Fenced::ByExpiry {
        return by_expiry(driver).await;
    }
    let mut epochs = driver.epochs().await.expect("epochs are listed");
    epochs.sort_unstable();
    assert_eq!(epochs, [7, 8]);
    let wait = driver.end_epochs(&[7, 99]).await;
    assert_eq!(wait.expect("epochs end"), Duration::ZERO);
    assert_eq!(driver.epochs().await.expect("epochs are listed"), [8]);
    for epoch in [7, 9] {
        for writes in [link("/f/late", "x"), link("/f/one", "x")] {
            let late = driver.put_under(held(epoch), writes.clone()).await;
            assert!(
                matches!(late, Err(Error::Fenced)),
                "epoch {epoch} is over: {late:?}"
            );
            let late = driver.ensure_under(held(epoch), writes).await;
            assert!(
                matches!(late, Err(Error::Fenced)),
                "epoch {epoch} is over: {late:?}"
            );
        }
    }
    is_absent(driver.stat(&path("/f/late"))).await;
    assert_eq!(get(driver, "/f/one").await, "3");
    let others = driver.put_under(held(8), link("/f/late", "8")).await;
    others.expect("other epochs go on");
}

async fn by_expiry(driver: &dyn Driver) {
    let is_held = &|| false;
    let lost = Under { epoch: 7, is_held };
    for late in [
        driver.put_under(lost, link("/f/late", "x")).await,
        driver.ensure_under(lost, link("/f/late", "x")).await,
    ] {
        assert!(
            matches!(late, Err(Error::Fenced)),
            "the lease is over: {late:?}"
        );
    }
    is_absent(driver.stat(&path("/f/late"))).await;
    let wait = driver
        .end_epochs(&[])
        .await
        .expect("what was signed expires");
    assert!(
        !wait.is_zero(),
        "requests that were signed before may still come"
    );
}

pub(super) async fn removals(driver: Arc<dyn Driver>, fenced: Fenced) {
    let all = ["/r/a", "/r/absent", "/r/b"].map(path);
    for at in ["/r/a/data", "/r/b/deep/er/link", "/r/b/link", "/r/c/link"] {
        put(&*driver, at, b"old").await;
    }
    let no = || std::future::ready(false).boxed();
    let fenced_off = driver.remove_fenced(&all, &no).await;
    assert!(
        matches!(fenced_off, Err(Error::Fenced)),
        "nobody is to remove: {fenced_off:?}"
    );
    assert_eq!(get(&*driver, "/r/a/data").await, "old");
    let yes = || std::future::ready(true).boxed();
    let gone = driver.remove_fenced(&all, &yes).await;
    assert_eq!(gone.expect("directories are removed"), [Gone::Entirely; 3]);
    for at in ["/r/a/data", "/r/b/deep/er/link", "/r/b/link"] {
        is_absent(driver.stat(&path(at))).await;
    }
    assert_eq!(get(&*driver, "/r/c/link").await, "old", "a neighbour stays");
    if fenced == Fenced::ByExpiry {
        return;
    }
    // Paused after it was asked, while another removes the same, and somebody puts it there again.
    put(&*driver, "/r/a/data", b"old").await;
    put(&*driver, "/r/b/link", b"old").await;
    let meanwhile = Arc::clone(&driver);
    let paused = move || -> BoxFuture<'static, bool> {
        let driver = Arc::clone(&meanwhile);
        async move {
            let yes = || std::future::ready(true).boxed();
            let gone = driver
                .remove_fenced(&["/r/a", "/r/b"].map(path), &yes)
                .await;
            assert_eq!(gone.expect("the successor removes"), [Gone::Entirely; 2]);
            put(&*driver, "/r/a/data", b"new").await;
            true
        }
        .boxed()
    };
    let gone = driver.remove_fenced(&all, &paused).await;
    let left = [Gone::Not, Gone::Entirely, Gone::Entirely];
    assert_eq!(gone.expect("what was seen is gone"), left);
    assert_eq!(
        get(&*driver, "/r/a/data").await,
        "new",
        "what was put again stays"
    );
}
