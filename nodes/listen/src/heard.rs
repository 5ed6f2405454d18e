//! Waiting for a client to speak, without losing what it said.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// How a client begins that speaks HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8; FIRST_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How many bytes are looked at, at most: as many as tell HTTP/2 from HTTP/1.
pub const FIRST_BYTES: usize = 24;

/// A stream whose first bytes were read, and will be read again.
///
/// They are copied out once; after them reads go straight to the stream, and writes always do.
#[derive(Debug)]
pub struct Heard<S> {
    first: [u8; FIRST_BYTES],
    /// What of `first` is still to be read.
    from: usize,
    until: usize,
    stream: S,
}

/// Why nothing was heard.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// The client said nothing, or too little, for too long.
    #[error("the client did not say enough in time")]
    TimedOut,
    /// The client closed its side before it said anything.
    #[error("the client said nothing")]
    Closed,
    /// The connection broke.
    #[error("the connection broke before the client spoke")]
    Broken(#[source] io::Error),
}

/// Reads until what was read is enough, or is [`FIRST_BYTES`], or is all there will be.
pub async fn first_bytes<S: AsyncRead + Unpin>(
    stream: S,
    enough: impl Fn(&[u8]) -> bool,
    within: Duration,
) -> Result<Heard<S>, Unheard> {
    let mut heard = Heard {
        first: [0; FIRST_BYTES],
        from: 0,
        until: 0,
        stream,
    };
    let listening = async {
        loop {
            let free = &mut heard.first[heard.until..];
            let read = heard.stream.read(free).await.map_err(Unheard::Broken)?;
            heard.until += read;
            match read {
                0 if heard.until == 0 => return Err(Unheard::Closed),
                0 => return Ok(()),
                _some if heard.until == FIRST_BYTES || enough(heard.first()) => return Ok(()),
                _some => {}
            }
        }
    };
    match timeout(within, listening).await {
        Ok(listened) => listened.map(|()| heard),
        Err(_elapsed) => Err(Unheard::TimedOut),
    }
}

/// Whether this is enough to tell which HTTP a client speaks: not while it may still become HTTP/2's preface.
pub fn tells_http(first: &[u8]) -> bool {
    !first.is_empty() && (first.len() >= FIRST_BYTES || !PREFACE.starts_with(first))
}

impl<S> Heard<S> {
    /// What was heard, as far as it was not read again.
    pub fn first(&self) -> &[u8] {
        &self.first[self.from..self.until]
    }

    /// The stream behind the first bytes.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.from == self.until {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let taken = buf.remaining().min(self.until - self.from);
        buf.put_slice(&self.first[self.from..self.from + taken]);
        self.from += taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(75);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_or_too_little_is_let_go() {
        for said in ["", "P", "PRI * HT"] {
            let (mut client, server) = duplex(64);
            client.write_all(said.as_bytes()).await.unwrap();
            let began = Instant::now();
            let heard = first_bytes(server, tells_http, WITHIN).await;
            assert!(matches!(heard, Err(Unheard::TimedOut)), "{said:?}");
            assert!(began.elapsed() >= WITHIN);
        }
    }

    #[tokio::test]
    async fn what_was_heard_is_read_again_and_then_the_rest() {
        for said in [
            "G",
            "GET / HTTP/1.1\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore",
        ] {
            let (mut client, server) = duplex(64);
            client.write_all(said.as_bytes()).await.unwrap();
            let mut heard = first_bytes(server, tells_http, WITHIN).await.unwrap();
            assert!(said.as_bytes().starts_with(heard.first()));
            client.write_all(b"; the end").await.unwrap();
            drop(client);
            let mut all = String::new();
            heard.read_to_string(&mut all).await.unwrap();
            assert_eq!(all, format!("{said}; the end"));
            assert!(heard.first().is_empty());
        }
    }

    #[tokio::test]
    async fn a_preface_in_pieces_is_waited_for() {
        let (mut client, server) = duplex(64);
        let heard = tokio::spawn(first_bytes(server, tells_http, WITHIN));
        for byte in PREFACE {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(heard.await.unwrap().unwrap().first(), PREFACE);
    }

    #[tokio::test]
    async fn a_client_that_closes_is_told_from_one_that_said_all() {
        let (client, server) = duplex(64);
        drop(client);
        let heard = first_bytes(server, tells_http, WITHIN).await;
        assert!(matches!(heard, Err(Unheard::Closed)));
        let (mut client, server) = duplex(64);
        client.write_all(b"PRI").await.unwrap();
        drop(client);
        let heard = first_bytes(server, tells_http, WITHIN).await.unwrap();
        assert_eq!(heard.first(), b"PRI");
    }
}
