//! Reading a file in pieces, one piece ahead of whoever takes them.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use rustix::buffer::spare_capacity;
use tokio::task::{JoinError, JoinHandle};

use super::cached;
use crate::driver::{ByteStream, Object, Opened};
use crate::error::Error;

/// Bytes of one piece. With one piece read ahead, a download holds two.
const PIECE: u64 = 256 * 1024;

/// And of the first, with nothing read ahead: whoever sends them may ask for one before anybody takes any, and a client can
/// have very many downloads under way of which it takes nothing.
const FIRST: u64 = 64 * 1024;

/// An open file.
#[derive(Debug)]
pub(super) struct FileObject {
    file: Arc<File>,
}

impl FileObject {
    pub(super) fn opened(file: File) -> Result<Opened, Error> {
        let metadata = file.metadata().map_err(|source| Error::Io {
            what: "stat".to_owned(),
            source,
        })?;
        let object = Box::new(Self {
            file: Arc::new(file),
        });
        Ok(Opened {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            object,
        })
    }
}

impl Object for FileObject {
    fn file(&self) -> Option<Arc<File>> {
        Some(Arc::clone(&self.file))
    }

    fn read(self: Box<Self>, range: Range<u64>) -> ByteStream {
        let reader = Reader {
            file: self.file,
            range,
            ahead: None,
            began: false,
        };
        futures::stream::unfold(reader, Reader::next).boxed()
    }
}

struct Reader {
    file: Arc<File>,
    /// What has not been asked of the disk yet.
    range: Range<u64>,
    ahead: Option<JoinHandle<Result<Bytes, Error>>>,
    began: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Self)> {
        if !self.began {
            self.began = true;
            if let Some(piece) = self.at_hand() {
                return Some((Ok(piece), self));
            }
            let first = self.fetch(FIRST)?;
            let piece = self.checked(first.await);
            return Some((piece, self));
        }
        let current = self.ahead.take().or_else(|| self.fetch(PIECE))?;
        self.ahead = self.fetch(PIECE);
        let piece = self.checked(current.await);
        Some((piece, self))
    }

    /// The first piece, if no disk needs to be waited for: a small blob then costs no other thread (see DESIGN.md).
    fn at_hand(&mut self) -> Option<Bytes> {
        let start = self.range.start;
        let end = self.range.end.min(start + FIRST);
        let bytes = cached::read(&self.file, start, usize::try_from(end - start).ok()?)?;
        self.range.start = end;
        Some(bytes)
    }

    /// Nothing comes after an error.
    fn checked(&mut self, piece: Result<Result<Bytes, Error>, JoinError>) -> Result<Bytes, Error> {
        let piece = super::joined(piece);
        if piece.is_err() {
            self.ahead = None;
            self.range.start = self.range.end;
        }
        piece
    }

    fn fetch(&mut self, most: u64) -> Option<JoinHandle<Result<Bytes, Error>>> {
        if self.range.is_empty() {
            return None;
        }
        let start = self.range.start;
        let end = self.range.end.min(start + most);
        self.range.start = end;
        let file = Arc::clone(&self.file);
        Some(tokio::task::spawn_blocking(move || {
            piece(&file, start, end)
        }))
    }
}

fn piece(file: &File, start: u64, end: u64) -> Result<Bytes, Error> {
    let failed = |source: std::io::Error| Error::Io {
        what: format!("reading at byte {start}"),
        source,
    };
    let wanted =
        usize::try_from(end - start).map_err(|error| failed(std::io::Error::other(error)))?;
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let at = start + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    // The spare capacity may have been larger than asked for, and the file longer.
    bytes.truncate(wanted);
    Ok(bytes.into())
}
