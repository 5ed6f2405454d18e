//! A server of a few lines over the room: it says which client certificate it saw.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roadstead_listen::{
    AcceptError, Address, Listener, Options, Stream, Tls, TlsError, TlsOptions, TlsStream, bind,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use crate::ca::{Ca, Pair};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A directory with a pair in it.
pub(crate) struct Files {
    pub(crate) directory: TempDir,
}

impl Files {
    pub(crate) fn new(pair: &Pair) -> Self {
        let files = Self {
            directory: TempDir::new().unwrap(),
        };
        pair.write(&files.certificate(), &files.key());
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("tls.crt")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.path("tls.key")
    }

    /// Writes a file and gives its path.
    pub(crate) fn put(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    pub(crate) fn options(&self) -> TlsOptions {
        TlsOptions {
            certificate: self.certificate(),
            key: self.key(),
            http2: true,
            ..TlsOptions::default()
        }
    }

    pub(crate) fn load(&self) -> Result<Tls, TlsError> {
        Tls::load(self.options())
    }
}

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(tls: Tls) -> Self {
        let listener = loopback().await;
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _peer) = listener.accept().await.unwrap();
                tokio::spawn(serve(tls.clone(), stream));
            }
        });
        Self { address, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.address)
    }
}

/// A server with a fresh authority and certificate; the authority's certificate is in `ca.crt`.
pub(crate) async fn simple() -> (Server, Files, Ca) {
    let ca = Ca::new("root");
    let files = Files::new(&ca.server(2040));
    files.put("ca.crt", ca.root());
    (Server::start(files.load().unwrap()).await, files, ca)
}

pub(crate) async fn loopback() -> Listener {
    let mut listeners = bind(Options {
        setting: "http.addr",
        address: Address::Tcp {
            host: Some("127.0.0.1".to_owned()),
            port: 0,
        },
        inherited: None,
    })
    .await
    .unwrap();
    listeners.remove(0)
}

async fn serve(tls: Tls, stream: Stream) {
    match tls.accept(stream, SOON).await {
        Ok(stream) => answer(stream).await,
        Err(AcceptError::PlainHttp(plain)) => plain.refuse(SOON).await,
        Err(_other) => {}
    }
}

/// One answer for each `\r\n\r\n`, until the client has enough; HTTP/1.0 gets one answer and the end.
async fn answer(mut stream: TlsStream<Stream>) {
    let mut body = format!("http2={} ", stream.is_http2());
    match stream.client() {
        None => body.push_str("nobody"),
        Some(client) => {
            let name = client.common_name.as_deref().unwrap_or("?");
            write!(body, "{name} verified={}", client.verified).unwrap();
        }
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut request = Vec::new();
    while let Ok(read) = stream.read_buf(&mut request).await {
        if request.ends_with(b"\r\n\r\n") {
            if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            if request.windows(8).any(|text| text == b"HTTP/1.0") {
                break;
            }
            request.clear();
        }
        if read == 0 {
            break;
        }
    }
    let _best_effort = stream.shutdown().await;
}

/// Text of a path, for command lines.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
