//! An address to listen on, as Go writes it: `:5000`, `0.0.0.0:5000`, `[::1]:5000`, `localhost:5000`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// The registry's own port since its first release.
const DEFAULT_PORT: u16 = 5000;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// On addresses of this machine: `http.net: tcp`.
    Tcp(ListenAddr),
    /// On a socket in the file system: `http.net: unix`.
    Unix(PathBuf),
}

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp(ListenAddr::default())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => write!(f, "{addr}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A host to listen on, or all of them, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddr {
    /// A name or an IP address, without brackets; `None` listens on every address, of IPv6 and IPv4.
    pub host: Option<String>,
    /// 0 lets the system choose.
    pub port: u16,
}

/// Why a text is not an address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAListenAddr {
    /// There is no `:` before a port.
    #[error("has no port; write for example :5000 or 127.0.0.1:5000")]
    NoPort,
    /// The port is not a number from 0 to 65535.
    #[error("has a port that is not a number from 0 to 65535")]
    BadPort,
    /// The host is neither a name nor an IP address.
    #[error(
        "has a host that is neither a name nor an IP address; IPv6 needs brackets, as in [::1]:5000"
    )]
    BadHost,
}

impl Default for ListenAddr {
    /// `:5000`: every address, the port that clients and documentation assume.
    fn default() -> Self {
        Self {
            host: None,
            port: DEFAULT_PORT,
        }
    }
}

impl ListenAddr {
    /// `localhost:5000`: nobody else can reach a registry that nobody configured.
    pub fn loopback() -> Self {
        Self {
            host: Some("localhost".to_owned()),
            port: DEFAULT_PORT,
        }
    }
}

impl ListenAddr {
    /// Whether nobody on another machine can reach it.
    pub fn is_loopback(&self) -> bool {
        let address = |host: &str| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.host
            .as_deref()
            .is_some_and(|host| host == "localhost" || address(host))
    }
}

impl FromStr for ListenAddr {
    type Err = NotAListenAddr;

    /// An empty text is the default.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let (host, port) = text.rsplit_once(':').ok_or(NotAListenAddr::NoPort)?;
        if host.starts_with('[') && !host.ends_with(']') {
            return Err(NotAListenAddr::NoPort);
        }
        Ok(Self {
            port: parse_port(port)?,
            host: parse_host(host)?,
        })
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref() {
            None => write!(f, ":{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

fn parse_port(text: &str) -> Result<u16, NotAListenAddr> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotAListenAddr::BadPort);
    }
    text.parse().map_err(|_too_large| NotAListenAddr::BadPort)
}

fn parse_host(text: &str) -> Result<Option<String>, NotAListenAddr> {
    if text.is_empty() {
        return Ok(None);
    }
    let bracketed = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let valid = match bracketed {
        Some(inner) => {
            let (address, zone) = inner.split_once('%').unwrap_or((inner, ""));
            address.parse::<Ipv6Addr>().is_ok() && zone.chars().all(is_name_char)
        }
        None => text.chars().all(is_name_char),
    };
    if !valid {
        return Err(NotAListenAddr::BadHost);
    }
    Ok(Some(bracketed.unwrap_or(text).to_owned()))
}

/// Underscores are not in DNS, but in the names that compose gives to containers.
fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
}

#[cfg(test)]
mod tests {
    use super::{ListenAddr, NotAListenAddr};

    fn parse(text: &str) -> Result<(Option<String>, u16), NotAListenAddr> {
        text.parse::<ListenAddr>()
            .map(|addr| (addr.host, addr.port))
    }

    #[test]
    fn every_form_of_go_is_understood() {
        let host = |host: &str| Some(host.to_owned());
        assert_eq!(parse(""), Ok((None, 5000)));
        assert_eq!(parse(":5000"), Ok((None, 5000)));
        assert_eq!(parse(":0"), Ok((None, 0)));
        assert_eq!(parse("0.0.0.0:65535"), Ok((host("0.0.0.0"), 65535)));
        assert_eq!(parse("localhost:5000"), Ok((host("localhost"), 5000)));
        assert_eq!(parse("[::1]:5000"), Ok((host("::1"), 5000)));
        assert_eq!(
            parse("[fe80::1%eth0]:5000"),
            Ok((host("fe80::1%eth0"), 5000))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse("5000"), Err(NotAListenAddr::NoPort));
        assert_eq!(parse("localhost"), Err(NotAListenAddr::NoPort));
        assert_eq!(parse("[::1]"), Err(NotAListenAddr::NoPort));
        assert_eq!(parse(":65536"), Err(NotAListenAddr::BadPort));
        assert_eq!(parse(":-1"), Err(NotAListenAddr::BadPort));
        assert_eq!(parse(":"), Err(NotAListenAddr::BadPort));
        assert_eq!(parse(":http"), Err(NotAListenAddr::BadPort));
        assert_eq!(parse("::1:5000"), Err(NotAListenAddr::BadHost));
        assert_eq!(parse("a b:5000"), Err(NotAListenAddr::BadHost));
        assert_eq!(parse("[x]:5000"), Err(NotAListenAddr::BadHost));
        assert_eq!(parse("http://a:5000"), Err(NotAListenAddr::BadHost));
    }

    #[test]
    fn it_prints_as_it_is_written() {
        for text in [":5000", "0.0.0.0:5000", "[::1]:5000", "localhost:0"] {
            assert_eq!(text.parse::<ListenAddr>().unwrap().to_string(), text);
        }
    }
}
