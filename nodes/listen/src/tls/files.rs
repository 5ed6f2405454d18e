//! The files as they are at one moment.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{TlsError, TlsOptions};

/// A certificate with its chain takes a few kilobytes, all the world's authorities a quarter of a megabyte.
const LARGEST: u64 = 4 << 20;

/// Contents of all files. What changed is found by comparing contents: they are small, and times, sizes and inodes can
/// stay the same while a file is rewritten, or change while it is not. Symlinks are followed anew each time.
#[derive(PartialEq, Eq)]
pub(super) struct Files {
    /// Chain and key; none before a certificate was supplied.
    pub(super) own: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) more: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) client_cas: Vec<(PathBuf, Vec<u8>)>,
}

impl Files {
    pub(super) fn read(options: &TlsOptions) -> Result<Self, TlsError> {
        Ok(Self {
            own: match &options.supplied {
                Some(supplied) => supplied.pair(),
                None => Some((
                    read("certificate", &options.certificate)?,
                    read("key", &options.key)?,
                )),
            },
            more: options
                .more
                .iter()
                .map(|(certificate, key)| {
                    Ok((
                        read("more.certificate", certificate)?,
                        read("more.key", key)?,
                    ))
                })
                .collect::<Result<_, _>>()?,
            client_cas: options
                .client_cas
                .iter()
                .map(|path| Ok((path.clone(), read("clientcas", path)?)))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    read_file(path).map_err(|source| TlsError::Unreadable {
        setting,
        path: path.to_owned(),
        source,
    })
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut contents = Vec::new();
    File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut contents)?;
    if contents.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    Ok(contents)
}
