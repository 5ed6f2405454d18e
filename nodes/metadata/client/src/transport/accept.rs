//! Taking connections in: the handshake of one keeps no other waiting, and only those that passed it are handed on.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::Identity;

/// A handshake takes two round trips.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Handshakes under way at most; strangers that connect and say nothing must not eat descriptors without end.
const HANDSHAKES: usize = 128;

/// After a failed accept (out of descriptors, say).
const RETRY_ACCEPT_AFTER: Duration = Duration::from_millis(100);

/// Connections that have proved themselves, for tonic to serve.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<Secured>);

/// Accepts on `listener` until what it returns is dropped. Must be called in a runtime.
pub fn incoming(listener: TcpListener, identity: &Identity) -> Incoming {
    let acceptor = TlsAcceptor::from(identity.server());
    let (proved, incoming) = mpsc::channel(1);
    tokio::spawn(async move {
        let seats = Arc::new(Semaphore::new(HANDSHAKES));
        while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = proved.closed() => return,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(RETRY_ACCEPT_AFTER).await;
                continue;
            };
            let (acceptor, proved) = (acceptor.clone(), proved.clone());
            tokio::spawn(async move {
                let shaken = tokio::time::timeout(HANDSHAKE_WITHIN, shake(stream, &acceptor));
                let reason = match shaken.await {
                    Ok(Ok(stream)) => {
                        drop(seat);
                        let _stopped = proved.send(Secured { stream, peer }).await;
                        return;
                    }
                    Ok(Err(error)) => error.to_string(),
                    Err(_elapsed) => "the handshake took too long".to_owned(),
                };
                tracing::warn!(%peer, reason, "refused a connection: not a process of this cluster");
            });
        }
    });
    Incoming(incoming)
}

async fn shake(stream: TcpStream, acceptor: &TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}

impl futures::Stream for Incoming {
    type Item = io::Result<Secured>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|next| next.map(Ok))
    }
}

/// A connection whose other end proved to be of this cluster.
#[derive(Debug)]
pub struct Secured {
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
}

impl Connected for Secured {
    type ConnectInfo = SocketAddr;

    fn connect_info(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
