//! What can be had without waiting for a disk: names and bytes that the kernel has in memory.
//!
//! Asking for them takes a few microseconds; handing the question to a thread that may wait takes longer than that. Where
//! the kernel would have to wait, or does not know these ways to ask, the answer is nothing, and the thread asks again.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Small files are links: 71 bytes, or 135. One read takes them whole. No more than the smallest page of any kernel.
const SMALL: usize = 4096;

/// Whether it is of use to ask: not on file systems that always wait, such as those of a network.
#[derive(Debug)]
pub(super) struct Cached(AtomicBool);

impl Default for Cached {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Cached {
    /// Whether this is a file system of this machine, as far as is known.
    pub(super) fn is_of_use(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The content of a small file.
    pub(super) fn get(&self, root: &impl AsFd, name: &str, limit: usize) -> Option<Bytes> {
        let file = self.open(root, name)?;
        let mut content = vec![0; SMALL.min(limit + 1)];
        let read = self.noted(&file, read_at(&file, &mut content, 0))?;
        // What does not fit is no small file. What fits lies in one page of the kernel's, which gives all of it or none.
        let at_end = read < content.len();
        if !at_end || read > limit {
            return None;
        }
        content.truncate(read);
        content.shrink_to_fit();
        Some(content.into())
    }

    /// A file, or whatever has that name, to be read.
    pub(super) fn open(&self, root: &impl AsFd, name: &str) -> Option<File> {
        self.opened(
            root,
            name,
            OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK,
        )
    }

    /// What has that name, if something has.
    pub(super) fn stat(&self, root: &impl AsFd, name: &str) -> Option<Stat> {
        fstat(self.opened(root, name, OFlags::PATH)?).ok()
    }

    fn opened(&self, root: &impl AsFd, name: &str, flags: OFlags) -> Option<File> {
        if !self.is_of_use() {
            return None;
        }
        let flags = flags | OFlags::CLOEXEC;
        let opened = openat2(root, name, flags, Mode::empty(), ResolveFlags::CACHED);
        if matches!(opened, Err(Errno::NOSYS | Errno::INVAL | Errno::PERM)) {
            self.0.store(false, Ordering::Relaxed);
        }
        opened.ok().map(File::from)
    }

    fn noted(&self, file: &File, read: Result<usize, Errno>) -> Option<usize> {
        // Of a directory it is refused everywhere.
        if matches!(read, Err(Errno::OPNOTSUPP | Errno::NOSYS))
            && file.metadata().is_ok_and(|metadata| metadata.is_file())
        {
            self.0.store(false, Ordering::Relaxed);
        }
        read.ok()
    }
}

/// These bytes of a file, all or none.
pub(super) fn read(file: &File, start: u64, length: usize) -> Option<Bytes> {
    // Nothing is allocated for bytes that are not there.
    read_at(file, &mut [0], start).ok()?;
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(free) = bytes.get_mut(filled..).filter(|free| !free.is_empty()) {
        match read_at(file, free, start + filled as u64) {
            Ok(0) | Err(_) => return None,
            Ok(read) => filled += read,
        }
    }
    Some(bytes.into())
}

fn read_at(file: &File, into: &mut [u8], at: u64) -> Result<usize, Errno> {
    loop {
        match preadv2(
            file,
            &mut [IoSliceMut::new(into)],
            at,
            ReadWriteFlags::NOWAIT,
        ) {
            Err(Errno::INTR) => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_read_whole_and_others_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let root = File::open(directory.path()).unwrap();
        let cached = Cached::default();
        for (size, limit, is_read) in [
            (0, 10, true),
            (71, 71, true),
            (71, 70, false),
            (SMALL - 1, SMALL, true),
            (SMALL, 2 * SMALL, false),
        ] {
            let content = vec![b'x'; size];
            std::fs::write(directory.path().join("file"), &content).unwrap();
            let expected = is_read.then(|| Bytes::from(content));
            assert_eq!(
                cached.get(&root, "file", limit),
                expected,
                "{size} of {limit}"
            );
        }
        assert_eq!(cached.get(&root, "absent", 10), None);
        assert_eq!(cached.get(&root, ".", 10), None);
        assert_eq!(cached.stat(&root, "file").unwrap().st_size, 4096);
        assert!(cached.stat(&root, "absent").is_none());
        assert!(
            cached.0.load(Ordering::Relaxed),
            "this file system can tell"
        );
    }

    #[test]
    fn bytes_are_read_all_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = File::open(path).unwrap();
        assert_eq!(read(&file, 2, 5).unwrap(), "23456");
        assert_eq!(read(&file, 2, 9), None);
        assert_eq!(read(&file, 20, 1), None);
    }
}
