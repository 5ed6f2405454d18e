//! Reading the configuration's text: no more of it than one can have, and no longer than it takes to write it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use roadstead_config::MAX_BYTES;

/// What is not a file of a disk (a pipe, a terminal) may never come to an end. A program at the other end of a pipe takes a
/// moment to start.
const COMES_WITHIN: Duration = Duration::from_secs(30);

/// The text. A directory, a missing file and the like are errors of the system.
pub(super) fn read(path: &Path) -> Result<String> {
    read_within(path, COMES_WITHIN)
}

fn read_within(path: &Path, within: Duration) -> Result<String> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_file() || metadata.is_dir() {
        return bounded(File::open(path)?);
    }
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    // Opening a pipe waits too, and cannot be given up: this thread ends with the process.
    std::thread::spawn(move || {
        let text = File::open(path).map_err(Into::into).and_then(bounded);
        let _nobody_waits = sender.send(text);
    });
    match receiver.recv_timeout(within) {
        Ok(text) => text,
        Err(_timeout) => bail!("no end of it came within {within:?}"),
    }
}

fn bounded(file: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() <= MAX_BYTES,
        "the text is longer than {MAX_BYTES} bytes"
    );
    String::from_utf8(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()).into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[test]
    fn what_has_no_end_is_not_read_to_it() {
        for endless in ["/dev/zero", "/dev/random"] {
            let error = read(Path::new(endless)).unwrap_err().to_string();
            assert_eq!(error, "the text is longer than 1048576 bytes", "{endless}");
        }
        let exact = bounded(io::repeat(b' ').take(MAX_BYTES as u64)).unwrap();
        assert_eq!(exact.len(), MAX_BYTES);
    }

    #[test]
    fn a_pipe_is_read_and_one_that_nobody_writes_to_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let error = read_within(&pipe, SOON).unwrap_err().to_string();
        assert_eq!(error, "no end of it came within 50ms");
        // Another one: who gave up still waits to open the first.
        let other = directory.path().join("other");
        rustix::fs::mkfifoat(rustix::fs::CWD, &other, rustix::fs::Mode::RWXU).unwrap();
        let written = other.clone();
        let writer = std::thread::spawn(move || {
            let mut pipe = File::options().write(true).open(written).unwrap();
            pipe.write_all(b"version: 0.1").unwrap();
        });
        assert_eq!(read(&other).unwrap(), "version: 0.1");
        writer.join().unwrap();
    }
}
