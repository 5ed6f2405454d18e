//! A client that costs as little as it can: blocking sockets, requests that are written once, bodies that are thrown away
//! without being looked at.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::net::{RecvFlags, recv};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

/// A server that says nothing for this long is broken, however busy the machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// What is taken at once of a body.
const PIECE: usize = 1 << 20;

/// Where a server is, and how it is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    host: String,
    /// What was read; of it, from `taken` on is not looked at yet.
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
}

/// What becomes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Kept,
    Discarded,
    /// There is none, whatever its length.
    Absent,
}

#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// Bytes of the body.
    pub(crate) length: u64,
    pub(crate) body: Vec<u8>,
    chunked: bool,
}

impl Answer {
    /// An error unless the status is this.
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        if self.status != status {
            bail!(
                "{} instead of {status}: {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            );
        }
        Ok(self)
    }

    /// The path of the `Location`, without scheme and host.
    pub(crate) fn path(&self) -> Result<String> {
        let location = self
            .location
            .as_deref()
            .context("an answer without Location")?;
        let path = match location.split_once("://") {
            Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)),
            None => Some(location),
        };
        Ok(path.context("a Location without a path")?.to_owned())
    }
}

impl Connection {
    pub(crate) fn open(target: &Target) -> Result<Self> {
        let tcp = TcpStream::connect(target.addr)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let stream = match &target.tls {
            None => Stream::Plain(tcp),
            Some(config) => {
                let name = ServerName::from(target.addr.ip());
                let tls = ClientConnection::new(Arc::clone(config), name)?;
                Stream::Tls(Box::new(StreamOwned::new(tls, tcp)))
            }
        };
        Ok(Self {
            stream,
            host: target.addr.to_string(),
            buffer: vec![0; PIECE],
            taken: 0,
            filled: 0,
        })
    }

    /// The bytes of a request without its body, to be sent any number of times.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &str) -> Vec<u8> {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            self.host
        )
        .into_bytes()
    }

    /// Sends a request, and what follows it.
    pub(crate) fn send(&mut self, pieces: &[&[u8]]) -> Result<()> {
        for piece in pieces {
            match &mut self.stream {
                Stream::Plain(tcp) => tcp.write_all(piece)?,
                Stream::Tls(tls) => tls.write_all(piece)?,
            }
        }
        Ok(())
    }

    /// A request and its answer, body kept.
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<Answer> {
        let length = match (method, body.len()) {
            ("GET" | "HEAD", 0) => String::new(),
            (_, length) => format!("Content-Length: {length}\r\n"),
        };
        let mut request = self.request(method, path, &format!("{headers}{length}"));
        // A small body goes in one segment with its request, as clients send it.
        if body.len() <= PIECE / 16 {
            request.extend_from_slice(body);
            self.send(&[&request])?;
        } else {
            self.send(&[&request, body])?;
        }
        let kept = if method == "HEAD" {
            Body::Absent
        } else {
            Body::Kept
        };
        self.answer(kept)
            .with_context(|| format!("{method} {path}"))
    }

    /// Reads an answer to its end.
    pub(crate) fn answer(&mut self, body: Body) -> Result<Answer> {
        let mut answer = loop {
            let head = self.head()?;
            // 100 and its like come before the answer.
            if head.status >= 200 {
                break head;
            }
        };
        if body == Body::Absent || matches!(answer.status, 204 | 304) {
            answer.length = 0;
            return Ok(answer);
        }
        if answer.chunked {
            return self.chunks(answer, body);
        }
        self.take(answer.length, body, &mut answer.body)?;
        Ok(answer)
    }

    fn head(&mut self) -> Result<Answer> {
        let mut answer = Answer::default();
        let first = self.line()?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        answer.status = status.ok_or_else(|| anyhow!("not an answer: {first}"))?;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(answer);
            }
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                answer.length = value.parse()?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                answer.chunked = true;
            } else if name.eq_ignore_ascii_case("location") {
                answer.location = Some(value.to_owned());
            }
        }
    }

    fn chunks(&mut self, mut answer: Answer, body: Body) -> Result<Answer> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).context("a chunk without a size")?;
            self.take(size, body, &mut answer.body)?;
            answer.length += size;
            self.line()?;
            if size == 0 {
                return Ok(answer);
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut looked = 0;
        loop {
            let unread = self.buffer.get(self.taken..self.filled).unwrap_or_default();
            if let Some(end) = unread.iter().skip(looked).position(|byte| *byte == b'\n') {
                let line = unread.get(..looked + end).unwrap_or_default();
                let line = String::from_utf8_lossy(line)
                    .trim_end_matches('\r')
                    .to_owned();
                self.taken += looked + end + 1;
                return Ok(line);
            }
            looked = unread.len();
            self.fill()?;
        }
    }

    /// Reads more behind what is there.
    fn fill(&mut self) -> Result<()> {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        } else if self.filled == self.buffer.len() {
            self.buffer.copy_within(self.taken.., 0);
            (self.taken, self.filled) = (0, self.filled - self.taken);
        }
        let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let read = match &mut self.stream {
            Stream::Plain(tcp) => tcp.read(free)?,
            Stream::Tls(tls) => tls.read(free)?,
        };
        if read == 0 {
            bail!("the connection was closed");
        }
        self.filled += read;
        Ok(())
    }

    fn take(&mut self, mut length: u64, body: Body, into: &mut Vec<u8>) -> Result<()> {
        while length > 0 {
            if self.taken == self.filled && body == Body::Discarded {
                let skipped = self.skip(length)?;
                length -= skipped;
                if skipped > 0 {
                    continue;
                }
            }
            if self.taken == self.filled {
                self.fill()?;
            }
            let here = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(self.filled - self.taken);
            if body == Body::Kept {
                into.extend_from_slice(
                    self.buffer
                        .get(self.taken..self.taken + here)
                        .unwrap_or_default(),
                );
            }
            self.taken += here;
            length -= here as u64;
        }
        Ok(())
    }

    /// Throws bytes away in the kernel, without a copy, where it can (tcp(7), `MSG_TRUNC`).
    fn skip(&mut self, length: u64) -> Result<u64> {
        let Stream::Plain(tcp) = &self.stream else {
            return Ok(0);
        };
        let wanted = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(self.buffer.len());
        let room = self.buffer.get_mut(..wanted).unwrap_or_default();
        loop {
            match recv(tcp, &mut *room, RecvFlags::TRUNC) {
                Ok((_, 0)) => bail!("the connection was closed with {length} bytes to come"),
                Ok((_, skipped)) => return Ok(skipped as u64),
                Err(error) if std::io::Error::from(error).kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(said: &'static str) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let connection = Connection::open(&Target { addr, tls: None }).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(said.as_bytes()).unwrap();
        connection
    }

    #[test]
    fn answers_follow_each_other_on_one_connection() {
        let mut connection = answered(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
             HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n\
             HTTP/1.1 202 Accepted\r\nLocation: http://host:1/v2/x?y\r\nContent-Length: 7\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast",
        );
        assert_eq!(connection.answer(Body::Kept).unwrap().body, b"hello");
        let chunked = connection.answer(Body::Kept).unwrap();
        assert_eq!(
            (chunked.length, chunked.body.as_slice()),
            (5, b"abcde".as_slice())
        );
        let head = connection.answer(Body::Absent).unwrap();
        assert_eq!(head.path().unwrap(), "/v2/x?y");
        assert_eq!(connection.answer(Body::Discarded).unwrap().length, 4);
        assert!(connection.answer(Body::Kept).is_err(), "nothing more came");
    }
}
