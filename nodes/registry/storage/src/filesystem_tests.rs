//! The contract, and what is particular to a file system.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;

fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

fn write(at: &str) -> Vec<Put> {
    vec![Put {
        path: path(at),
        content: "x".into(),
    }]
}

#[tokio::test]
async fn keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let next = std::sync::atomic::AtomicU32::new(0);
    let make = || {
        let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::new(Filesystem::open(&directory.path().join(n.to_string())).unwrap())
            as Box<dyn Driver>
    };
    crate::contract::check(&make).await;
    for n in 0..next.into_inner() {
        let temporary = directory.path().join(format!("{n}/roadstead/tmp"));
        assert_eq!(fs::read_dir(temporary).unwrap().count(), 0, "no leftovers");
    }
}

#[tokio::test]
async fn a_root_that_vanished_is_an_error_and_not_an_empty_store() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let driver = Filesystem::open(&root).unwrap();
    driver.put(write("/a/b")).await.unwrap();
    fs::rename(&root, directory.path().join("elsewhere")).unwrap();
    fs::create_dir(&root).unwrap();
    assert!(matches!(
        driver.put(write("/a/c")).await,
        Err(Error::Vanished)
    ));
    assert!(matches!(
        driver.stat(&path("/a/c")).await,
        Err(Error::Vanished)
    ));
    assert!(matches!(driver.stage("x").await, Err(Error::Vanished)));
    assert_eq!(
        fs::read_dir(&root).unwrap().count(),
        0,
        "nothing was written where nobody would find it"
    );
    fs::remove_dir(&root).unwrap();
    fs::rename(directory.path().join("elsewhere"), &root).unwrap();
    driver.put(write("/a/c")).await.unwrap();
}

#[tokio::test]
async fn leftovers_are_swept_by_age() {
    let directory = tempfile::tempdir().unwrap();
    let driver = Filesystem::open(directory.path()).unwrap();
    fs::write(directory.path().join("roadstead/tmp/left"), "x").unwrap();
    fs::create_dir_all(directory.path().join("roadstead/tmp/tree/x")).unwrap();
    assert_eq!(driver.sweep(SystemTime::UNIX_EPOCH).await.unwrap(), 0);
    let future = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 200);
    assert_eq!(driver.sweep(future).await.unwrap(), 2);
}

#[test]
fn a_root_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let message = Filesystem::open(&file.join("below"))
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("storage.filesystem.rootdirectory: "),
        "{message}"
    );
    assert!(message.contains("/file/below"), "{message}");
    assert!(Filesystem::open_read_only(&directory.path().join("absent")).is_err());
}

#[tokio::test]
async fn files_are_made_with_the_modes_that_the_reference_gives() {
    let directory = tempfile::tempdir().unwrap();
    let driver = Filesystem::open(directory.path()).unwrap();
    driver.put(write("/a/b")).await.unwrap();
    let mode = |name: &str| {
        fs::metadata(directory.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    fs::create_dir(directory.path().join("umask-probe")).unwrap();
    assert_eq!(mode("a"), mode("umask-probe"));
    assert_eq!(mode("a/b"), mode("a") & 0o666);
}

#[tokio::test]
async fn places_that_lead_elsewhere_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let driver = Filesystem::open(directory.path()).unwrap();
    fs::write(directory.path().join("precious"), "x").unwrap();
    for place in ["../../precious", "..", ".", "", "a/b", "a\0"] {
        assert!(
            driver.discard(&[place.to_owned()]).await.is_err(),
            "{place:?}"
        );
        assert!(driver.open_staged(place).await.is_err(), "{place:?}");
    }
    assert!(fs::exists(directory.path().join("precious")).unwrap());
}

#[tokio::test]
async fn a_stage_that_was_swept_while_its_client_was_slow_is_not_finished() {
    let directory = tempfile::tempdir().unwrap();
    let driver = Filesystem::open(directory.path()).unwrap();
    let mut stage = driver.stage("slow").await.unwrap();
    stage.write(vec!["bytes".into()]).await.unwrap();
    let future = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 200);
    let swept = driver.staged(future, None, 9).await.unwrap();
    assert_eq!(swept.len(), 1);
    driver.discard(&swept).await.unwrap();
    assert!(matches!(stage.finish().await, Err(Error::Damaged)));
}

#[tokio::test]
async fn what_cannot_be_looked_into_is_listed_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let driver = Filesystem::open(directory.path()).unwrap();
    let strange = std::ffi::OsStr::from_bytes(b"a\xff");
    fs::create_dir_all(directory.path().join("d").join(strange)).unwrap();
    std::os::unix::fs::symlink("/nonexistent", directory.path().join("d/nowhere")).unwrap();
    let listed = driver.list(&path("/d"), None, 10).await.unwrap();
    let entry = |name: &str, is_directory| Entry {
        name: name.to_owned(),
        is_directory,
    };
    assert_eq!(listed, [entry("a\u{fffd}", true), entry("nowhere", false)]);
    let behind = driver.list(&path("/d"), Some("a\u{fffd}"), 10).await;
    assert_eq!(behind.unwrap(), [entry("nowhere", false)]);
}

#[tokio::test]
async fn of_a_root_that_vanished_no_file_is_said_to_be_absent() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let driver = Filesystem::open(&root).unwrap();
    driver.put(write("/tags/a/link")).await.unwrap();
    fs::rename(&root, directory.path().join("elsewhere")).unwrap();
    let held = driver.which_hold(&path("/tags"), "link", &["a", "b"]).await;
    assert!(matches!(held, Err(Error::Vanished)), "{held:?}");
}

/// Tags of a large repository: each is one while it says what it points to.
#[tokio::test]
async fn what_was_removed_is_not_held_any_more_however_often_it_was_asked() {
    let directory = tempfile::tempdir().unwrap();
    let driver = Filesystem::open(directory.path()).unwrap();
    let names: Vec<String> = (0..300).map(|n| format!("{n:03}")).collect();
    let writes = names.iter().map(|name| Put {
        path: path(&format!("/tags/{name}/current/link")),
        content: "x".into(),
    });
    driver.put(writes.collect()).await.unwrap();
    fs::create_dir(directory.path().join("tags/half")).unwrap();
    let asked: Vec<&str> = names.iter().map(String::as_str).chain(["half"]).collect();
    let held = async || {
        let tags = path("/tags");
        driver.list(&tags, None, 1).await.unwrap();
        let held = driver.which_hold(&tags, "current/link", &asked).await;
        held.unwrap().into_iter().filter(|held| *held).count()
    };
    for removed in 0..3 {
        // Longer than names are taken to be changing.
        tokio::time::sleep(Duration::from_millis(150)).await;
        for _from_the_disk_then_from_memory in 0..3 {
            assert_eq!(held().await, 300 - removed);
        }
        let gone = format!("/tags/{removed:03}");
        if removed == 1 {
            // What somebody put beside it keeps the directory.
            driver.put(write(&format!("{gone}/else"))).await.unwrap();
            let link = path(&format!("{gone}/current/link"));
            assert!(driver.remove_if(&link, b"x").await.unwrap());
        } else {
            driver.remove(&path(&gone)).await.unwrap();
        }
        assert_eq!(held().await, 299 - removed, "at once");
    }
}
