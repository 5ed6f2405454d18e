//! A socket in the storage root on which `garbage-collect` asks the registry that serves it to collect.
//!
//! Who may open it is who may: it is the owner's alone. One line goes in, what is done comes back line by line, and then
//! a last line that says how it ended.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roadstead_registry::{Demand, Wish};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// In the storage root, beside the lock.
const FILE: &str = "roadstead/collect.sock";

/// Who is answered at a time; others are cut off.
const AT_ONCE: usize = 8;

/// Bytes of a question, and how long it may take; so may the reading of a line.
const QUESTION: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(30);

/// The questions.
const ALL: &str = "collect";
const UNTAGGED: &str = "collect untagged";
const DRY: &str = "dry";
const DRY_UNTAGGED: &str = "dry untagged";
pub(crate) const CANCEL: &str = "cancel";

pub(crate) fn path(root: &Path) -> PathBuf {
    root.join(FILE)
}

/// What is asked.
pub(crate) fn question(dry_run: bool, untagged: bool) -> &'static str {
    match (dry_run, untagged) {
        (false, false) => ALL,
        (false, true) => UNTAGGED,
        (true, false) => DRY,
        (true, true) => DRY_UNTAGGED,
    }
}

/// Hands on what is asked there, until the drain. Whoever serves holds the lock of the root: what lies there is nobody's.
pub(super) async fn serve(path: PathBuf, demands: mpsc::Sender<Demand>, drain: CancellationToken) {
    let listener = match bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, socket = %path.display(), "garbage-collect cannot ask this registry to collect");
            return;
        }
    };
    let mut answers = JoinSet::new();
    while let Some(accepted) = drain.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else { continue };
        // Those that are over.
        while answers.try_join_next().is_some() {}
        if answers.len() < AT_ONCE {
            let demands = demands.clone();
            answers.spawn(async move {
                if let Err(error) = answer(stream, &demands).await {
                    tracing::debug!(%error, "garbage-collect was not answered");
                }
            });
        }
    }
    answers.shutdown().await;
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::debug!(%error, "the socket of garbage-collect stays");
    }
}

/// Nobody else may open it at any moment.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let hidden = path.with_extension("new");
    for stale in [&hidden, &path.to_owned()] {
        match std::fs::remove_file(stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let listener = UnixListener::bind(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, path)?;
    Ok(listener)
}

async fn answer(stream: UnixStream, demands: &mpsc::Sender<Demand>) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    let mut reading = BufReader::new(reading.take(QUESTION));
    timeout(PATIENCE, reading.read_line(&mut line)).await??;
    let (wish, untagged) = match line.trim_end() {
        ALL => (Wish::Collect, false),
        UNTAGGED => (Wish::Collect, true),
        DRY => (Wish::Look, false),
        DRY_UNTAGGED => (Wish::Look, true),
        CANCEL => (Wish::Cancel, false),
        _ => return Err(io::Error::other("it asks for something else")),
    };
    let (tell, mut told) = mpsc::unbounded_channel();
    let demand = Demand {
        wish,
        untagged,
        tell,
    };
    if demands.send(demand).await.is_err() {
        return Err(io::Error::other("nothing is collected here"));
    }
    while let Some(line) = told.recv().await {
        let line = format!("{line}\n");
        timeout(PATIENCE, writing.write_all(line.as_bytes())).await??;
    }
    writing.shutdown().await
}
