//! A disk whose power can be cut: for proving that what a server acknowledged is still there when it starts again.
//!
//! [`PowerCut::mount`] mounts a file system that lives in memory. The server under test runs on it; at any moment
//! [`PowerCut::image`] holds what would be on the disk if the power were cut now, and [`Image::write_to`] makes an
//! ordinary directory of it, on which the server is started again.
//!
//! ```no_run
//! # use roadstead_powercut::{Cut, PowerCut};
//! # use std::path::Path;
//! # fn main() -> anyhow::Result<()> {
//! let disk = PowerCut::mount(Path::new("/tmp/disk"))?;
//! // The server runs on /tmp/disk and acknowledges a push.
//! let image = disk.image(Cut::Nothing);
//! image.write_to(Path::new("/tmp/after"))?;
//! for seed in 0..20 {
//!     let torn = image.with_cut(Cut::Some(seed));
//!     torn.write_to(Path::new(&format!("/tmp/after-{seed}")))?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is on the disk
//!
//! Only what POSIX promises, without the habits of any one file system:
//!
//! - The bytes and the size of a file are there when `fsync` or `fdatasync` of it returned, or the write itself if the
//!   file was opened with `O_SYNC` or `O_DSYNC`. Its mode, owner and times are there after `fsync`.
//! - A name is there, or gone, when `fsync` of its directory returned. A name may lead to a file or directory that was
//!   itself never synced, which is then empty.
//! - A rename within a directory is one step. A rename from one directory to another is one step in each: with only the
//!   target synced the name is in both, with only the source synced it is in neither.
//! - `sync`, `syncfs` and `sync_file_range` promise nothing here: FUSE does not pass them on. Pages written through a
//!   shared `mmap` are seen by the disk when the kernel writes them back, at the latest with `msync` or `fsync`.
//!
//! | room | what it holds |
//! |---|---|
//! | [`disk`] | the model: inodes, names, and how long each lives |
//! | [`mod@file`], [`directory`] | one file, one directory: as seen, as on the disk, and the changes between |
//! | [`content`] | the bytes of a file, shared between copies |
//! | [`chance`] | the dice of [`Cut::Some`] |
//! | [`image`] | [`Image`] and [`Cut`] |
//! | [`serve`] | the FUSE side |

mod chance;
mod content;
mod directory;
mod disk;
mod file;
mod image;
mod serve;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

pub use disk::Syncs;
pub use image::{Cut, Image};

use disk::Disk;
use serve::Served;

/// The disk, between the thread that serves it and the test that asks for images.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Disk>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        // A panic within the model fails its test through the call that it answers with EIO; the others go on.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mounted disk. Dropping it unmounts, even while processes use it: their calls then fail with `ENOTCONN`.
#[derive(Debug)]
pub struct PowerCut {
    disk: Shared,
    mountpoint: PathBuf,
    session: Option<BackgroundSession>,
}

impl PowerCut {
    /// Mounts an empty disk on a directory. Needs `/dev/fuse` and the right to mount.
    pub fn mount(mountpoint: &Path) -> Result<Self> {
        let mountpoint = mountpoint
            .canonicalize()
            .with_context(|| format!("finding the mountpoint {}", mountpoint.display()))?;
        // Asked for here only to name the cause: a container without the device is the usual one.
        std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .context("opening /dev/fuse: the power-cut disk needs FUSE in the kernel, the device, and root")?;
        let disk = Shared(Arc::new(Mutex::new(Disk::new(serve::mounter()))));
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.mount_options = vec![
            MountOption::FSName("powercut".into()),
            MountOption::DefaultPermissions,
        ];
        let session = fuser::spawn_mount(Served::new(disk.clone()), &mountpoint, &config)
            .with_context(|| format!("mounting the power-cut disk on {}", mountpoint.display()))?;
        Ok(Self {
            disk,
            mountpoint,
            session: Some(session),
        })
    }

    /// Where the disk is mounted, with all symbolic links followed.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Holds what a cut would leave at this moment. Calls that the disk has answered are in it, later ones are not. It
    /// shares all content and takes some half a millisecond for a thousand inodes, so it can be taken at each
    /// acknowledgement while the server runs on.
    pub fn image(&self, mode: Cut) -> Image {
        let disk = self.disk.lock().clone();
        Image::new(disk, mode)
    }

    /// Brings all there is to the disk, as if nothing had changed for a long while: for where a test begins.
    pub fn settle(&self) {
        self.disk.lock().settle();
    }

    /// The bytes that files take now, in whole blocks.
    pub fn used(&self) -> u64 {
        self.disk.lock().used()
    }

    /// Limits the bytes that files may take: a write that would need more fails with `ENOSPC`. Names take no space.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk.lock().capacity = bytes;
    }

    /// Leaves room for this many bytes more than are taken now.
    pub fn fill_after(&self, bytes: u64) {
        let mut disk = self.disk.lock();
        disk.capacity = Some(disk.used().saturating_add(bytes));
    }

    /// Makes every change fail with `EROFS`, as after an error of the device. What was written before can be synced.
    pub fn set_read_only(&self, read_only: bool) {
        self.disk.lock().read_only = read_only;
    }

    /// Makes every sync fail with `EIO`. As on Linux, the changes of the file are then seen but never written, not even
    /// by a later sync that succeeds. The steps of a directory are not lost by it and wait for the next sync.
    pub fn fail_sync(&self, fail: bool) {
        self.disk.lock().fail_sync = fail;
    }

    /// How often the disk was asked to sync since it was mounted. Each write to a file that was opened with `O_SYNC` or
    /// `O_DSYNC` asks once too.
    pub fn syncs(&self) -> Syncs {
        self.disk.lock().syncs
    }

    fn unmount(&self) -> Result<(), Errno> {
        match rustix::mount::unmount(&self.mountpoint, UnmountFlags::empty()) {
            // A lazy unmount alone would leave the session to the processes that hold files open, and joining would
            // wait for them; by force, their calls end.
            Err(Errno::BUSY) => {
                rustix::mount::unmount(&self.mountpoint, UnmountFlags::FORCE | UnmountFlags::DETACH)
            }
            other => other,
        }
    }
}

impl Drop for PowerCut {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        // Where it was already unmounted by hand, the session has ended too, and there is nothing to tell.
        if matches!(self.unmount(), Ok(()) | Err(Errno::INVAL)) {
            drop(session.umount_and_join());
        }
    }
}
