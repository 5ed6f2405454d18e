//! The rules of the model, each by its name. [`Bench`] is a disk without a mount.

mod data;
mod lives;
mod names;
mod random;
mod torn;

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::Syncs;
use crate::disk::{Body, Caller, Disk, ROOT, Result, Spot};
use crate::file::File;
use crate::image::{Cut, Image};

/// Enough draws that what can happen does.
const SEEDS: std::ops::Range<u64> = 0..400;

struct Bench {
    disk: Disk,
    now: SystemTime,
}

impl Bench {
    fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let owner = Caller {
            uid: 0,
            gid: 0,
            now,
        };
        Self {
            disk: Disk::new(owner),
            now,
        }
    }

    fn caller(&self) -> Caller {
        Caller {
            uid: 0,
            gid: 0,
            now: self.now,
        }
    }

    fn ino(&self, path: &str) -> u64 {
        let names = Path::new(path).iter();
        names.fold(ROOT, |parent, name| {
            let found = self.disk.lookup(Spot::new(parent, name));
            found.unwrap_or_else(|error| panic!("{path}: {error}"))
        })
    }

    fn spot<'a>(&self, path: &'a str) -> Spot<'a> {
        let path = Path::new(path);
        let parent = path.parent().and_then(Path::to_str).expect("a parent");
        Spot::new(self.ino(parent), path.file_name().expect("a name"))
    }

    fn make_file(&mut self, path: &str) -> Result<u64> {
        let body = Body::File(File::default());
        self.disk.make(self.spot(path), 0o644, body, self.caller())
    }

    /// A new file with content, nothing of it synced.
    fn file(&mut self, path: &str, content: &[u8]) -> u64 {
        let ino = self.make_file(path).expect("a new file");
        self.write(ino, 0, content).expect("room");
        ino
    }

    fn directory(&mut self, path: &str) -> u64 {
        let made = self
            .disk
            .make_directory(self.spot(path), 0o755, self.caller());
        made.expect("a new directory")
    }

    fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Result<()> {
        self.disk.write(ino, offset, data, self.now)
    }

    fn resize(&mut self, ino: u64, size: u64) {
        self.disk.resize(ino, size, self.now).expect("a file");
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.spot(from), self.spot(to));
        self.disk.rename(from, to, true, self.now)
    }

    fn unlink(&mut self, path: &str) {
        let spot = self.spot(path);
        self.disk.unlink(spot, self.now).expect("a file");
    }

    fn sync_file(&mut self, path: &str) {
        let ino = self.ino(path);
        self.disk.sync_file(ino, false).expect("a sync");
    }

    fn sync_directory(&mut self, path: &str) {
        let ino = self.ino(path);
        self.disk.sync_directory(ino, false).expect("a sync");
    }

    fn image(&self, cut: Cut) -> Image {
        Image::new(self.disk.clone(), cut)
    }

    /// The names that a cut leaves.
    fn left(&self, cut: Cut) -> Vec<String> {
        names(&self.image(cut))
    }

    /// What a file holds after a cut.
    fn read(&self, cut: Cut, path: &str) -> Option<Vec<u8>> {
        self.image(cut).read(path)
    }

    fn syncs(&self) -> Syncs {
        self.disk.syncs
    }
}

fn names(image: &Image) -> Vec<String> {
    let paths = image.paths();
    let names = paths.iter().map(|path| path.display().to_string());
    names.collect()
}
