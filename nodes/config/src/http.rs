//! `http`: where the registry listens, what it calls itself, and what it adds to its answers.

use std::fmt;
use std::time::Duration;

use crate::listen::ListenAddr;
use crate::mistake::Mistake;
use crate::node::Node;
use crate::reader::{self, Reader};
use crate::scalar::{self, Unfit};

/// Long enough for most layers, short enough for a rollout. The reference's 0 cuts every transfer when it stops.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(1);

/// Settings under `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where to listen. Default: `:5000`. Listening is over TCP.
    pub addr: ListenAddr,
    /// Scheme and authority under which clients reach the registry (`https://registry.example:5000`, no slash at the
    /// end); beats the headers of proxies. Default: what the request says.
    pub host: Option<String>,
    /// The path before `/v2/`, with a slash at both ends. Default: `/`.
    pub prefix: String,
    /// What upload states are signed with; all processes behind one balancer need the same. Default: none, and each
    /// process makes its own.
    pub secret: Option<Secret>,
    /// `Location` headers name paths instead of URLs. Default: false.
    pub relative_urls: bool,
    /// How long requests may take to finish after the signal to stop; zero cuts them at once. Default: 60 s.
    pub drain_timeout: Duration,
    /// Added to each answer, by name, in the order of the file.
    pub headers: Vec<(String, Vec<String>)>,
    /// Where `/debug` and the metrics would be; has no effect yet. Default: nowhere.
    pub debug_addr: Option<String>,
    /// HTTP/1.1 only. Default: false.
    pub http2_disabled: bool,
    /// HTTP/2 without TLS, by prior knowledge. Default: false.
    pub h2c_enabled: bool,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            addr: ListenAddr::default(),
            host: None,
            prefix: "/".to_owned(),
            secret: None,
            relative_urls: false,
            drain_timeout: DRAIN_TIMEOUT,
            headers: Vec::new(),
            debug_addr: None,
            http2_disabled: false,
            h2c_enabled: false,
        }
    }
}

impl Http {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        // There is one network to choose, so nothing to keep.
        let _tcp: Option<()> = reader.read("http.net", network);
        Self {
            addr: reader.read("http.addr", addr).unwrap_or(default.addr),
            host: host(reader),
            prefix: reader.read("http.prefix", prefix).unwrap_or(default.prefix),
            secret: reader.text("http.secret").map(Secret),
            relative_urls: reader
                .read("http.relativeurls", scalar::boolean)
                .unwrap_or(default.relative_urls),
            drain_timeout: reader
                .read("http.draintimeout", scalar::duration)
                .unwrap_or(default.drain_timeout),
            headers: headers(reader),
            debug_addr: reader.text("http.debug.addr"),
            http2_disabled: reader
                .read("http.http2.disabled", scalar::boolean)
                .unwrap_or(default.http2_disabled),
            h2c_enabled: reader
                .read("http.h2c.enabled", scalar::boolean)
                .unwrap_or(default.h2c_enabled),
        }
    }
}

fn addr(text: &str) -> Result<ListenAddr, Unfit> {
    text.parse().map_err(|error| Unfit::new(format!("{error}")))
}

fn network(text: &str) -> Result<(), Unfit> {
    match text {
        "tcp" => Ok(()),
        "unix" => Err(Unfit::new(
            "is not supported by this version yet; write tcp",
        )),
        _ => Err(Unfit::new("is not a network to listen on; write tcp")),
    }
}

/// The reference uses scheme and authority only; a path is almost always meant to be `http.prefix`.
fn host(reader: &mut Reader<'_>) -> Option<String> {
    let key = "http.host";
    let node = reader.node(key)?;
    let place = &node.origin;
    if node.text().is_some_and(|text| text.contains('@')) {
        // Without the value, which may hold a password.
        let reason = "must not name a user or password";
        reader.mistake(Mistake::new(key, place.clone(), reason));
        return None;
    }
    let (origin, path) = reader.read(key, external_url)?;
    if !path.is_empty() {
        let text = "only scheme and host are used; a path belongs into http.prefix";
        reader.remark(key, place, text);
    }
    Some(origin)
}

/// Scheme with authority, and the path after them without slashes at its ends.
fn external_url(text: &str) -> Result<(String, String), Unfit> {
    let unfit = || Unfit::new("is not a URL; write for example https://registry.example");
    let (scheme, rest) = text.split_once("://").ok_or_else(unfit)?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err(Unfit::new("has a scheme other than http and https"));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port_is_there = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'));
    let with_port = if port_is_there {
        authority.to_owned()
    } else {
        format!("{authority}:0")
    };
    let listen: ListenAddr = with_port.parse().map_err(|_not_an_authority| unfit())?;
    if listen.host.is_none() {
        return Err(unfit());
    }
    let path = path.trim_matches('/').to_owned();
    Ok((format!("{scheme}://{authority}"), path))
}

fn prefix(text: &str) -> Result<String, Unfit> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#');
    if text.contains(forbidden) || text.contains("//") {
        return Err(Unfit::new("is not a path; write for example /registry/"));
    }
    if !text.starts_with('/') || !text.ends_with('/') {
        return Err(Unfit {
            reason: "must start and end with a slash".to_owned(),
            suggestion: Some(format!("/{}/", text.trim_matches('/'))),
        });
    }
    Ok(text.to_owned())
}

fn headers(reader: &mut Reader<'_>) -> Vec<(String, Vec<String>)> {
    let Some(map) = reader.node("http.headers") else {
        return Vec::new();
    };
    let mut headers = Vec::with_capacity(map.entries().len());
    for (name, list) in map.entries() {
        let key = format!("http.headers.{name}");
        let found = reader::Found {
            key: key.clone(),
            origin: &list.origin,
            text: name,
        };
        let name = reader.parse(&found, header_name);
        let values = header_values(reader, &key, list);
        headers.extend(name.map(|name| (name, values)));
    }
    headers
}

fn header_values(reader: &mut Reader<'_>, key: &str, list: &Node) -> Vec<String> {
    reader::texts_of(key, list)
        .iter()
        .filter_map(|found| reader.parse(found, header_value))
        .collect()
}

/// RFC 9110, section 5.6.2: a token.
fn header_name(text: &str) -> Result<String, Unfit> {
    let in_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || !text.chars().all(in_token) {
        return Err(Unfit::new("is not the name of a header"));
    }
    Ok(text.to_owned())
}

/// RFC 9110, section 5.5: anything but control characters, so that no value can start another header.
fn header_value(text: &str) -> Result<String, Unfit> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Unfit::new(
            "is not the value of a header: it holds a control character",
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
