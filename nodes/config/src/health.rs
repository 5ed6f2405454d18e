//! `health`: what is looked at, how often, and how many failures count.

use std::path::PathBuf;
use std::time::Duration;

use crate::headers;
use crate::listen::ListenAddr;
use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::secret::Secret;
use crate::url::{self, HttpUrl};

/// The reference's: often enough for a balancer, seldom enough for a bucket that costs by the request.
const INTERVAL: Duration = Duration::from_secs(10);
/// The reference's.
const STATUS: u16 = 200;

/// Settings under `health`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the storage answers: `storagedriver`, if `enabled`. Default: not looked at.
    pub storage_driver: Option<Rhythm>,
    /// Files that must not be there: `file`.
    pub files: Vec<FileCheck>,
    /// URLs that must answer: `http`.
    pub http: Vec<HttpCheck>,
    /// Addresses that must take a connection: `tcp`.
    pub tcp: Vec<TcpCheck>,
}

/// How often a check is made, and when its failure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// From one check to the next: `interval`. Default, and what zero means: 10 s.
    pub interval: Duration,
    /// Failures in a row that count as one: `threshold`. At least 1, the default.
    pub threshold: u32,
}

/// An item of `health.file`: fails while the file is there, so that `touch` takes a registry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCheck {
    /// The file: `file`.
    pub file: PathBuf,
    /// How often, and how many failures count.
    pub rhythm: Rhythm,
}

/// An item of `health.http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// What is asked with HEAD: `uri`.
    pub uri: HttpUrl,
    /// Sent along: `headers`.
    pub headers: Vec<(String, Vec<Secret>)>,
    /// The one right answer: `statuscode`. Default: 200.
    pub status: u16,
    /// How long an answer may take: `timeout`. Default, and what zero means: the interval.
    pub timeout: Duration,
    /// How often, and how many failures count.
    pub rhythm: Rhythm,
}

/// An item of `health.tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpCheck {
    /// What is connected to; without a host, this machine: `addr`.
    pub addr: ListenAddr,
    /// How long a connection may take: `timeout`. Default, and what zero means: the interval.
    pub timeout: Duration,
    /// How often, and how many failures count.
    pub rhythm: Rhythm,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self {
            interval: INTERVAL,
            threshold: 1,
        }
    }
}

impl Health {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let health = &mut reader.below("health");
        let driver = &mut health.below("storagedriver");
        let enabled = driver.read("enabled", scalar::boolean) == Some(true);
        let rhythm = Rhythm::read(driver);
        Self {
            storage_driver: enabled.then_some(rhythm),
            files: health.each("file", FileCheck::read),
            http: health.each("http", HttpCheck::read),
            tcp: health.each("tcp", TcpCheck::read),
        }
    }
}

impl Rhythm {
    fn read(check: &mut Reader<'_>) -> Self {
        let interval = check.read("interval", scalar::duration);
        let threshold = check.read("threshold", scalar::count::<u32>);
        Self {
            interval: interval
                .filter(|interval| !interval.is_zero())
                .unwrap_or(INTERVAL),
            threshold: threshold.unwrap_or(1).max(1),
        }
    }
}

impl FileCheck {
    fn read(check: &mut Reader<'_>) -> Option<Self> {
        let rhythm = Rhythm::read(check);
        let file = check.required_path("file", "write the path of the file");
        Some(Self {
            file: file?,
            rhythm,
        })
    }
}

impl HttpCheck {
    fn read(check: &mut Reader<'_>) -> Option<Self> {
        let rhythm = Rhythm::read(check);
        let uri = check.required("uri", "write the URL to ask", url::parse);
        let headers = headers::read_secret(check, "headers");
        let status = check.read("statuscode", status).unwrap_or(STATUS);
        let timeout = timeout(check, rhythm);
        Some(Self {
            uri: uri?,
            headers,
            status,
            timeout,
            rhythm,
        })
    }
}

impl TcpCheck {
    fn read(check: &mut Reader<'_>) -> Option<Self> {
        let rhythm = Rhythm::read(check);
        let addr = check.required("addr", "write for example db.example:5432", destination);
        let timeout = timeout(check, rhythm);
        Some(Self {
            addr: addr?,
            timeout,
            rhythm,
        })
    }
}

fn timeout(check: &mut Reader<'_>, rhythm: Rhythm) -> Duration {
    let timeout = check.read("timeout", scalar::duration);
    timeout
        .filter(|timeout| !timeout.is_zero())
        .unwrap_or(rhythm.interval)
}

/// Zero is the default, as where the key is absent.
fn status(text: &str) -> Result<u16, Unfit> {
    match scalar::count(text)? {
        0 => Ok(STATUS),
        status @ 100..=599 => Ok(status),
        _ => Err(Unfit::new("is not a status of HTTP")),
    }
}

fn destination(text: &str) -> Result<ListenAddr, Unfit> {
    let addr: ListenAddr = text
        .parse()
        .map_err(|error| Unfit::new(format!("{error}")))?;
    match addr.port {
        0 => Err(Unfit::new("names no port to connect to")),
        _ => Ok(addr),
    }
}

#[cfg(test)]
mod tests;
