//! Why TLS cannot be served with what was given.

use std::io;
use std::path::PathBuf;

/// Why TLS cannot be served. Each begins with the setting below `http.tls` that is to be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{setting}: cannot read {}", path.display())]
    Unreadable {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not PEM, or holds none of what it should.
    #[error("{setting}: {} {what}", path.display())]
    Malformed {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key does not belong to the certificate.
    #[error("key: {} does not belong to the first certificate of {}{}", key.display(), certificate.display(),
        if *.misplaced { ", but to a later one: the certificate of the key must come first" } else { "" })]
    Mismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
        /// Whether the key belongs to another certificate of the same file.
        misplaced: bool,
    },
    /// Names that are no cipher suites of Go.
    #[error("ciphersuites: unknown: {}; known are {}", unknown.join(", "), supported.join(", "))]
    UnknownSuites {
        /// The names.
        unknown: Vec<String>,
        /// What can be listed.
        supported: Vec<&'static str>,
    },
    /// Suites without forward secrecy or without authenticated encryption: there is no code for them here.
    #[error("ciphersuites: not supported, because they lack forward secrecy or authenticated encryption: {}; \
        without them the list is: {}", unsupported.join(", "),
        if remaining.is_empty() { "empty, which allows all that are supported".to_owned() } else { remaining.join(", ") })]
    UnsupportedSuites {
        /// The names.
        unsupported: Vec<String>,
        /// What of the list is supported.
        remaining: Vec<String>,
    },
    /// The TLS library refuses the combination.
    #[error("these settings do not go together")]
    Refused(#[source] rustls::Error),
    /// The process is ending.
    #[error("the process is ending")]
    Ending,
}

impl TlsError {
    /// The error with its causes, in one line.
    pub(super) fn in_full(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line = format!("{line}: {error}");
            cause = error.source();
        }
        line
    }
}
