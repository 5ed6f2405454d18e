//! The handshake, and the connection after it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::AlertDescription;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream as ServerStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::supplied::ACME;
use super::{ClientCertificate, Tls};
use crate::heard::{Heard, Unheard, first_bytes};

/// How every TLS record of a handshake begins (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// What a client is told that speaks plain HTTP where TLS is spoken: the sentence that Go's servers say.
pub const PLAIN_HTTP_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 48\r\n\
    Connection: close\r\n\
    \r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// What of a refused request is read and thrown away, so that the answer is not lost with it.
const THROWN_AWAY: u64 = 64 * 1024;

/// A connection after its handshake.
#[derive(Debug)]
pub struct TlsStream<S> {
    inner: ServerStream<Heard<S>>,
    client: Option<ClientCertificate>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError<S> {
    /// The client speaks HTTP without TLS, and can be told so.
    #[error("the client sent an HTTP request without TLS")]
    PlainHttp(PlainHttp<S>),
    /// The client speaks something else.
    #[error("the client does not speak TLS")]
    NotTls,
    /// The client went away without a word, as checks do that only look whether the port is open.
    #[error("the client said nothing")]
    Closed,
    /// An authority looked whether a name leads here (RFC 8737); that is all it wanted.
    #[error("a certification authority looked for a challenge")]
    Validated,
    /// The handshake took too long.
    #[error("the TLS handshake took too long")]
    TimedOut,
    /// The client does not trust the certificate that it was shown, and said so.
    #[error("the client does not trust the certificate")]
    Distrusted,
    /// The handshake failed, or the connection broke in it. A client with whom nothing could be agreed was sent an alert.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
}

/// A client that speaks plain HTTP.
#[derive(Debug)]
pub struct PlainHttp<S>(Heard<S>);

impl Tls {
    /// Shakes hands with a client, within a time that counts from its connecting. The pair that is served at this
    /// moment is used to the end.
    pub async fn accept<S>(
        &self,
        stream: S,
        within: Duration,
    ) -> Result<TlsStream<S>, AcceptError<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let deadline = Instant::now() + within;
        let heard = first_bytes(stream, |first| !first.is_empty(), within)
            .await
            .map_err(|unheard| match unheard {
                Unheard::TimedOut => AcceptError::TimedOut,
                Unheard::Closed => AcceptError::Closed,
                Unheard::Broken(error) => AcceptError::Handshake(error),
            })?;
        match heard.first().first() {
            Some(&HANDSHAKE) => {}
            Some(first) if first.is_ascii_uppercase() => {
                return Err(AcceptError::PlainHttp(PlainHttp(heard)));
            }
            _other => return Err(AcceptError::NotTls),
        }
        match timeout_at(deadline, self.shake_hands(heard)).await {
            Ok(Ok(mut inner)) if inner.get_ref().1.alpn_protocol() == Some(ACME) => {
                let _nobody_waits = timeout_at(deadline, inner.shutdown()).await;
                Err(AcceptError::Validated)
            }
            Ok(Ok(inner)) => Ok(self.connection(inner)),
            Ok(Err(error)) if is_distrust(&error) => Err(AcceptError::Distrusted),
            Ok(Err(error)) => Err(AcceptError::Handshake(error)),
            Err(_elapsed) => Err(AcceptError::TimedOut),
        }
    }

    async fn shake_hands<S>(&self, heard: Heard<S>) -> io::Result<ServerStream<Heard<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let served = Arc::clone(&self.served().config);
        let Some(supplied) = &self.0.options.supplied else {
            return TlsAcceptor::from(served).accept(heard).await;
        };
        let start = LazyConfigAcceptor::new(Acceptor::default(), heard).await?;
        let validation = supplied.validation(&start.client_hello());
        start.into_stream(validation.unwrap_or(served)).await
    }

    fn connection<S>(&self, inner: ServerStream<Heard<S>>) -> TlsStream<S> {
        let shown = inner.get_ref().1.peer_certificates();
        let shown = shown.and_then(|chain| chain.first());
        let client = shown.map(|leaf| ClientCertificate::new(leaf, self.0.options.client_auth));
        TlsStream { inner, client }
    }
}

/// Whether the client ended the handshake over our certificate: Go's clients say that it is bad, OpenSSL's that they do
/// not know its authority.
fn is_distrust(error: &io::Error) -> bool {
    let refusal = error.get_ref().and_then(|cause| cause.downcast_ref());
    let Some(rustls::Error::AlertReceived(alert)) = refusal else {
        return false;
    };
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
    )
}

impl<S> TlsStream<S> {
    /// The certificate that the client showed, if it showed one.
    pub fn client(&self) -> Option<&ClientCertificate> {
        self.client.as_ref()
    }

    /// Whether the client and the server agreed on HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.inner.get_ref().1.alpn_protocol() == Some(b"h2")
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref().0.get_ref()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> PlainHttp<S> {
    /// Answers with [`PLAIN_HTTP_ANSWER`], and closes the connection within the time.
    ///
    /// A connection that is closed while there is something to read is reset, and a client then may not see the answer:
    /// so some of what it still sends is read first.
    pub async fn refuse(self, within: Duration) {
        let mut stream = self.0;
        let refusing = async {
            stream.write_all(PLAIN_HTTP_ANSWER.as_bytes()).await?;
            stream.shutdown().await?;
            tokio::io::copy(&mut stream.take(THROWN_AWAY), &mut tokio::io::sink()).await
        };
        // Whoever does not take the answer did not want it.
        let _best_effort = timeout(within, refusing).await;
    }

    /// The stream, with all that was heard on it.
    pub fn into_inner(self) -> Heard<S> {
        self.0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::PLAIN_HTTP_ANSWER;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let (head, body) = PLAIN_HTTP_ANSWER.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    }
}
