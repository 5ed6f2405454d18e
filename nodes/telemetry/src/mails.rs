//! Mails about lines of the log: a hook of `log.hooks`.
//!
//! A line becomes a letter that a thread of the hook's own sends. Nobody waits for it: what waits is bounded, how many leave
//! is limited, and the next letter says how many lines were left out. While the server fails, letters wait and are tried
//! again; the log says so once, and once when they leave again. Lines of these threads are never mailed: a server that
//! fails would be told so.

#![expect(
    clippy::disallowed_types,
    reason = "threads of their own, which no paused clock governs"
)]

mod letter;
mod outbox;
mod rate;
mod sender;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::log::line::{Line, Severity};
use letter::Letter;
use outbox::Outbox;
use sender::Sender;

thread_local! {
    /// Whether this thread sends mails.
    static SENDS: Cell<bool> = const { Cell::new(false) };
}

/// Which lines are mailed. The reference's library has `trace` too, which no line has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The process panicked.
    Panic,
    /// The process ends.
    Fatal,
    /// Something failed.
    Error,
    /// Something may fail later.
    Warn,
    /// Something happened.
    Info,
    /// How it happened.
    Debug,
}

impl Level {
    fn is_of(self, severity: Severity) -> bool {
        severity
            == match self {
                Self::Panic => Severity::Panic,
                Self::Fatal => Severity::Fatal,
                Self::Error => Severity::Error,
                Self::Warn => Severity::Warning,
                Self::Info => Severity::Info,
                Self::Debug => Severity::Debug,
            }
    }
}

/// A hook: which lines go where.
#[derive(Clone)]
pub struct Options {
    /// Lines of these levels, and no others.
    pub levels: Vec<Level>,
    /// The mail server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password. They are sent over TLS only, or to this machine itself.
    pub login: Option<(String, String)>,
    /// The server's certificate is not verified.
    pub insecure: bool,
    /// The sender: `name@domain`.
    pub from: String,
    /// Who gets the mails.
    pub to: Vec<String>,
}

impl fmt::Debug for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Options")
            .field("levels", &self.levels)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("from", &self.from)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// Why there can be no mails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody can be mailed there.
    #[error("{0:?} is no address for mails")]
    Address(String, #[source] lettre::address::AddressError),
    /// Whom to trust cannot be found out.
    #[error("TLS to the mail server")]
    Tls(#[source] lettre::transport::smtp::Error),
    /// There is no thread to send them.
    #[error("no thread for mails")]
    Thread(#[source] std::io::Error),
}

/// Takes lines, and mails those of its levels. Handed to [`crate::log::start`].
#[derive(Debug)]
pub struct Mails {
    levels: Vec<Level>,
    host: String,
    outbox: Arc<Outbox>,
}

impl Mails {
    /// Starts the thread. The server is not asked before there is a mail.
    pub fn start(options: Options) -> Result<Self, Error> {
        let sender = Sender::new(&options)?;
        let outbox = Arc::new(Outbox::new(Instant::now()));
        let taking = Arc::clone(&outbox);
        std::thread::Builder::new()
            .name("mails".to_owned())
            .spawn(move || {
                SENDS.set(true);
                sender.run(&taking);
            })
            .map_err(Error::Thread)?;
        Ok(Self {
            levels: options.levels,
            host: options.host,
            outbox,
        })
    }

    /// Mails the line, if it is of these levels and may be. Never waits.
    pub(crate) fn offer(&self, line: &Line<'_>) {
        let wanted = self.levels.iter().any(|level| level.is_of(line.severity));
        let own = SENDS.try_with(Cell::get).unwrap_or(false);
        if wanted && !own && self.outbox.admits(Instant::now()) {
            self.outbox.push(Letter::about(line, &self.host));
        }
    }

    /// All take no more, and it is waited until all is sent, but not for longer than `patience`. How many mails did not
    /// leave. Blocks.
    pub(crate) fn finish(all: &[Self], patience: Duration) -> u64 {
        let until = Instant::now() + patience;
        let left = |mails: &Self| {
            let patience = until.saturating_duration_since(Instant::now());
            mails.outbox.finish(patience)
        };
        all.iter().map(left).sum()
    }
}
