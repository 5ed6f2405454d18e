//! Content is on the disk when its file was synced.

use rustix::io::Errno;

use super::Bench;
use crate::disk::{AttrChange, Disk};
use crate::image::Cut;

/// A file that is on the disk with this content.
fn settled(content: &[u8]) -> (Bench, u64) {
    let mut bench = Bench::new();
    let ino = bench.file("file", content);
    bench.disk.settle();
    (bench, ino)
}

fn on_disk(bench: &Bench) -> Vec<u8> {
    let content = bench.read(Cut::Nothing, "file");
    content.expect("the file is on the disk")
}

#[test]
fn a_write_is_lost_unless_its_file_was_synced() {
    let (mut bench, ino) = settled(b"old");
    bench.write(ino, 0, b"newer").expect("room");
    assert_eq!(on_disk(&bench), b"old");
    assert_eq!(bench.read(Cut::All, "file"), Some(b"newer".to_vec()));
    bench.sync_file("file");
    assert_eq!(on_disk(&bench), b"newer");
}

#[test]
fn a_truncation_is_lost_unless_its_file_was_synced() {
    let (mut bench, ino) = settled(b"a long content");
    bench.resize(ino, 1);
    assert_eq!(on_disk(&bench), b"a long content");
    bench.sync_file("file");
    assert_eq!(on_disk(&bench), b"a");
}

#[test]
fn what_was_cut_off_is_zero_when_the_file_grows_again() {
    let (mut bench, ino) = settled(&vec![7; 100_000]);
    bench.resize(ino, 10);
    bench.resize(ino, 50_000);
    bench.write(ino, 60_000, &[8; 10]).expect("room");
    bench.sync_file("file");
    let mut expected = vec![0; 60_010];
    expected[..10].fill(7);
    expected[60_000..].fill(8);
    assert!(on_disk(&bench) == expected);
    assert!(bench.read(Cut::All, "file") == Some(expected));
}

#[test]
fn a_sync_is_of_one_file_only() {
    let (mut bench, ino) = settled(b"old");
    bench.file("other", b"other");
    bench.write(ino, 0, b"new").expect("room");
    bench.sync_file("other");
    assert_eq!(on_disk(&bench), b"old");
}

#[test]
fn an_image_does_not_change_when_the_disk_does() {
    let (mut bench, ino) = settled(b"old");
    let image = bench.image(Cut::Nothing);
    let alive = bench.image(Cut::All);
    bench.write(ino, 0, b"new").expect("room");
    bench.sync_file("file");
    bench.unlink("file");
    bench.sync_directory("");
    assert_eq!(image.read("file"), Some(b"old".to_vec()));
    assert_eq!(alive.read("file"), Some(b"old".to_vec()));
}

#[test]
fn a_failed_sync_loses_its_changes_for_good() {
    let (mut bench, ino) = settled(b"0123456789");
    bench.write(ino, 0, b"AA").expect("room");
    bench.disk.fail_sync = true;
    assert_eq!(bench.disk.sync_file(ino, false), Err(Errno::IO));
    bench.disk.fail_sync = false;
    bench.write(ino, 8, b"BB").expect("room");
    bench.sync_file("file");
    assert_eq!(on_disk(&bench), b"01234567BB");
    let seen = bench.disk.read(ino, 0, 100);
    assert_eq!(seen, Ok(b"AA234567BB".to_vec()), "but it is seen");
}

#[test]
fn a_failed_sync_of_a_directory_can_be_made_good() {
    let mut bench = Bench::new();
    bench.file("file", b"");
    bench.disk.fail_sync = true;
    let failed = bench.disk.sync_directory(crate::disk::ROOT, false);
    assert_eq!(failed, Err(Errno::IO));
    assert!(bench.left(Cut::Nothing).is_empty());
    bench.disk.fail_sync = false;
    bench.sync_directory("");
    assert_eq!(bench.left(Cut::Nothing), ["file"]);
}

#[test]
fn every_sync_is_counted() {
    let mut bench = Bench::new();
    bench.file("file", b"");
    bench.sync_file("file");
    bench.sync_directory("");
    bench.disk.fail_sync = true;
    let ino = bench.ino("file");
    assert_eq!(bench.disk.sync_file(ino, true), Err(Errno::IO));
    let syncs = bench.syncs();
    assert_eq!((syncs.files, syncs.directories, syncs.total()), (2, 1, 3));
}

#[test]
fn attributes_are_on_the_disk_after_a_full_sync_only() {
    let (mut bench, ino) = settled(b"");
    let change = AttrChange {
        permissions: Some(0o600),
        ..AttrChange::default()
    };
    let saved = |disk: &Disk| disk.node(ino).map(|node| node.saved.permissions);
    let changed = bench.disk.set_attr(ino, change, bench.now);
    assert_eq!(changed, Ok(()));
    assert_eq!(saved(&bench.disk), Ok(0o644));
    assert_eq!(bench.disk.sync_file(ino, true), Ok(()));
    assert_eq!(saved(&bench.disk), Ok(0o644));
    assert_eq!(bench.disk.sync_file(ino, false), Ok(()));
    assert_eq!(saved(&bench.disk), Ok(0o600));
}

#[test]
fn a_full_disk_refuses_what_takes_more_space() {
    let (mut bench, ino) = settled(&[1; 4096]);
    assert_eq!(bench.disk.used(), 4096);
    bench.disk.capacity = Some(8192);
    assert_eq!(bench.write(ino, 4096, &[2; 4097]), Err(Errno::NOSPC));
    assert_eq!(bench.write(ino, 4096, &[2; 4096]), Ok(()));
    assert_eq!(bench.write(ino, 0, &[3; 8192]), Ok(()), "overwriting");
    let other = bench.make_file("other").expect("names take no space");
    assert_eq!(bench.write(other, 0, b"x"), Err(Errno::NOSPC));
    bench.unlink("file");
    assert_eq!(bench.disk.used(), 0);
    assert_eq!(bench.write(other, 0, b"x"), Ok(()));
}

#[test]
fn holes_take_no_space() {
    let (mut bench, ino) = settled(b"");
    bench.resize(ino, 1 << 40);
    assert_eq!(bench.disk.used(), 0);
    assert_eq!(bench.write(ino, 1 << 30, b"x"), Ok(()));
    assert!(bench.disk.used() <= 16 * 1024);
}

#[test]
fn reserved_space_cannot_run_out() {
    let (mut bench, ino) = settled(b"");
    bench.disk.capacity = Some(64 * 1024);
    let whole = (0, 64 * 1024);
    assert_eq!(bench.disk.allocate(ino, whole, true, bench.now), Ok(()));
    assert_eq!(bench.disk.node(ino).map(crate::disk::Node::size), Ok(0));
    let other = bench.make_file("other").expect("names take no space");
    assert_eq!(bench.write(other, 0, b"x"), Err(Errno::NOSPC));
    assert_eq!(bench.write(ino, 0, &vec![1; 64 * 1024]), Ok(()));
}

#[test]
fn a_read_only_disk_refuses_every_change() {
    let (mut bench, ino) = settled(b"old");
    bench.write(ino, 0, b"new").expect("room");
    bench.disk.read_only = true;
    assert_eq!(bench.write(ino, 0, b"x"), Err(Errno::ROFS));
    assert_eq!(bench.disk.resize(ino, 0, bench.now), Err(Errno::ROFS));
    assert_eq!(bench.make_file("other"), Err(Errno::ROFS));
    assert_eq!(bench.rename("file", "other"), Err(Errno::ROFS));
    assert_eq!(bench.disk.open(ino, true), Err(Errno::ROFS));
    assert_eq!(bench.disk.open(ino, false), Ok(()));
    bench.sync_file("file");
    assert_eq!(on_disk(&bench), b"new");
}
