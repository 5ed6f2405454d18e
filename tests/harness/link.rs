//! The way to a store over HTTP: every request is seen, and some are answered badly.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What happens to a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Weather {
    /// It arrives.
    #[default]
    Fair,
    /// So many are answered with this status and code; then it is fair again.
    Refused(usize, u16, &'static str),
    /// The connection breaks.
    Down,
}

/// A port that leads to another.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    weather: Mutex<Weather>,
    seen: Mutex<Vec<String>>,
}

impl Link {
    /// # Panics
    /// When there is no port.
    pub fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            to,
            weather: Mutex::default(),
            seen: Mutex::default(),
        });
        let all = Arc::clone(&shared);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&all);
                // A link that breaks is what is wanted here.
                std::thread::spawn(move || drop(carry(client, &shared)));
            }
        });
        Self { addr, shared }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn set(&self, weather: Weather) {
        *lock(&self.shared.weather) = weather;
    }

    pub fn weather(&self) -> Weather {
        *lock(&self.shared.weather)
    }

    /// What was asked since the last time: method and target, with `COPY` for what the store copies by itself.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.seen))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request: the store is told that there will be no second, and closes the connection.
fn carry(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let (head, rest) = head(&mut client)?;
    let first = head.lines().next().unwrap_or_default();
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next());
    let is_copy = head.to_ascii_lowercase().contains("\r\nx-amz-copy-source:");
    let shown = if is_copy { "COPY" } else { method };
    lock(&shared.seen).push(format!("{shown} {}", target.unwrap_or_default()));
    let refused = {
        let mut weather = lock(&shared.weather);
        match *weather {
            Weather::Fair => None,
            Weather::Down => return client.shutdown(Shutdown::Both),
            Weather::Refused(left, status, code) => {
                *weather = match left {
                    0 | 1 => Weather::Fair,
                    left => Weather::Refused(left - 1, status, code),
                };
                Some((status, code))
            }
        }
    };
    if let Some((status, code)) = refused {
        let body = format!("<Error><Code>{code}</Code><Message>bad weather</Message></Error>");
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        client.write_all(answer.as_bytes())?;
        client.shutdown(Shutdown::Write)?;
        // What is still coming is read, or the answer would be lost with the connection.
        return std::io::copy(&mut client, &mut std::io::sink()).map(drop);
    }
    let mut server = TcpStream::connect(shared.to)?;
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes())?;
    server.write_all(&rest)?;
    let (mut from, mut on) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || drop(std::io::copy(&mut from, &mut on)));
    let answered = std::io::copy(&mut server, &mut client);
    client.shutdown(Shutdown::Both)?;
    answered.map(drop)
}

/// The head of a request with the empty line at its end, and what came with it of the body.
fn head(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let read = client.read(&mut piece)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(&piece[..read]);
        if let Some(at) = all.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = all.split_off(at + 4);
            return Ok((String::from_utf8_lossy(&all).into_owned(), rest));
        }
    }
}
