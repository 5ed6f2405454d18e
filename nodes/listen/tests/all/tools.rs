//! Programs that others wrote.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::server::{SOON, Server, text};

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ok: bool,
    /// Both of its outputs.
    pub(crate) output: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn has(self, part: &str) -> Self {
        assert!(
            self.output.contains(part),
            "no {part:?} in:\n{}",
            self.output
        );
        self
    }

    #[track_caller]
    pub(crate) fn went_well(self) -> Self {
        assert!(self.ok, "failed:\n{}", self.output);
        self
    }

    #[track_caller]
    pub(crate) fn was_refused(self) -> Self {
        assert!(!self.ok, "went well:\n{}", self.output);
        self
    }
}

/// Runs a program to its end, with this on its standard input.
pub(crate) async fn run(program: &str, arguments: &[&str], input: &str) -> Ended {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be started (tests/setup): {error}"));
    let mut stdin = child.stdin.take().unwrap();
    // It may have ended without reading.
    let _best_effort = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = timeout(SOON, child.wait_with_output());
    let ended = ended.await.expect("the program ends").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        ok: ended.status.success(),
        output: text(&ended.stdout) + &text(&ended.stderr),
    }
}

pub(crate) async fn openssl(arguments: &[&str]) {
    run("openssl", arguments, "").await.went_well();
}

/// curl without its file of settings.
pub(crate) async fn curl(arguments: &[&str]) -> Ended {
    let mut all = vec!["-q", "-sS", "--max-time", "20"];
    all.extend(arguments);
    run("curl", &all, "").await
}

/// `openssl s_client`, which asks for one page and reports what it saw.
pub(crate) async fn s_client(server: &Server, ca: &std::path::Path, arguments: &[&str]) -> Ended {
    let address = server.address.to_string();
    let mut all = vec![
        "s_client",
        "-connect",
        &address,
        "-CAfile",
        text(ca),
        "-ign_eof",
    ];
    all.extend(arguments);
    run("openssl", &all, "GET / HTTP/1.0\r\n\r\n").await
}
