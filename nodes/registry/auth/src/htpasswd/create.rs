//! A file that is not there is made, with one user, so that a registry with a mistyped path is not open.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::password::Hash;
use crate::authenticator::BuildError;
use crate::watched::FileError;

/// The user, as in the reference.
const USER: &str = "docker";

/// bcrypt's own default, which the reference uses here.
const COST: u32 = 10;

/// Makes the file unless something is there. The password is logged, this once: there is no other way to learn it.
pub(crate) fn if_missing(path: &Path) -> Result<(), BuildError> {
    let trouble = |source| {
        BuildError::File(FileError::Read {
            path: path.to_owned(),
            source,
        })
    };
    if path.try_exists().map_err(trouble)? {
        return Ok(());
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|_none| BuildError::NoRandomness)?;
    let password = URL_SAFE_NO_PAD.encode(random);
    let hash = Hash::of(&password, COST).map_err(|_none| BuildError::NoRandomness)?;
    let line = format!("{USER}:{}\n", hash.as_str());
    if put_new(path, &line).map_err(trouble)? {
        tracing::warn!(
            user = USER,
            password,
            path = %path.display(),
            "htpasswd is missing, provisioning with default user"
        );
    }
    Ok(())
}

/// Whether the file is this one's: nobody ever sees half of it, and it never replaces another.
fn put_new(path: &Path, content: &str) -> io::Result<bool> {
    let directory = directory_of(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    // Readable by its owner alone, as temporary files are.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_made) => sync_directory(directory).map(|()| true),
        Err(other) if other.error.kind() == io::ErrorKind::AlreadyExists => {
            // Another process was faster, or it is a symbolic link that leads nowhere: then reading it fails.
            fs::metadata(path).map(|_| false)
        }
        Err(other) => Err(other.error),
    }
}

/// Where a file lies; `.` for a bare name.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::file::UserFile;
    use super::*;

    #[test]
    fn a_missing_file_is_made_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth/htpasswd");
        if_missing(&path).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let content = fs::read(&path).unwrap();
        let file = UserFile::parse(&content).unwrap();
        assert_eq!(file.get(USER).unwrap().cost(), COST);
        if_missing(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn another_s_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("htpasswd");
        fs::write(&path, "theirs").unwrap();
        assert!(!put_new(&path, "mine").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        let dangling = directory.path().join("dangling");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        assert!(if_missing(&dangling).is_err());
    }
}
