//! `http`: where the registry listens, what it calls itself, and what it adds to its answers.

use std::time::Duration;

use crate::headers;
use crate::listen::{Listen, ListenAddr};
use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::secret::Secret;
use crate::tls::Tls;
use crate::url;

/// Long enough for most layers, short enough for a rollout. The reference's 0 cuts every transfer when it stops.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(1);

/// Settings under `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where to listen: `addr`, over what `net` says. Default: `:5000` over TCP.
    pub addr: Listen,
    /// HTTPS instead of HTTP on that address. Default: HTTP.
    pub tls: Option<Tls>,
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
    /// Where health, metrics and profiles are asked for. Default: nowhere.
    pub debug: Option<DebugServer>,
    /// HTTP/1.1 only. Default: false.
    pub http2_disabled: bool,
    /// HTTP/2 without TLS, by prior knowledge. Default: false.
    pub h2c_enabled: bool,
}

/// Settings under `http.debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugServer {
    /// Where it listens: `addr`. It is unprotected, so better not on every address.
    pub addr: ListenAddr,
    /// The path of the metrics in Prometheus' format, if `prometheus.enabled`: `prometheus.path`, else `/metrics`.
    pub metrics_path: Option<String>,
}

/// Where the reference has them, and where every scraper looks first.
const METRICS_PATH: &str = "/metrics";

impl Default for Http {
    fn default() -> Self {
        Self {
            addr: Listen::default(),
            tls: None,
            host: None,
            prefix: "/".to_owned(),
            secret: None,
            relative_urls: false,
            drain_timeout: DRAIN_TIMEOUT,
            headers: Vec::new(),
            debug: None,
            http2_disabled: false,
            h2c_enabled: false,
        }
    }
}

impl Http {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let http = &mut reader.below("http");
        let default = Self::default();
        Self {
            addr: listen(http),
            tls: Tls::read(&mut http.below("tls")),
            host: host(http),
            prefix: http.read("prefix", prefix).unwrap_or(default.prefix),
            secret: http.secret("secret"),
            relative_urls: http
                .read("relativeurls", scalar::boolean)
                .unwrap_or(default.relative_urls),
            drain_timeout: http
                .read("draintimeout", scalar::duration)
                .unwrap_or(default.drain_timeout),
            headers: headers::read(http, "headers"),
            debug: DebugServer::read(&mut http.below("debug")),
            http2_disabled: http
                .read("http2.disabled", scalar::boolean)
                .unwrap_or(default.http2_disabled),
            h2c_enabled: http
                .read("h2c.enabled", scalar::boolean)
                .unwrap_or(default.h2c_enabled),
        }
    }
}

impl DebugServer {
    fn read(debug: &mut Reader<'_>) -> Option<Self> {
        let enabled = debug.read("prometheus.enabled", scalar::boolean) == Some(true);
        let path = debug.read("prometheus.path", metrics_path);
        let addr = debug.read("addr", addr);
        if addr.is_none() && enabled {
            debug.remark("prometheus", "there are no metrics without http.debug.addr");
        }
        Some(Self {
            addr: addr?,
            metrics_path: enabled.then(|| path.unwrap_or_else(|| METRICS_PATH.to_owned())),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Tcp,
    Unix,
}

const NETWORKS: &[(&str, Network)] = &[("tcp", Network::Tcp), ("unix", Network::Unix)];

fn listen(http: &mut Reader<'_>) -> Listen {
    let network = |text: &str| scalar::one_of(text, NETWORKS);
    if http.read("net", network) != Some(Network::Unix) {
        return http
            .read("addr", addr)
            .map_or_else(Listen::default, Listen::Tcp);
    }
    http.required("addr", "write the path of the socket", socket)
        .unwrap_or_default()
}

fn addr(text: &str) -> Result<ListenAddr, Unfit> {
    text.parse().map_err(|error| Unfit::new(format!("{error}")))
}

/// The images' own `:5000` would become a file of that name.
fn socket(text: &str) -> Result<Listen, Unfit> {
    if text.contains('/') {
        Ok(Listen::Unix(text.into()))
    } else {
        Err(Unfit::new(
            "is not the path of a socket, as http.net: unix wants it; write for example /run/registry.sock",
        ))
    }
}

/// The reference uses scheme and authority only; a path is almost always meant to be `http.prefix`.
fn host(http: &mut Reader<'_>) -> Option<String> {
    let parse = |text: &str| {
        if text.contains('@') {
            return Err(Unfit::new("must not name a user or password").hide());
        }
        url::split(text)
    };
    let (origin, path) = http.read("host", parse)?;
    if !path.is_empty() {
        let text = "only scheme and host are used; a path belongs into http.prefix";
        http.remark("host", text);
    }
    Some(origin)
}

fn metrics_path(text: &str) -> Result<String, Unfit> {
    if text == "/debug" || text.starts_with("/debug/") {
        return Err(Unfit::new(
            "is taken by other pages of the debug address; write for example /metrics",
        ));
    }
    if text.starts_with('/') && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Ok(text.to_owned())
    } else {
        Err(Unfit::new("is not a path; write for example /metrics"))
    }
}

fn prefix(text: &str) -> Result<String, Unfit> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#');
    if text.contains(forbidden) || text.contains("//") {
        return Err(Unfit::new("is not a path; write for example /registry/"));
    }
    if !text.starts_with('/') || !text.ends_with('/') {
        let meant = format!("/{}/", text.trim_matches('/'));
        return Err(Unfit::new("must start and end with a slash").suggest(Some(meant)));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
