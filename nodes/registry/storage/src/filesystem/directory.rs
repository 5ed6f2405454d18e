//! Reading directories with bounded memory.

use std::collections::BinaryHeap;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use crate::driver::Entry;

/// The first `limit` names after `after`, in byte order. Reads the whole directory, holds `limit` names. What is not UTF-8
/// in a name is told as U+FFFD, which no path of a store holds: nobody takes such a directory for an absent one.
pub(super) fn list(
    directory: &OwnedFd,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Entry>, Errno> {
    let mut first = BinaryHeap::new();
    for item in Dir::read_from(directory)? {
        let item = item?;
        let name = item.file_name().to_string_lossy();
        let name = name.as_ref();
        if matches!(name, "." | "..") || after.is_some_and(|after| name <= after) {
            continue;
        }
        if first.len() >= limit
            && first
                .peek()
                .is_none_or(|last: &Entry| name >= last.name.as_str())
        {
            continue;
        }
        let Some(is_directory) = is_directory(directory, item.file_name(), item.file_type())?
        else {
            continue;
        };
        first.push(Entry {
            name: name.to_owned(),
            is_directory,
        });
        if first.len() > limit {
            first.pop();
        }
    }
    Ok(first.into_sorted_vec())
}

/// All names, in byte order. `None` when there are more than `most`, or one of them may be a link.
pub(super) fn all(directory: &OwnedFd, most: usize) -> Result<Option<Vec<Entry>>, Errno> {
    let mut all = Vec::new();
    for item in Dir::read_from(directory)? {
        let item = item?;
        let name = item.file_name().to_string_lossy();
        if matches!(name.as_ref(), "." | "..") {
            continue;
        }
        let is_directory = match item.file_type() {
            FileType::Directory => true,
            FileType::RegularFile => false,
            _ => return Ok(None),
        };
        if all.len() >= most {
            return Ok(None);
        }
        let name = name.into_owned();
        all.push(Entry { name, is_directory });
    }
    all.sort_unstable();
    Ok(Some(all))
}

/// `None` when the name is gone meanwhile. A link that leads nowhere is there, and no directory.
fn is_directory(directory: impl AsFd, name: &CStr, kind: FileType) -> Result<Option<bool>, Errno> {
    match kind {
        FileType::Directory => return Ok(Some(true)),
        FileType::RegularFile => return Ok(Some(false)),
        // Links are followed, and some file systems do not say.
        _ => {}
    }
    match statat(&directory, name, AtFlags::empty()) {
        Ok(stat) => Ok(Some(
            FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        )),
        Err(Errno::NOENT) => match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(Some(false)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}
