//! Files that go out without passing through this process: sendfile(2), under an HTTP server that knows only of memory.
//!
//! The server is given a [`Part`] in the place of bytes. It is as long as the bytes of the file that it stands for, and
//! shows the server a token of one byte, by whose address the connection ([`Sending`]) recognises the part and sends the
//! file instead. The file is never mapped: one that was truncated is an error of the connection, not a signal.
//!
//! Nobody reads the token. A server that asks a part for bytes to copy them gets that byte, and the connection fails with
//! its next write: what it would send is wrong. Nobody may cut a part short either: it is sent whole.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use roadstead_listen::Stream;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// The parts that one connection is to send. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    parts: Mutex<Vec<Arc<Token>>>,
    /// How many there are: looked at with each write, also where no file is ever sent.
    count: AtomicUsize,
    /// Somebody wanted bytes that are not there.
    was_read: AtomicBool,
}

/// What a part is known by, and what it stands for.
#[derive(Debug)]
struct Token {
    byte: [u8; 1],
    file: Arc<File>,
    next: AtomicU64,
    /// Bytes.
    left: AtomicUsize,
}

/// Bytes of a file, in the place of bytes in memory.
#[derive(Debug)]
pub(crate) struct Part {
    token: Arc<Token>,
    files: Files,
}

impl Files {
    /// `length` bytes of the file from `start` on.
    pub(crate) fn part(&self, file: &Arc<File>, start: u64, length: usize) -> Part {
        let token = Arc::new(Token {
            byte: [0],
            file: Arc::clone(file),
            next: AtomicU64::new(start),
            left: AtomicUsize::new(length),
        });
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.push(Arc::clone(&token));
        self.0.count.store(parts.len(), Ordering::Release);
        drop(parts);
        Part {
            token,
            files: self.clone(),
        }
    }

    /// The part whose token this is.
    fn named_by(&self, slice: &[u8]) -> Option<Arc<Token>> {
        let parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_named = |token: &&Arc<Token>| std::ptr::eq(token.byte.as_ptr(), slice.as_ptr());
        parts.iter().find(is_named).cloned()
    }

    fn are_none(&self) -> bool {
        self.0.count.load(Ordering::Acquire) == 0
    }

    fn check(&self) -> io::Result<()> {
        if self.0.was_read.load(Ordering::Acquire) {
            return Err(io::Error::other("a part of a file was taken for memory"));
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let shared = &self.files.0;
        let mut parts = shared.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|token| !Arc::ptr_eq(token, &self.token));
        shared.count.store(parts.len(), Ordering::Release);
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.token.left.load(Ordering::Relaxed)
    }

    /// Never empty before the end, as whoever copies would wait for more: see the head of this file.
    fn chunk(&self) -> &[u8] {
        if self.remaining() == 0 {
            return &[];
        }
        self.files.0.was_read.store(true, Ordering::Release);
        &self.token.byte
    }

    fn advance(&mut self, count: usize) {
        let left = self.remaining().saturating_sub(count);
        self.token.left.store(left, Ordering::Relaxed);
        self.token.next.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match slices.first_mut() {
            Some(slice) if self.remaining() > 0 => {
                *slice = IoSlice::new(&self.token.byte);
                1
            }
            _ => 0,
        }
    }
}

/// A connection that sends files.
#[derive(Debug)]
pub(crate) struct Sending {
    stream: Stream,
    files: Files,
    unwritten: Unwritten,
}

/// Whether a connection has bytes that its socket did not take yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unwritten(Arc<AtomicBool>);

impl Unwritten {
    pub(crate) fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        self.0.store(written.is_pending(), Ordering::Relaxed);
    }
}

impl Sending {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            files: Files::default(),
            unwritten: Unwritten::default(),
        }
    }

    pub(crate) fn files(&self) -> Files {
        self.files.clone()
    }

    pub(crate) fn unwritten(&self) -> Unwritten {
        self.unwritten.clone()
    }

    /// As much of the part as the socket takes.
    fn poll_send(&self, context: &mut Context<'_>, token: &Token) -> Poll<io::Result<usize>> {
        loop {
            let sent = match &self.stream {
                Stream::Tcp(socket) => {
                    ready!(socket.poll_write_ready(context))?;
                    socket.try_io(Interest::WRITABLE, || token.send(socket))
                }
                Stream::Unix(socket) => {
                    ready!(socket.poll_write_ready(context))?;
                    socket.try_io(Interest::WRITABLE, || token.send(socket))
                }
            };
            match sent {
                Ok(0) => {
                    let shorter = "a file is shorter than it was when it was opened";
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, shorter);
                    return Poll::Ready(Err(error));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

impl Sending {
    fn poll_write_any(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.files.check()?;
        if self.files.are_none() {
            return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        }
        let mut before = 0;
        for slice in slices {
            match self.files.named_by(slice) {
                Some(token) if before == 0 => return self.poll_send(context, &token),
                Some(_) => break,
                None => before += 1,
            }
        }
        let memory = slices.get(..before).unwrap_or_default();
        Pin::new(&mut self.stream).poll_write_vectored(context, memory)
    }
}

impl Token {
    fn send(&self, socket: &impl AsFd) -> io::Result<usize> {
        let mut next = self.next.load(Ordering::Relaxed);
        let left = self.left.load(Ordering::Relaxed);
        Ok(rustix::fs::sendfile(
            socket,
            &self.file,
            Some(&mut next),
            left,
        )?)
    }
}

impl AsyncRead for Sending {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Sending {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.poll_write_any(context, slices);
        this.unwritten.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.files.check()?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
