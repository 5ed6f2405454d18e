//! The same question about many paths, asked by one thread in a row.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::{Tree, relative};
use crate::driver::Entry;
use crate::{Error, StorePath};

impl Tree {
    /// Which of these are there. Asked from the directory that they have in common, so that the kernel goes the way there
    /// once: of ten thousand tags this halves the time.
    pub(in super::super) fn which_exist(&self, paths: &[StorePath]) -> Result<Vec<bool>, Error> {
        let names: Vec<&str> = paths.iter().map(relative).collect();
        let common = common_directory(&names);
        let above = match common.trim_end_matches('/') {
            "" => ".",
            above => above,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match openat(&self.root, above, flags, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                return self.check_root().map(|()| vec![false; paths.len()]);
            }
            Err(errno) => return Err(asking(above, errno)),
        };
        let below = |name: &&str| name.strip_prefix(common).unwrap_or(name).to_owned();
        self.which_are_in(&opened, names.iter().map(below))
    }

    /// Which of these are there, from an open directory on. Of a root that is gone nothing is said to be absent.
    fn which_are_in(
        &self,
        opened: &OwnedFd,
        paths: impl Iterator<Item = String>,
    ) -> Result<Vec<bool>, Error> {
        let is_there = |path: String| match statat(opened, path.as_str(), AtFlags::empty()) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(asking(&path, errno)),
        };
        let there: Vec<bool> = paths.map(is_there).collect::<Result<_, _>>()?;
        if !there.iter().all(|there| *there) {
            self.check_root()?;
        }
        Ok(there)
    }

    /// Of which names it is remembered that they have this file.
    pub(in super::super) fn known_to_hold(
        &self,
        directory: &StorePath,
        file: &str,
        names: &[String],
    ) -> Vec<bool> {
        let known = self
            .is_local()
            .then(|| self.open_directory(relative(directory)).ok())
            .flatten()
            .and_then(|opened| self.listings.held(&opened, file, names));
        known.unwrap_or_else(|| vec![false; names.len()])
    }

    /// Which of these names have this file in them; remembered where the directory's names are.
    pub(in super::super) fn which_hold(
        &self,
        directory: &StorePath,
        file: &str,
        names: &[String],
    ) -> Result<Vec<bool>, Error> {
        let opened = match self.open_directory(relative(directory)) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                return self.check_root().map(|()| vec![false; names.len()]);
            }
            Err(errno) => return Err(asking(relative(directory), errno)),
        };
        let looks = self.is_local().then(|| self.listings.looks(&opened));
        let paths = names.iter().map(|name| format!("{name}/{file}"));
        let there = self.which_are_in(&opened, paths)?;
        if let Some(looked) = looks.flatten() {
            self.listings.hold(&opened, looked, file, names, &there);
        }
        Ok(there)
    }

    pub(in super::super) fn list_if_there(
        &self,
        directory: &StorePath,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        match self.list(directory, None, limit) {
            Err(Error::NotFound(_)) => Ok(Vec::new()),
            listed => listed,
        }
    }
}

fn asking(name: &str, errno: Errno) -> Error {
    Error::Io {
        what: format!("stat {name}"),
        source: errno.into(),
    }
}

/// The directory that all of these lie in, with the slash at its end; empty when that is the root.
fn common_directory<'a>(names: &[&'a str]) -> &'a str {
    let Some((first, others)) = names.split_first() else {
        return "";
    };
    let alike = |one: &str, other: &str| {
        let pairs = one.bytes().zip(other.bytes());
        pairs.take_while(|(one, other)| one == other).count()
    };
    let alike = others
        .iter()
        .fold(first.len(), |least, other| least.min(alike(first, other)));
    let end = first
        .bytes()
        .take(alike)
        .rposition(|byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    first.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_paths_have_in_common_ends_with_a_slash() {
        for (names, common) in [
            (&["a/b/c", "a/b/d"][..], "a/b/"),
            (&["a/bc/x", "a/bd/x"], "a/"),
            (&["a/b", "a/b/c"], "a/"),
            (&["a/b"], "a/"),
            (&["a", "b"], ""),
            (&["."], ""),
            (&[], ""),
        ] {
            assert_eq!(common_directory(names), common, "{names:?}");
        }
    }
}
