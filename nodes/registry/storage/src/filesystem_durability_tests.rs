//! What is known to be durable is: on a disk that forgets what was not synced, and counts what is.

use std::fs;
use std::path::PathBuf;

use roadstead_powercut::{Cut, PowerCut};

use super::*;

struct Bench {
    driver: Filesystem,
    power: PowerCut,
    _mountpoint: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let mountpoint = tempfile::tempdir().unwrap();
        let power = PowerCut::mount(mountpoint.path()).expect("a disk whose power can be cut");
        let driver = Filesystem::open(power.mountpoint()).unwrap();
        Self {
            driver,
            power,
            _mountpoint: mountpoint,
        }
    }

    async fn put(&self, at: &str, content: &'static str) {
        self.driver
            .put(vec![Put {
                path: path(at),
                content: content.into(),
            }])
            .await
            .unwrap();
    }

    /// As another process leaves it that was stopped before it synced.
    fn left_unsynced(&self, at: &str, content: &str) {
        let target: PathBuf = self.power.mountpoint().join(at.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let beside = target.with_extension("new");
        fs::write(&beside, content).unwrap();
        fs::rename(beside, target).unwrap();
    }

    fn survives(&self, at: &str, content: &str) {
        let left = self
            .power
            .image(Cut::Nothing)
            .read(at.trim_start_matches('/'));
        assert_eq!(left.as_deref(), Some(content.as_bytes()), "{at}");
    }
}

fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_was_put_is_on_the_disk_and_costs_no_sync_to_settle() {
    let bench = Bench::new();
    bench.put("/a/b/c", "one").await;
    bench.survives("/a/b/c", "one");
    let before = bench.power.syncs().total();
    bench.driver.settle(&[path("/a/b/c")]).await.unwrap();
    assert_eq!(bench.power.syncs().total(), before, "known to be there");
}

#[tokio::test]
async fn a_second_file_in_a_known_directory_costs_two_syncs() {
    let bench = Bench::new();
    bench.put("/a/b/c", "one").await;
    let before = bench.power.syncs().total();
    bench.put("/a/b/d", "two").await;
    assert_eq!(
        bench.power.syncs().total() - before,
        2,
        "its bytes, and its name"
    );
    bench.survives("/a/b/d", "two");
}

#[tokio::test]
async fn what_is_written_under_an_epoch_costs_no_more_syncs() {
    let bench = Bench::new();
    bench.driver.begin_epoch(7).await.unwrap();
    bench.put("/a/b/c", "one").await;
    let before = bench.power.syncs().total();
    let is_held = &|| true;
    let write = Put {
        path: path("/a/b/d"),
        content: "two".into(),
    };
    let under = Under { epoch: 7, is_held };
    bench.driver.put_under(under, vec![write]).await.unwrap();
    assert_eq!(
        bench.power.syncs().total() - before,
        2,
        "its bytes, and its name"
    );
    bench.survives("/a/b/d", "two");
}

#[tokio::test]
async fn a_removal_under_a_term_is_on_the_disk() {
    let bench = Bench::new();
    for at in ["/a/one/data", "/a/two/data", "/b/three/x/link"] {
        bench.put(at, "x").await;
    }
    let yes = || futures::FutureExt::boxed(std::future::ready(true));
    let all = ["/a/one", "/a/two", "/b/three"].map(path);
    let gone = bench.driver.remove_fenced(&all, &yes).await.unwrap();
    assert_eq!(gone, [Gone::Entirely; 3]);
    let left = bench.power.image(Cut::Nothing).paths();
    let under = |at: &&PathBuf| all.iter().any(|gone| at.starts_with(gone.relative()));
    assert_eq!(left.iter().filter(under).count(), 0);
}

#[tokio::test]
async fn a_file_that_was_replaced_is_another_one() {
    let bench = Bench::new();
    bench.put("/a/b/c", "one").await;
    bench.left_unsynced("/a/b/c", "two");
    bench.survives("/a/b/c", "one");
    bench.driver.settle(&[path("/a/b/c")]).await.unwrap();
    bench.survives("/a/b/c", "two");
}

#[tokio::test]
async fn a_directory_that_was_made_again_is_another_one() {
    let bench = Bench::new();
    bench.put("/a/b/c", "one").await;
    fs::remove_dir_all(bench.power.mountpoint().join("a")).unwrap();
    fs::create_dir_all(bench.power.mountpoint().join("a/b")).unwrap();
    bench.put("/a/b/c", "two").await;
    bench.survives("/a/b/c", "two");
}

#[tokio::test]
async fn what_others_left_is_settled_with_all_the_directories_above_it() {
    let bench = Bench::new();
    bench.left_unsynced("/x/y/z/file", "theirs");
    bench.driver.settle(&[path("/x/y/z/file")]).await.unwrap();
    bench.survives("/x/y/z/file", "theirs");
    bench.left_unsynced("/x/y/w/file", "theirs");
    bench.put("/x/y/w/other", "ours").await;
    bench.survives("/x/y/w/other", "ours");
}

#[tokio::test]
async fn published_content_is_on_the_disk_whether_new_or_found() {
    let bench = Bench::new();
    for n in 0..2 {
        let mut stage = bench.driver.stage("s").await.unwrap();
        stage.write(vec!["content".into()]).await.unwrap();
        let staged = stage.finish().await.unwrap();
        let place = format!("/roadstead/uploads/{}", staged.place);
        bench.survives(&place, "content");
        let target = path(&format!("/p/{n}/data"));
        if n == 1 {
            bench.left_unsynced(target.as_str(), "content");
        }
        bench
            .driver
            .publish(&[staged], &target, Attempt::First)
            .await
            .unwrap();
        bench.survives(target.as_str(), "content");
    }
}

#[tokio::test]
async fn what_was_removed_is_gone_from_the_disk() {
    let bench = Bench::new();
    bench.put("/a/b", "one").await;
    bench.put("/tree/x/y", "two").await;
    bench.driver.remove(&path("/a/b")).await.unwrap();
    bench.driver.remove(&path("/tree")).await.unwrap();
    let left = bench.power.image(Cut::Nothing).paths();
    let layout = |at: &PathBuf| !at.starts_with("roadstead") && at.to_str() != Some("a");
    let left: Vec<PathBuf> = left.into_iter().filter(layout).collect();
    assert!(left.is_empty(), "{left:?}");
}
