//! The body of an answer on its way out: from memory, or straight from a file.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use bytes::Buf;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use crate::files::{Files, Part};

/// Of a file, this much is under way at once: a client that takes no more of an answer is noticed by what it leaves.
const PIECE: u64 = 256 * 1024;

/// In the extensions of an answer: its body is this part of this file, and may be sent as it lies there. The body itself
/// gives the same bytes, and is used where that is not possible.
#[derive(Debug, Clone)]
pub struct InFile {
    file: Arc<File>,
    range: Range<u64>,
    sent: Arc<AtomicU64>,
}

impl InFile {
    pub fn new(file: Arc<File>, range: Range<u64>) -> Self {
        Self {
            file,
            range,
            sent: Arc::default(),
        }
    }

    fn length(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// Bytes that were sent from the file, and not taken from the body.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A body that is being sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    Memory(Body),
    File(Box<FromFile>),
}

impl Outgoing {
    /// The answer, whose file goes out by itself if the connection can do that.
    pub(super) fn of(mut answer: Response<Body>, files: Option<&Files>) -> Response<Self> {
        let in_file = answer.extensions_mut().remove::<InFile>();
        let length = answer.headers().get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        // The server would have to cut a part that is longer than the answer.
        let in_file = in_file.filter(|in_file| length == Some(in_file.length()));
        answer.map(|body| match (in_file, files) {
            (Some(in_file), Some(files)) if !body.is_end_stream() => {
                Self::File(Box::new(FromFile {
                    next: in_file.range.start,
                    in_file,
                    files: files.clone(),
                    reading: None,
                    _body: body,
                }))
            }
            _ => Self::Memory(body),
        })
    }
}

#[derive(Debug)]
pub(super) struct FromFile {
    in_file: InFile,
    /// Where the next piece begins.
    next: u64,
    files: Files,
    /// A piece that comes from the disk.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Whoever made it waits for its end.
    _body: Body,
}

impl FromFile {
    fn left(&self) -> u64 {
        self.in_file.range.end.saturating_sub(self.next)
    }

    /// What is in memory goes straight to the socket; what is not is waited for on a thread that may wait, since
    /// sendfile(2) would hold up every other connection of this thread.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Piece>>> {
        if let Some(reading) = &mut self.reading {
            let read = ready!(Pin::new(reading).poll(context));
            self.reading = None;
            let read = read.unwrap_or_else(|cut_off| Err(io::Error::other(cut_off)));
            return Poll::Ready(Some(read.map(|bytes| self.gone(Piece::Memory(bytes)))));
        }
        let length = self.left().min(PIECE);
        if length == 0 {
            return Poll::Ready(None);
        }
        let file = &self.in_file.file;
        let Ok(in_memory) = usize::try_from(length) else {
            return Poll::Ready(Some(Err(io::ErrorKind::InvalidInput.into())));
        };
        let ends = [self.next, self.next + length - 1];
        if ends.into_iter().all(|at| is_in_memory(file, at)) {
            let part = self.files.part(file, self.next, in_memory);
            return Poll::Ready(Some(Ok(self.gone(Piece::File(part)))));
        }
        let (file, at) = (Arc::clone(file), self.next);
        let mut reading = tokio::task::spawn_blocking(move || read(&file, at, in_memory));
        let polled = Pin::new(&mut reading).poll(context);
        self.reading = Some(reading);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(read) => {
                self.reading = None;
                let read = read.unwrap_or_else(|cut_off| Err(io::Error::other(cut_off)));
                Poll::Ready(Some(read.map(|bytes| self.gone(Piece::Memory(bytes)))))
            }
        }
    }

    fn gone(&mut self, piece: Piece) -> Piece {
        let length = piece.remaining() as u64;
        self.next += length;
        self.in_file.sent.fetch_add(length, Ordering::Relaxed);
        piece
    }
}

/// Whether this byte can be had without waiting for a disk. Where the file system cannot tell, it is not.
fn is_in_memory(file: &File, at: u64) -> bool {
    let mut byte = [0];
    let buffers = &mut [IoSliceMut::new(&mut byte)];
    loop {
        match preadv2(file, buffers, at, ReadWriteFlags::NOWAIT) {
            Err(Errno::INTR) => {}
            // At the end of a file that was truncated: sending it tells.
            read => return read.is_ok(),
        }
    }
}

fn read(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; length];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, at)?;
    Ok(bytes.into())
}

/// What is given to the server at a time.
#[derive(Debug)]
pub(super) enum Piece {
    Memory(Bytes),
    File(Part),
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.remaining(),
            Self::File(part) => part.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes.chunk(),
            Self::File(part) => part.chunk(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Memory(bytes) => bytes.advance(count),
            Self::File(part) => part.advance(count),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Memory(bytes) => bytes.chunks_vectored(slices),
            Self::File(part) => part.chunks_vectored(slices),
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        match self.get_mut() {
            Self::Memory(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| Ok(frame?.map_data(Piece::Memory))))
            }
            Self::File(file) => {
                let piece = ready!(file.poll_piece(context));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(axum::Error::new)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Memory(body) => body.is_end_stream(),
            Self::File(file) => file.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Memory(body) => body.size_hint(),
            Self::File(file) => SizeHint::with_exact(file.left()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_sent_only_as_the_length_that_the_answer_tells() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        for (told, is_sent) in [(Some("7"), true), (Some("6"), false), (None, false)] {
            let mut answer = Response::new(Body::from("content"));
            let in_file = InFile::new(Arc::clone(&file), 3..10);
            answer.extensions_mut().insert(in_file);
            if let Some(told) = told {
                let told = http::HeaderValue::from_static(told);
                answer.headers_mut().insert("content-length", told);
            }
            let outgoing = Outgoing::of(answer, Some(&Files::default()));
            assert_eq!(
                matches!(outgoing.body(), Outgoing::File(_)),
                is_sent,
                "{told:?}"
            );
        }
    }
}
