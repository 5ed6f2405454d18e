//! An inode lives as long as a name, a descriptor, the kernel or the disk leads to it, and no longer.

use rustix::io::Errno;

use super::Bench;
use crate::image::Cut;

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let mut bench = Bench::new();
    let ino = bench.file("file", b"bytes");
    bench.disk.open(ino, true).expect("opened");
    bench.unlink("file");
    assert_eq!(bench.disk.node(ino).map(|node| node.links), Ok(0));
    assert_eq!(bench.disk.read(ino, 0, 100), Ok(b"bytes".to_vec()));
    assert_eq!(bench.write(ino, 5, b" more"), Ok(()));
    bench.disk.release(ino);
    assert_eq!(bench.disk.used(), 0);
    bench.sync_directory("");
    assert!(bench.disk.node(ino).is_err(), "nothing leads here");
}

#[test]
fn a_file_that_only_the_disk_knows_takes_no_space_and_comes_back() {
    let mut bench = Bench::new();
    let ino = bench.file("file", b"bytes");
    bench.disk.settle();
    bench.unlink("file");
    assert_eq!(bench.disk.used(), 0);
    assert_eq!(bench.disk.open(ino, false), Err(Errno::NOENT));
    assert_eq!(bench.read(Cut::Nothing, "file"), Some(b"bytes".to_vec()));
    assert_eq!(bench.read(Cut::All, "file"), None);
}

#[test]
fn a_file_that_a_step_may_bring_back_lives_on() {
    let mut bench = Bench::new();
    bench.file("file", b"bytes");
    bench.sync_file("file");
    bench.unlink("file");
    let came_back = super::SEEDS
        .filter(|seed| bench.read(Cut::Some(*seed), "file") == Some(b"bytes".to_vec()))
        .count();
    assert!(came_back > 0, "the first step without the second");
    bench.sync_directory("");
    assert_eq!(bench.disk.count(), 1);
}

#[test]
fn an_inode_lives_while_the_kernel_remembers_it() {
    let mut bench = Bench::new();
    let ino = bench.file("file", b"bytes");
    bench.disk.remember(ino).expect("it exists");
    bench.disk.remember(ino).expect("it exists");
    bench.unlink("file");
    bench.sync_directory("");
    bench.disk.forget(ino, 1);
    assert!(bench.disk.node(ino).is_ok());
    bench.disk.forget(ino, 1);
    assert!(bench.disk.node(ino).is_err());
}

#[test]
fn inode_numbers_are_never_used_again() {
    let mut bench = Bench::new();
    let first = bench.file("file", b"");
    bench.unlink("file");
    bench.sync_directory("");
    let second = bench.file("file", b"");
    assert_ne!(first, second);
}

#[test]
fn a_removed_directory_has_no_links_and_takes_no_names() {
    let mut bench = Bench::new();
    let parent = bench.directory("parent");
    let ino = bench.directory("parent/dir");
    assert_eq!(bench.disk.node(parent).map(|node| node.links), Ok(3));
    bench.disk.remember(ino).expect("it exists");
    let spot = bench.spot("parent/dir");
    bench
        .disk
        .remove_directory(spot, bench.now)
        .expect("it is empty");
    assert_eq!(bench.disk.node(ino).map(|node| node.links), Ok(0));
    assert_eq!(bench.disk.node(parent).map(|node| node.links), Ok(2));
    let spot = crate::disk::Spot::new(ino, "file".as_ref());
    let made = bench.disk.make_directory(spot, 0o755, bench.caller());
    assert_eq!(made, Err(Errno::NOENT));
}

#[test]
fn work_and_cleaning_up_leave_nothing_behind() {
    let mut bench = Bench::new();
    for round in 0..3 {
        bench.directory("dir");
        let ino = bench.file("dir/file", &vec![round; 50_000]);
        bench.sync_file("dir/file");
        bench.sync_directory("dir");
        bench.write(ino, 0, b"unsynced").expect("room");
        bench.rename("dir/file", "file").expect("renamed");
        bench.unlink("file");
        let spot = bench.spot("dir");
        bench
            .disk
            .remove_directory(spot, bench.now)
            .expect("it is empty");
        bench.sync_directory("");
        assert_eq!((bench.disk.count(), bench.disk.used()), (1, 0));
    }
}
