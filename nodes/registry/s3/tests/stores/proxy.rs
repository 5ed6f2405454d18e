//! A bad link to the store: connections that break in the middle of an answer, and answers that say to slow down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const SLOW_DOWN: &str = "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n\
    <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// What the link does to whoever connects from now on.
#[derive(Default)]
pub(crate) struct Faults {
    /// Connections that are answered with 503.
    pub(crate) refuse: AtomicUsize,
    /// Bytes of answers after which a connection breaks; 0: never.
    pub(crate) cut: AtomicUsize,
    /// Connections that broke.
    pub(crate) broken: AtomicUsize,
    /// Where the link begins.
    pub(crate) endpoint: String,
}

/// Starts a link to the endpoint; answers with its own.
pub(crate) async fn start(endpoint: &str) -> (String, Arc<Faults>) {
    let to: SocketAddr = endpoint
        .strip_prefix("http://")
        .expect("plain HTTP")
        .parse()
        .expect("an address");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let endpoint = format!("http://{address}");
    let faults = Arc::new(Faults {
        endpoint: endpoint.clone(),
        ..Faults::default()
    });
    let all = Arc::clone(&faults);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let faults = Arc::clone(&all);
            // A link that breaks is what is wanted here.
            tokio::spawn(async move { drop(carry(client, to, &faults).await) });
        }
    });
    (endpoint, faults)
}

async fn carry(mut client: TcpStream, to: SocketAddr, faults: &Faults) -> std::io::Result<()> {
    let less = |n: usize| n.checked_sub(1);
    let (relaxed, refuse) = (Ordering::Relaxed, &faults.refuse);
    if refuse.fetch_update(relaxed, relaxed, less).is_ok() {
        client.readable().await?;
        let mut request = vec![0; 16 << 10];
        let _read = client.read(&mut request).await?;
        return client.write_all(SLOW_DOWN.as_bytes()).await;
    }
    let server = TcpStream::connect(to).await?;
    let ((mut requests, mut back), (mut answers, mut on)) =
        (client.into_split(), server.into_split());
    let there = tokio::io::copy(&mut requests, &mut on);
    let back = async {
        let (mut left, mut piece) = (faults.cut.load(relaxed), vec![0; 64 << 10]);
        let endless = left == 0;
        loop {
            let read = answers.read(&mut piece).await?;
            let passed = if endless { read } else { read.min(left) };
            back.write_all(&piece[..passed]).await?;
            left -= if endless { 0 } else { passed };
            if read == 0 || passed < read {
                let broke = usize::from(read > 0);
                faults.broken.fetch_add(broke, relaxed);
                return Ok::<(), std::io::Error>(());
            }
        }
    };
    tokio::select! {
        _ = there => {}
        _ = back => {}
    }
    Ok(())
}
