//! From an address, or a socket that was handed over, to listeners.

mod inherited;
mod tcp;
mod unix;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use inherited::Inherited;

use crate::listener::Listener;

/// What to listen on.
#[derive(Debug)]
pub struct Options {
    /// The setting that the address comes from, as `http.addr`: errors begin with it.
    pub setting: &'static str,
    /// Where to listen.
    pub address: Address,
    /// A socket that is there already. It is taken instead of the address.
    pub inherited: Option<Inherited>,
}

/// An address of either net.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `http.net: tcp`.
    Tcp {
        /// A name or an IP address; `None` is every address of the machine, `localhost` both loopback addresses.
        host: Option<String>,
        /// 0 lets the system choose.
        port: u16,
    },
    /// `http.net: unix`: the path of the socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: None, port } => write!(f, ":{port}"),
            Self::Tcp {
                host: Some(host),
                port,
            } if host.contains(':') => write!(f, "[{}]:{port}", host.trim_matches(['[', ']'])),
            Self::Tcp {
                host: Some(host),
                port,
            } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address belongs to another process.
    #[error("{setting}: {address} is in use: stop what listens there, or choose another address")]
    InUse {
        /// The setting that names the address.
        setting: &'static str,
        /// The address.
        address: Address,
    },
    /// There is a file where the socket should be, and it is not a socket: it is left alone.
    #[error("{setting}: {} is there and is not a socket", path.display())]
    NotASocket {
        /// The setting that names the path.
        setting: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// Anything else that the system said.
    #[error("{setting}: cannot listen on {address}")]
    System {
        /// The setting that names the address.
        setting: &'static str,
        /// The address.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// More than one socket was handed over, and nothing says which is meant.
    #[error("LISTEN_FDS is {0}: exactly one socket can be handed over")]
    ManyInherited(u32),
    /// What was handed over cannot be listened on.
    #[error("LISTEN_FDS: what was handed over is not a listening TCP or unix socket")]
    NotInheritable(#[source] io::Error),
}

/// Listens: on the inherited socket if there is one, else on the address. `localhost` makes two listeners, where the
/// machine has both loopback addresses; everything else makes one.
pub async fn bind(options: Options) -> Result<Vec<Listener>, BindError> {
    let Options {
        setting,
        address,
        inherited,
    } = options;
    if let Some(inherited) = inherited {
        return Ok(vec![inherited.listen().map_err(BindError::NotInheritable)?]);
    }
    let bound = match &address {
        Address::Tcp { host, port } => tcp::bind(host.as_deref(), *port).await,
        Address::Unix(path) => unix::bind(path.clone()).await,
    };
    bound.map_err(|error| name(error, setting, address))
}

/// An error with the setting that is to be changed.
fn name(error: io::Error, setting: &'static str, address: Address) -> BindError {
    match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, address) => BindError::InUse { setting, address },
        (io::ErrorKind::AlreadyExists, Address::Unix(path)) => {
            BindError::NotASocket { setting, path }
        }
        (_other, address) => BindError::System {
            setting,
            address,
            source: error,
        },
    }
}
