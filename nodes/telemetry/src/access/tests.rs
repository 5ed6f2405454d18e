//! Lines, what strangers put into them, and an output that does not take them.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use http::Version;
use proptest::prelude::*;

use super::*;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_mins(1);

fn access() -> Access<'static> {
    Access {
        remote: "127.0.0.1",
        user: None,
        time: UNIX_EPOCH + Duration::from_secs(1_795_257_174),
        method: "GET",
        uri: "/v2/foo/manifests/latest",
        version: Version::HTTP_11,
        status: 404,
        written: 96,
        referer: b"",
        user_agent: b"curl/7.88.1",
    }
}

#[test]
fn a_line_is_what_the_reference_prints() {
    assert_eq!(
        access().to_line(),
        "127.0.0.1 - - [21/Nov/2026:10:32:54 +0000] \"GET /v2/foo/manifests/latest HTTP/1.1\" 404 96 \"\" \"curl/7.88.1\"\n"
    );
}

#[test]
fn what_strangers_send_is_escaped_and_secrets_are_masked() {
    let line = Access {
        remote: "2001:db8::1",
        user: Some("al ice\" [x]\n"),
        uri: "/v2/?_state=hush&a=%22\"b",
        version: Version::HTTP_2,
        status: 200,
        written: 0,
        method: "HEAD",
        referer: b"https://u:p@h/?token=hush\x80",
        user_agent: "x\"y\\z\té\r\n127.0.0.1 - -".as_bytes(),
        ..access()
    };
    assert_eq!(
        line.to_line(),
        "2001:db8::1 - al\\x20ice\\\"\\x20[x]\\n [21/Nov/2026:10:32:54 +0000] \
         \"HEAD /v2/?_state=REDACTED&a=%22\\\"b HTTP/2.0\" 200 0 \"https://REDACTED@h/?token=REDACTED\" \
         \"x\\\"y\\\\z\\t\\xc3\\xa9\\r\\n127.0.0.1 - -\"\n"
    );
}

#[test]
fn long_headers_are_cut() {
    let long = vec![b'a'; 100_000];
    let line = Access {
        user_agent: &long,
        ..access()
    }
    .to_line();
    assert!(line.len() < 9_000 && line.ends_with("a...\"\n"));
}

#[test]
fn a_socket_without_addresses_has_a_dash() {
    let line = Access {
        remote: "",
        ..access()
    };
    assert!(line.to_line().starts_with("- - - ["));
}

/// Splits a line as log readers do: at spaces, but not within brackets or quotes.
fn parts(line: &str) -> Option<Vec<String>> {
    let pattern = [" - ", " [", "] \"", "\" ", " ", " \"", "\" \"", "\"\n"];
    let mut rest = line;
    let mut parts = Vec::new();
    for mark in pattern {
        // A quote within a part is behind a backslash.
        let (part, after) = rest
            .match_indices(mark)
            .map(|(at, _)| rest.split_at(at))
            .find(|(part, _)| (part.len() - part.trim_end_matches('\\').len()) % 2 == 0)?;
        parts.push(part.to_owned());
        rest = after.strip_prefix(mark)?;
    }
    rest.is_empty().then_some(parts)
}

proptest! {
    #[test]
    fn any_request_makes_one_line_of_the_same_parts(
        user in proptest::option::of(any::<String>()),
        uri in any::<String>(),
        referer in any::<Vec<u8>>(),
        user_agent in prop_oneof![any::<Vec<u8>>(), "[\\\\\" \n\\[\\]-]{0,12}".prop_map(String::into_bytes)],
    ) {
        let line = Access {
            user: user.as_deref(),
            uri: &uri,
            referer: &referer,
            user_agent: &user_agent,
            ..access()
        }
        .to_line();
        prop_assert!(line.trim_end_matches('\n').bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", line);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let parts = parts(&line).expect("parts");
        prop_assert_eq!(&parts[0], "127.0.0.1");
        prop_assert!(!parts[1].contains(' ') && !parts[1].is_empty());
        prop_assert_eq!(&parts[2], "21/Nov/2026:10:32:54 +0000");
        prop_assert_eq!((parts[4].as_str(), parts[5].as_str()), ("404", "96"));
    }
}

/// An output that takes a batch when it is told to, and tells when it is asked.
struct Gate {
    asked: Sender<()>,
    open: Receiver<()>,
    taken: Arc<Mutex<String>>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _gone = self.asked.send(());
        self.open
            .recv()
            .map_err(|closed| io::Error::new(io::ErrorKind::BrokenPipe, closed))?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.push_str(std::str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log on a gate; with it who asks there, what opens it, and what it took.
fn gated(limits: Limits) -> (AccessLog, Receiver<()>, Sender<()>, Arc<Mutex<String>>) {
    let (asked, asks) = channel();
    let (opens, open) = channel();
    let taken = Arc::<Mutex<String>>::default();
    let gate = Gate {
        asked,
        open,
        taken: Arc::clone(&taken),
    };
    (AccessLog::start(gate, limits).unwrap(), asks, opens, taken)
}

#[test]
fn a_slow_output_costs_lines_and_nobody_waits() {
    let length = access().to_line().len();
    for limits in [
        Limits {
            lines: 3,
            bytes: 1 << 20,
        },
        Limits {
            lines: 1000,
            bytes: 3 * length + 1,
        },
    ] {
        let (log, asks, opens, taken) = gated(limits);
        log.log(&access());
        asks.recv_timeout(PATIENCE)
            .expect("the writer has the first line");
        for _ in 0..10 {
            log.log(&access());
        }
        assert_eq!(log.dropped(), 7);
        opens.send(()).unwrap();
        opens.send(()).unwrap();
        assert!(log.finish(PATIENCE));
        assert_eq!(*taken.lock().unwrap(), access().to_line().repeat(4));
    }
}

#[test]
fn an_output_that_takes_nothing_ends_nobody() {
    let (log, asks, opens, taken) = gated(LIMITS);
    log.log(&access());
    asks.recv_timeout(PATIENCE)
        .expect("the writer has the line");
    assert!(!log.finish(Duration::ZERO), "the output took nothing");
    log.log(&access());
    assert_eq!(log.dropped(), 1, "finished");
    drop(opens);
    assert!(
        log.finish(PATIENCE),
        "the writer ends where its output does"
    );
    assert_eq!(*taken.lock().unwrap(), "");
}
