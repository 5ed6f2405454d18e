//! An HTTP server as small as can be: it remembers what it was sent, and answers as the test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(said, _)| said == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The user agent of the event in it, which tests number their events by.
    pub(crate) fn number(&self) -> u64 {
        let envelope: Value = serde_json::from_slice(&self.body).expect("an envelope");
        assert_eq!(envelope["events"].as_array().map(Vec::len), Some(1));
        let number = envelope["events"][0]["request"]["useragent"].as_str();
        number.expect("a number").parse().expect("a number")
    }
}

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16),
    /// A status, and where else.
    Redirect(u16, String),
    /// Closes the connection without an answer.
    Close,
    /// Never answers.
    Hang,
    /// A status, and never the rest.
    Unfinished(u16),
    /// Interim answers, as fast as they are taken, until the connection is closed.
    Interim,
}

type Answer = dyn FnMut(&Received) -> Reply + Send;

pub(crate) struct Receiver {
    pub(crate) port: u16,
    received: mpsc::UnboundedReceiver<Received>,
    connections: Arc<()>,
}

impl Receiver {
    pub(crate) async fn answering(answer: impl FnMut(&Received) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (sender, received) = mpsc::unbounded_channel();
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(answer));
        let connections = Arc::new(());
        let counted = Arc::downgrade(&connections);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                let one = counted.upgrade();
                tokio::spawn(async move {
                    serve(connection, sender, answer).await;
                    drop(one);
                });
            }
        });
        Self {
            port,
            received,
            connections,
        }
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        Arc::strong_count(&self.connections) - 1
    }

    /// One that answers so, always.
    pub(crate) async fn always(reply: Reply) -> Self {
        Self::answering(move |_| reply.clone()).await
    }

    /// One that answers so in turn, and then with 200.
    pub(crate) async fn first(replies: impl Into<Vec<Reply>>) -> Self {
        let mut replies = replies.into().into_iter();
        Self::answering(move |_| replies.next().unwrap_or(Reply::Status(200))).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub(crate) async fn next(&mut self) -> Received {
        let next = soon("a request", self.received.recv()).await;
        next.expect("the receiver runs")
    }

    /// The numbers of the events in the next requests.
    pub(crate) async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.push(self.next().await.number());
        }
        numbers
    }
}

async fn serve(
    mut connection: TcpStream,
    sender: mpsc::UnboundedSender<Received>,
    answer: Arc<Mutex<Answer>>,
) {
    let mut read = Vec::new();
    while let Some(received) = request(&mut connection, &mut read).await {
        let reply = (answer.lock().expect("no answer panics"))(&received);
        let _test_over = sender.send(received);
        let text = match reply {
            Reply::Status(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok"),
            Reply::Redirect(status, to) => {
                format!("HTTP/1.1 {status} X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
            }
            Reply::Close => return,
            Reply::Hang => std::future::pending().await,
            Reply::Interim => {
                let many = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
                while connection.write_all(&many).await.is_ok() {}
                return;
            }
            Reply::Unfinished(status) => {
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n");
                let _client_gone = connection.write_all(head.as_bytes()).await;
                std::future::pending().await
            }
        };
        if connection.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(connection: &mut TcpStream, read: &mut Vec<u8>) -> Option<Received> {
    let end = loop {
        let end = read.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            break end;
        }
        more(connection, read).await?;
    };
    let head = String::from_utf8(read.drain(..end + 4).collect()).expect("text");
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<(String, String)> = lines.filter_map(pair).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, length)| length.parse().expect("a length"));
    while read.len() < length {
        more(connection, read).await?;
    }
    Some(Received {
        method,
        path,
        headers,
        body: read.drain(..length).collect(),
    })
}

async fn more(connection: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4096];
    match connection.read(&mut piece).await {
        Ok(length @ 1..) => {
            read.extend_from_slice(&piece[..length]);
            Some(())
        }
        _closed => None,
    }
}

pub(crate) async fn soon<T>(sentence: &str, future: impl Future<Output = T>) -> T {
    let within = tokio::time::timeout(Duration::from_secs(30), future);
    let elapsed = |_elapsed| panic!("{sentence}: not within 30 s");
    within.await.unwrap_or_else(elapsed)
}
