//! File descriptors: as many as the system gives, and how many connections they are enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that no connection may take: the log, directories, listeners, what a reload needs.
const SET_ASIDE: u64 = 64;

/// A connection, and the file that it pushes or pulls.
const EACH: u64 = 2;

/// Fewer than this serve nobody; a limit so low fails elsewhere, with a message.
const AT_LEAST: u64 = 8;

/// Raises the soft limit to the hard one: it is low for programs that use `select`, which this one does not.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit of open files cannot be raised (ulimit -n)");
    }
}

/// Connections that may be open at a time.
pub(crate) fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = (limit.saturating_sub(SET_ASIDE) / EACH).max(AT_LEAST);
    usize::try_from(connections).unwrap_or(usize::MAX)
}
