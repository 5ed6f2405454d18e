//! Clients that need no store: skopeo, curl and oras.

use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::client::Answer;
use crate::registry::target_profile;
use crate::run::{CLIENT, Run};

/// Any image is accepted: what is tested is the registry, not a signature. (One's own file, since the machine's may
/// say otherwise.)
pub(crate) const POLICY: &str = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;

/// Runs `skopeo` with a home of its own: no credentials, no signature policy and no aliases of the machine's.
/// (As root it keeps hints on where layers were seen under `/var/lib/containers/cache`, and nothing turns that off.)
#[track_caller]
pub fn skopeo(args: &[&str]) -> crate::Output {
    let home = crate::scratch();
    skopeo_at(home.path(), args).ok()
}

/// Runs it where it must fail.
#[track_caller]
pub fn skopeo_fails(args: &[&str]) -> crate::Output {
    let home = crate::scratch();
    skopeo_at(home.path(), args).fails()
}

fn skopeo_at(home: &Path, args: &[&str]) -> Run {
    std::fs::write(home.join("registries.conf"), "").expect("a configuration file");
    Run::new("skopeo")
        .deadline(CLIENT)
        .arg("--insecure-policy")
        .arg("--tmpdir")
        .arg(home)
        .args(args)
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("CONTAINERS_REGISTRIES_CONF", home.join("registries.conf"))
}

/// What curl got.
#[derive(Debug)]
pub struct Curled {
    /// Status, headers and body of the last answer.
    pub answer: Answer,
    /// The first line of each answer, an interim `100 Continue` among them: `HTTP/1.1 202 Accepted`.
    pub status_lines: Vec<String>,
}

/// Runs `curl` with these arguments, a URL among them, and keeps its answer whole. Bad statuses are answers as well.
#[track_caller]
pub fn curl(args: &[&str]) -> Curled {
    let dir = crate::scratch();
    let (head, body) = (dir.path().join("head"), dir.path().join("body"));
    Run::new("curl")
        .args(["--silent", "--show-error", "--disable", "--dump-header"])
        .arg(&head)
        .arg("--output")
        .arg(&body)
        .args(args)
        .env("HOME", dir.path())
        .ok();
    let head = std::fs::read_to_string(&head).expect("the heads that curl wrote");
    // A body without a byte leaves no file.
    let body = std::fs::read(&body).unwrap_or_default();
    curled(args, &head, body)
}

fn curled(args: &[&str], heads: &str, body: Vec<u8>) -> Curled {
    let mut status_lines = Vec::new();
    let mut headers = HeaderMap::new();
    for line in heads.lines() {
        if line.starts_with("HTTP/") {
            status_lines.push(line.trim_end().to_owned());
            headers.clear();
        } else if let Some((name, value)) = line.split_once(':') {
            let name: HeaderName = name.parse().expect("the name of a header");
            let value = HeaderValue::from_str(value.trim()).expect("the value of a header");
            headers.append(name, value);
        }
    }
    let status = status_lines
        .last()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("curl {args:?} got no status: {heads}"));
    Curled {
        answer: Answer {
            request: format!("curl {}", args.join(" ")),
            status,
            headers,
            body,
        },
        status_lines,
    }
}

/// Runs a python script with the libraries that `tests/setup` put beside the build.
#[track_caller]
pub fn python(script: &Path, args: &[&str], dir: &Path) -> crate::Output {
    let python = python_of_setup();
    assert!(
        python.is_file(),
        "the python libraries are not installed ({} is missing): run tests/setup",
        python.display()
    );
    Run::new(python)
        .arg("-B")
        .arg(script)
        .args(args)
        .dir(dir)
        .env("HOME", dir)
        .ok()
}

fn python_of_setup() -> PathBuf {
    let profile = target_profile();
    let target = profile.parent().expect("the target directory");
    target.join("test-tools/venv/bin/python")
}
