//! Where clients come in: sockets to accept connections on, and TLS over them.
//!
//! Nothing here knows HTTP servers or configuration files. [`bind()`] makes [`Listener`]s of an address or of a socket
//! that systemd opened ([`Inherited`]); a listener gives a [`Stream`] and its [`Peer`]; [`first_bytes`] waits for the
//! client to speak, over any stream; [`Tls`] serves a certificate that may change while it is served.

mod bind;
mod heard;
mod listener;
mod stream;
mod tls;

pub use bind::{Address, BindError, Inherited, Options, bind};
pub use heard::{FIRST_BYTES, Heard, Unheard, first_bytes, tells_http};
pub use listener::{Listener, Peer};
pub use stream::Stream;
pub use tls::{
    AcceptError, ClientAuth, ClientCertificate, Minimum, PLAIN_HTTP_ANSWER, PlainHttp, Supplied,
    Tls, TlsError, TlsOptions, TlsStream, Validation,
};
