//! The rules once more, through the kernel: real files on a mounted disk, and what a cut leaves in a real directory.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use roadstead_powercut::{Cut, Image, PowerCut};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, RenameFlags};
use tempfile::TempDir;

/// A mounted disk. The disk goes before the directory it is mounted on.
struct Mounted {
    disk: PowerCut,
    root: PathBuf,
    scratch: TempDir,
}

impl Mounted {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let root = scratch.path().join("disk");
        fs::create_dir(&root).expect("a mountpoint");
        let disk = PowerCut::mount(&root).expect("the disk is mounted");
        Self {
            disk,
            root,
            scratch,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// What is left of the disk after a cut, as a directory.
    fn after(&self, cut: Cut) -> PathBuf {
        self.write_out(&self.disk.image(cut))
    }

    fn write_out(&self, image: &Image) -> PathBuf {
        let taken = fs::read_dir(self.scratch.path())
            .expect("a listing")
            .count();
        let dir = self.scratch.path().join(format!("after-{taken}"));
        image.write_to(&dir).expect("the image is written out");
        dir
    }
}

fn sync(path: &Path) {
    let file = File::open(path).expect("opened");
    file.sync_all().expect("synced");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("a listing")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("a plain name"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_write_without_fsync_is_lost() {
    let mounted = Mounted::new();
    let file = mounted.path("file");
    fs::write(&file, "old").expect("written");
    sync(&file);
    sync(&mounted.root);
    fs::write(&file, "newer").expect("written");
    assert_eq!(fs::read(&file).expect("read"), b"newer");
    let after = mounted.after(Cut::Nothing);
    assert_eq!(fs::read(after.join("file")).expect("read"), b"old");
    sync(&file);
    let after = mounted.after(Cut::Nothing);
    assert_eq!(fs::read(after.join("file")).expect("read"), b"newer");
}

#[test]
fn a_name_without_fsync_of_its_directory_is_lost() {
    let mounted = Mounted::new();
    let file = mounted.path("file");
    fs::write(&file, "bytes").expect("written");
    sync(&file);
    assert!(names(&mounted.after(Cut::Nothing)).is_empty());
    sync(&mounted.root);
    assert_eq!(names(&mounted.after(Cut::Nothing)), ["file"]);
}

#[test]
fn the_death_of_a_process_loses_nothing() {
    let mounted = Mounted::new();
    fs::create_dir_all(mounted.path("a/b")).expect("made");
    fs::write(mounted.path("a/b/file"), "bytes").expect("written");
    symlink("b/file", mounted.path("a/link")).expect("linked");
    fs::hard_link(mounted.path("a/b/file"), mounted.path("second")).expect("linked");
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(mounted.path("second"), mode).expect("changed");
    assert!(names(&mounted.after(Cut::Nothing)).is_empty());
    let after = mounted.after(Cut::All);
    assert_eq!(names(&after), ["a", "second"]);
    assert_eq!(fs::read(after.join("a/link")).expect("read"), b"bytes");
    let (first, second) = (after.join("a/b/file"), after.join("second"));
    let (first, second) = (fs::metadata(first), fs::metadata(second));
    let (first, second) = (first.expect("there"), second.expect("there"));
    assert_eq!(first.ino(), second.ino(), "one file with two names");
    assert_eq!(second.mode() & 0o7777, 0o640);
    let seen = fs::metadata(mounted.path("second")).expect("there");
    assert_eq!(second.modified().ok(), seen.modified().ok());
}

#[test]
fn a_rename_is_on_the_disk_where_its_directory_was_synced() {
    let mounted = Mounted::new();
    let (source, target) = (mounted.path("source"), mounted.path("target"));
    fs::create_dir(&source).expect("made");
    fs::create_dir(&target).expect("made");
    fs::write(source.join("one"), "1").expect("written");
    fs::write(source.join("two"), "2").expect("written");
    mounted.disk.settle();
    fs::rename(source.join("one"), source.join("renamed")).expect("renamed");
    fs::rename(source.join("two"), target.join("two")).expect("renamed");
    sync(&target);
    let after = mounted.after(Cut::Nothing);
    assert_eq!(names(&after.join("source")), ["one", "two"]);
    assert_eq!(names(&after.join("target")), ["two"]);
    sync(&source);
    let after = mounted.after(Cut::Nothing);
    assert_eq!(names(&after.join("source")), ["renamed"]);
    assert_eq!(fs::read(after.join("target/two")).expect("read"), b"2");
}

#[test]
fn a_rename_that_must_not_replace_does_not() {
    let mounted = Mounted::new();
    fs::write(mounted.path("one"), "1").expect("written");
    fs::write(mounted.path("two"), "2").expect("written");
    let root = File::open(&mounted.root).expect("opened");
    let rename = |flags| rustix::fs::renameat_with(&root, "one", &root, "two", flags);
    let taken = rename(RenameFlags::NOREPLACE);
    assert_eq!(taken, Err(rustix::io::Errno::EXIST));
    let exchanged = rename(RenameFlags::EXCHANGE);
    assert_eq!(exchanged, Err(rustix::io::Errno::INVAL));
    assert_eq!(rename(RenameFlags::empty()), Ok(()));
    assert_eq!(fs::read(mounted.path("two")).expect("read"), b"1");
}

#[test]
fn a_cut_may_leave_a_part() {
    let mounted = Mounted::new();
    let file = mounted.path("file");
    fs::write(&file, vec![1; 100_000]).expect("written");
    mounted.disk.settle();
    let opened = OpenOptions::new().write(true).open(&file);
    let opened = opened.expect("opened");
    opened.write_all_at(&vec![2; 50_000], 0).expect("written");
    let image = mounted.disk.image(Cut::Nothing);
    let mut torn = 0;
    for seed in 0..50 {
        let after = mounted.write_out(&image.with_cut(Cut::Some(seed)));
        let content = fs::read(after.join("file")).expect("read");
        assert_eq!(content.len(), 100_000);
        assert!(content[50_000..].iter().all(|byte| *byte == 1));
        torn += usize::from(content.contains(&2) && content[..50_000].contains(&1));
    }
    assert!(torn > 0);
}

#[test]
fn a_full_disk_says_so() {
    let mounted = Mounted::new();
    mounted.disk.set_capacity(Some(1024 * 1024));
    let space = rustix::fs::statvfs(&mounted.root).expect("asked");
    assert_eq!(space.f_bavail * space.f_frsize, 1024 * 1024);
    let file = mounted.path("file");
    let full = fs::write(&file, vec![1; 2 * 1024 * 1024]);
    let full = full.expect_err("it does not fit");
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    fs::write(&file, vec![1; 512 * 1024]).expect("it fits");
    let space = rustix::fs::statvfs(&mounted.root).expect("asked");
    assert_eq!(space.f_bavail * space.f_frsize, 512 * 1024);
    assert_eq!(mounted.disk.used(), 512 * 1024);
    mounted.disk.fill_after(0);
    assert!(fs::write(mounted.path("other"), "x").is_err());
    fs::remove_file(&file).expect("removed");
    fs::write(mounted.path("other"), "x").expect("there is room again");
}

#[test]
fn a_read_only_disk_says_so() {
    let mounted = Mounted::new();
    let file = mounted.path("file");
    let mut open = File::create(&file).expect("created");
    mounted.disk.set_read_only(true);
    let refused = open.write_all(b"x").expect_err("read-only");
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    let refused = fs::create_dir(mounted.path("dir")).expect_err("read-only");
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::read(&file).expect("reading goes on"), b"");
    mounted.disk.set_read_only(false);
    open.write_all(b"x").expect("written");
}

#[test]
fn a_failed_sync_says_so_and_its_bytes_are_never_on_the_disk() {
    let mounted = Mounted::new();
    let mut file = File::create(mounted.path("file")).expect("created");
    sync(&mounted.root);
    file.write_all(b"lost").expect("written");
    mounted.disk.fail_sync(true);
    let failed = file.sync_all().expect_err("it fails");
    assert_eq!(failed.raw_os_error(), Some(5), "{failed}");
    mounted.disk.fail_sync(false);
    file.sync_all().expect("nothing left to sync");
    let after = mounted.after(Cut::Nothing);
    assert_eq!(fs::read(after.join("file")).expect("read"), b"");
    assert_eq!(fs::read(mounted.path("file")).expect("read"), b"lost");
}

#[test]
fn an_unlinked_file_works_while_it_is_open() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create_new(true);
    let mut file = options.open(&path).expect("created");
    file.write_all(b"bytes").expect("written");
    fs::remove_file(&path).expect("removed");
    file.write_all(b" more").expect("written");
    let metadata = file.metadata().expect("asked");
    assert_eq!((metadata.nlink(), metadata.len()), (0, 10));
    let mut content = [0; 10];
    file.read_exact_at(&mut content, 0).expect("read");
    assert_eq!(&content, b"bytes more");
    assert!(mounted.disk.used() > 0);
}

#[test]
fn a_removed_directory_that_is_open_has_no_links() {
    let mounted = Mounted::new();
    let path = mounted.path("dir");
    fs::create_dir(&path).expect("made");
    let open = File::open(&path).expect("opened");
    assert_eq!(open.metadata().expect("asked").nlink(), 2);
    fs::remove_dir(&path).expect("removed");
    assert_eq!(open.metadata().expect("asked").nlink(), 0);
}

#[test]
fn a_synchronous_write_is_on_the_disk() {
    let mounted = Mounted::new();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let flags = OFlags::DSYNC.bits().cast_signed();
    options.custom_flags(flags);
    let mut file = options.open(mounted.path("file")).expect("created");
    sync(&mounted.root);
    file.write_all(b"bytes").expect("written");
    let after = mounted.after(Cut::Nothing);
    assert_eq!(fs::read(after.join("file")).expect("read"), b"bytes");
}

#[test]
fn syncs_are_counted() {
    let mounted = Mounted::new();
    let mut file = File::create(mounted.path("file")).expect("created");
    file.write_all(b"bytes").expect("written");
    file.sync_all().expect("synced");
    file.sync_data().expect("synced");
    sync(&mounted.root);
    let syncs = mounted.disk.syncs();
    assert_eq!((syncs.files, syncs.directories), (2, 1));
    assert_eq!(syncs.total(), 3);
}

#[test]
fn locks_space_and_copies_work() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    let (one, two) = (File::create(&path), File::open(&path));
    let (one, two) = (one.expect("created"), two.expect("opened"));
    let lock = FlockOperation::NonBlockingLockExclusive;
    assert_eq!(rustix::fs::flock(&one, lock), Ok(()));
    let taken = rustix::fs::flock(&two, lock);
    assert_eq!(taken, Err(rustix::io::Errno::WOULDBLOCK));
    let posix = rustix::fs::fcntl_lock(&one, lock);
    assert_eq!(posix, Ok(()));
    let reserved = rustix::fs::fallocate(&one, FallocateFlags::empty(), 0, 10_000);
    assert_eq!(reserved, Ok(()));
    assert_eq!(one.metadata().expect("asked").len(), 10_000);
    let copied = fs::copy(&path, mounted.path("copy")).expect("copied");
    assert_eq!(copied, 10_000);
}

#[test]
fn a_large_directory_is_listed_whole_and_can_be_removed_while_listed() {
    let mounted = Mounted::new();
    let dir = mounted.path("dir");
    fs::create_dir(&dir).expect("made");
    for number in 0..2000 {
        let name = dir.join(format!("a-rather-long-name-{number:04}"));
        File::create(name).expect("created");
    }
    assert_eq!(names(&dir).len(), 2000);
    fs::remove_dir_all(&dir).expect("removed");
    assert!(names(&mounted.root).is_empty());
}

#[test]
fn a_busy_disk_can_be_dropped() {
    let mounted = Mounted::new();
    let mut file = File::create(mounted.path("file")).expect("created");
    let Mounted {
        disk,
        root,
        scratch,
    } = mounted;
    drop(disk);
    assert!(file.write_all(b"x").is_err(), "the disk is gone");
    let mut content = String::new();
    let mounts =
        File::open("/proc/self/mounts").and_then(|mut file| file.read_to_string(&mut content));
    assert!(mounts.is_ok());
    assert!(!content.contains(root.to_str().expect("a plain path")));
    drop(scratch);
}

#[test]
fn an_image_is_not_written_over_anything() {
    let mounted = Mounted::new();
    let image = mounted.disk.image(Cut::Nothing);
    let taken = mounted.scratch.path();
    let refused = image.write_to(taken).expect_err("it is not empty");
    assert!(refused.to_string().contains("is not empty"), "{refused}");
}
