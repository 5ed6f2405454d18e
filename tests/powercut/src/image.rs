//! What a cut leaves: the disk of one moment, and how much of the unsynced came through.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, FileTimes, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::chance::Chance;
use crate::content::Content;
use crate::directory::Entries;
use crate::disk::{Attr, Body, Disk, Node, ROOT};

/// How much of what nobody synced the cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// None of it: exactly what was synced.
    Nothing,
    /// A part of it, drawn from this seed: of the steps of a directory any number, as long as those that touch one
    /// name come in order; of the writes to a file any, and any sectors of one, and sizes without their bytes.
    Some(u64),
    /// All of it: not a cut at all, but the death of every process.
    All,
}

/// The disk at the moment of the cut. It is held in memory and shares its content with the disk that runs on.
#[derive(Clone, Debug)]
pub struct Image {
    disk: Disk,
    cut: Cut,
}

impl Image {
    pub(crate) fn new(disk: Disk, cut: Cut) -> Self {
        Self { disk, cut }
    }

    /// The same moment, cut another way.
    #[must_use]
    pub fn with_cut(&self, cut: Cut) -> Self {
        Self::new(self.disk.clone(), cut)
    }

    /// Writes the image out as an ordinary tree, into a directory that is empty or does not exist yet.
    ///
    /// Names of one inode become hard links. Should the cut have left a directory inside itself, as a move from parent
    /// to parent of which only the one half came through can, then it is empty there.
    pub fn write_to(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let mut present =
            fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))?;
        ensure!(
            present.next().is_none(),
            "{} is not empty: what is there would pass for what survived",
            dir.display()
        );
        let mut writer = Writer {
            image: self,
            files: BTreeMap::new(),
            within: Vec::new(),
        };
        writer.directory(ROOT, dir)
    }

    /// Every name in the image, relative to the mounted directory and in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        self.collect(ROOT, Path::new(""), &mut Vec::new(), &mut paths);
        paths.sort();
        paths
    }

    /// What a file holds in the image, by its path relative to the mounted directory; nothing if it is not a file.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut ino = ROOT;
        for name in path.as_ref().iter().filter(|name| *name != OsStr::new("/")) {
            ino = *self.entries(ino).get(name)?;
        }
        let content = self.content(ino)?;
        Some(content.read(0, content.size()))
    }

    fn collect(&self, ino: u64, path: &Path, within: &mut Vec<u64>, paths: &mut Vec<PathBuf>) {
        if within.contains(&ino) {
            return;
        }
        within.push(ino);
        for (name, child) in self.entries(ino) {
            let path = path.join(name);
            paths.push(path.clone());
            self.collect(child, &path, within, paths);
        }
        within.pop();
    }

    fn node(&self, ino: u64) -> &Node {
        self.disk
            .node(ino)
            .expect("an inode lives as long as a cut may leave a name of it")
    }

    fn entries(&self, ino: u64) -> Entries {
        let Body::Directory(directory) = &self.node(ino).body else {
            return Entries::new();
        };
        match self.cut {
            Cut::Nothing => directory.on_disk().clone(),
            Cut::Some(seed) => directory.cut(&mut Chance::new(seed, ino)),
            Cut::All => directory.seen().clone(),
        }
    }

    fn content(&self, ino: u64) -> Option<Content> {
        let Body::File(file) = &self.node(ino).body else {
            return None;
        };
        Some(match self.cut {
            Cut::Nothing => file.on_disk().clone(),
            Cut::Some(seed) => file.cut(&mut Chance::new(seed, ino)),
            Cut::All => file.seen().clone(),
        })
    }

    fn attr(&self, ino: u64) -> Attr {
        let node = self.node(ino);
        let survived = match self.cut {
            Cut::Nothing => false,
            // Another seed than that of the content, which would otherwise share its fate.
            Cut::Some(seed) => Chance::new(seed, !ino).survives(),
            Cut::All => true,
        };
        if survived { node.attr } else { node.saved }
    }
}

/// One run of writing an image out.
struct Writer<'a> {
    image: &'a Image,
    /// Where the first name of each file was written.
    files: BTreeMap<u64, PathBuf>,
    /// The directories on the way here.
    within: Vec<u64>,
}

impl Writer<'_> {
    fn entry(&mut self, ino: u64, path: &Path) -> Result<()> {
        match &self.image.node(ino).body {
            Body::Directory(_) => {
                fs::create_dir(path).with_context(|| format!("creating {}", path.display()))?;
                self.directory(ino, path)
            }
            Body::File(_) | Body::Symlink(_) => {
                if let Some(first) = self.files.get(&ino) {
                    return fs::hard_link(first, path)
                        .with_context(|| format!("linking {}", path.display()));
                }
                self.files.insert(ino, path.to_owned());
                self.leaf(ino, path)
                    .with_context(|| format!("writing {}", path.display()))
            }
        }
    }

    fn directory(&mut self, ino: u64, path: &Path) -> Result<()> {
        if !self.within.contains(&ino) {
            self.within.push(ino);
            for (name, child) in self.image.entries(ino) {
                self.entry(child, &path.join(name))?;
            }
            self.within.pop();
        }
        // Last: making the entries has changed the times, and may need permissions that the directory does not give.
        let directory = fs::File::open(path)?;
        self.stamp(ino, &directory, path)
            .with_context(|| format!("setting the attributes of {}", path.display()))
    }

    fn leaf(&self, ino: u64, path: &Path) -> Result<()> {
        if let Body::Symlink(target) = &self.image.node(ino).body {
            let attr = self.image.attr(ino);
            symlink(target, path)?;
            return Ok(lchown(path, Some(attr.uid), Some(attr.gid))?);
        }
        let content = self.image.content(ino).unwrap_or_default();
        let file = fs::File::create_new(path)?;
        file.set_len(content.size())?;
        for (at, bytes) in content.parts() {
            file.write_all_at(bytes, at)?;
        }
        self.stamp(ino, &file, path)
    }

    fn stamp(&self, ino: u64, file: &fs::File, path: &Path) -> Result<()> {
        let attr = self.image.attr(ino);
        lchown(path, Some(attr.uid), Some(attr.gid))?;
        file.set_permissions(Permissions::from_mode(attr.permissions.into()))?;
        let times = FileTimes::new()
            .set_accessed(attr.accessed)
            .set_modified(attr.modified);
        Ok(file.set_times(times)?)
    }
}
