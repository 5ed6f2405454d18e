//! Names are on the disk when their directory was synced.

use std::ffi::OsStr;

use rustix::io::Errno;

use super::Bench;
use crate::disk::{ROOT, Spot};
use crate::image::Cut;

#[test]
fn a_name_is_lost_unless_its_directory_was_synced() {
    let mut bench = Bench::new();
    bench.file("file", b"bytes");
    bench.sync_file("file");
    assert!(bench.left(Cut::Nothing).is_empty());
    bench.sync_directory("");
    assert_eq!(bench.left(Cut::Nothing), ["file"]);
}

#[test]
fn a_name_without_its_content_is_an_empty_file() {
    let mut bench = Bench::new();
    bench.file("file", b"bytes");
    bench.sync_directory("");
    assert_eq!(bench.read(Cut::Nothing, "file"), Some(Vec::new()));
}

#[test]
fn a_directory_that_was_never_synced_is_empty() {
    let mut bench = Bench::new();
    bench.directory("dir");
    bench.file("dir/file", b"bytes");
    bench.sync_file("dir/file");
    bench.sync_directory("");
    assert_eq!(bench.left(Cut::Nothing), ["dir"]);
    bench.sync_directory("dir");
    assert_eq!(bench.left(Cut::Nothing), ["dir", "dir/file"]);
}

#[test]
fn a_directory_is_lost_with_all_in_it_unless_its_parent_was_synced() {
    let mut bench = Bench::new();
    bench.directory("dir");
    bench.file("dir/file", b"bytes");
    bench.sync_file("dir/file");
    bench.sync_directory("dir");
    assert!(bench.left(Cut::Nothing).is_empty());
}

#[test]
fn a_removed_name_comes_back_unless_its_directory_was_synced() {
    let mut bench = Bench::new();
    bench.file("file", b"bytes");
    bench.disk.settle();
    bench.unlink("file");
    assert_eq!(bench.left(Cut::Nothing), ["file"]);
    assert_eq!(bench.read(Cut::Nothing, "file"), Some(b"bytes".to_vec()));
    bench.sync_directory("");
    assert!(bench.left(Cut::Nothing).is_empty());
}

#[test]
fn a_removed_directory_comes_back_with_what_was_on_disk_in_it() {
    let mut bench = Bench::new();
    bench.directory("dir");
    bench.file("dir/file", b"bytes");
    bench.disk.settle();
    bench.unlink("dir/file");
    let spot = bench.spot("dir");
    bench
        .disk
        .remove_directory(spot, bench.now)
        .expect("it is empty");
    assert_eq!(bench.left(Cut::Nothing), ["dir", "dir/file"]);
    bench.sync_directory("");
    assert!(bench.left(Cut::Nothing).is_empty());
    assert_eq!(bench.disk.count(), 1, "only the root lives on");
}

#[test]
fn a_rename_within_a_directory_is_one_step() {
    let mut bench = Bench::new();
    bench.file("old", b"bytes");
    bench.disk.settle();
    bench.rename("old", "new").expect("renamed");
    assert_eq!(bench.left(Cut::Nothing), ["old"]);
    for seed in super::SEEDS {
        let left = bench.left(Cut::Some(seed));
        assert!(left == ["old"] || left == ["new"], "{left:?}");
    }
    bench.sync_directory("");
    assert_eq!(bench.left(Cut::Nothing), ["new"]);
}

#[test]
fn a_rename_over_a_file_leaves_the_one_or_the_other_content() {
    let mut bench = Bench::new();
    bench.file("file", b"old");
    bench.disk.settle();
    bench.file("temporary", b"new");
    bench.sync_file("temporary");
    bench.rename("temporary", "file").expect("renamed");
    let old = bench.read(Cut::Nothing, "file");
    assert_eq!(old, Some(b"old".to_vec()));
    let mut seen = [false; 2];
    for seed in super::SEEDS {
        match bench.read(Cut::Some(seed), "file").as_deref() {
            Some(b"old") => seen[0] = true,
            Some(b"new") => seen[1] = true,
            other => panic!("neither the one nor the other: {other:?}"),
        }
    }
    assert_eq!(seen, [true; 2], "both happen");
}

/// A file on the disk in `source`, moved to `target`, with nothing of the move synced.
fn moved_across() -> Bench {
    let mut bench = Bench::new();
    bench.directory("source");
    bench.directory("target");
    bench.file("source/file", b"bytes");
    bench.disk.settle();
    bench.rename("source/file", "target/file").expect("renamed");
    bench
}

#[test]
fn a_rename_across_directories_is_in_both_when_only_the_target_was_synced() {
    let mut bench = moved_across();
    bench.sync_directory("target");
    assert_eq!(
        bench.left(Cut::Nothing),
        ["source", "source/file", "target", "target/file"]
    );
}

#[test]
fn a_rename_across_directories_is_in_neither_when_only_the_source_was_synced() {
    let mut bench = moved_across();
    bench.sync_directory("source");
    assert_eq!(bench.left(Cut::Nothing), ["source", "target"]);
}

#[test]
fn a_rename_across_directories_is_done_when_both_were_synced() {
    let mut bench = moved_across();
    bench.sync_directory("source");
    bench.sync_directory("target");
    assert_eq!(
        bench.left(Cut::Nothing),
        ["source", "target", "target/file"]
    );
}

#[test]
fn a_directory_inside_itself_is_cut_off_there() {
    let mut bench = Bench::new();
    bench.directory("a");
    bench.directory("a/b");
    bench.disk.settle();
    // Of both moves only the targets are synced, so each directory is where it was and inside the other.
    bench.rename("a/b", "b").expect("renamed");
    bench.sync_directory("");
    bench.rename("a", "b/a").expect("renamed");
    bench.sync_directory("b");
    let left = bench.left(Cut::Nothing);
    assert_eq!(left, ["a", "a/b", "a/b/a", "b", "b/a", "b/a/b"]);
}

#[test]
fn a_link_is_a_second_name_of_the_same_content() {
    let mut bench = Bench::new();
    let ino = bench.file("one", b"bytes");
    let second = Spot::new(ROOT, OsStr::new("two"));
    bench.disk.link(ino, second, bench.now).expect("linked");
    assert_eq!(bench.disk.node(ino).map(|node| node.links), Ok(2));
    bench.sync_directory("");
    bench.sync_file("two");
    assert_eq!(bench.read(Cut::Nothing, "one"), Some(b"bytes".to_vec()));
}

#[test]
fn a_rename_refuses_what_posix_refuses() {
    let mut bench = Bench::new();
    bench.directory("empty");
    bench.directory("full");
    bench.file("full/file", b"");
    bench.file("file", b"");
    assert_eq!(bench.rename("empty", "full"), Err(Errno::NOTEMPTY));
    assert_eq!(bench.rename("empty", "file"), Err(Errno::NOTDIR));
    assert_eq!(bench.rename("file", "empty"), Err(Errno::ISDIR));
    assert_eq!(bench.rename("missing", "file"), Err(Errno::NOENT));
    assert_eq!(bench.rename("full", "empty"), Ok(()));
    let (from, to) = (bench.spot("file"), bench.spot("empty/file"));
    let without_replacing = bench.disk.rename(from, to, false, bench.now);
    assert_eq!(without_replacing, Err(Errno::EXIST));
}
