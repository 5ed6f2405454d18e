//! As much of an HTTP server as clients of a token server need: one request a connection, with a length or without a body.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A client that does not finish its request holds up one connection for so long.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    fields: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Response {
    status: u16,
    body: Vec<u8>,
}

/// A server on a port of its own, until it is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    addr: SocketAddr,
    ends: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Response {
    pub(super) fn json(status: u16, document: &Value) -> Self {
        Self {
            status,
            body: document.to_string().into_bytes(),
        }
    }
}

impl Request {
    /// The values of a field of the query, and of the form.
    pub(super) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.fields.iter().filter(move |(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    fn read(stream: &TcpStream) -> std::io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut request = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "authorization" => request.authorization = Some(value.trim().to_owned()),
                "content-length" => length = value.trim().parse().unwrap_or(0),
                _ => {}
            }
        }
        let mut form = vec![0; length];
        reader.read_exact(&mut form)?;
        request.fields = fields(query);
        request
            .fields
            .extend(fields(&String::from_utf8_lossy(&form)));
        Ok(request)
    }
}

fn fields(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let text = text.replace('+', "%20");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

impl Listening {
    #[track_caller]
    pub(super) fn start(answer: impl Fn(&Request) -> Response + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its number");
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                if ending.load(Ordering::Relaxed) {
                    return;
                }
                // A client that goes away is its own affair.
                let _sent_or_not = serve(&stream, &answer);
            }
        });
        Self {
            addr,
            ends,
            accepting: Some(accepting),
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

fn serve(mut stream: &TcpStream, answer: &impl Fn(&Request) -> Response) -> std::io::Result<()> {
    let request = Request::read(stream)?;
    let response = answer(&request);
    let head = format!(
        "HTTP/1.1 {} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        response.status,
        response.body.len()
    );
    stream.write_all(&[head.as_bytes(), &response.body].concat())
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // It waits for a connection: this is the last one.
        drop(TcpStream::connect(self.addr));
        if let Some(accepting) = self.accepting.take() {
            let _ended = accepting.join();
        }
    }
}
