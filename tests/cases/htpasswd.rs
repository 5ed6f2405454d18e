//! `htpasswd`, which is this program under another name, beside Apache's: each reads what the other wrote.

use std::os::unix::fs::symlink;
use std::path::Path;

use roadstead_tests::registry::program;
use roadstead_tests::{Run, scratch};

/// Types passwords at a terminal: each when it is asked for, since what comes before is thrown away.
const TYPIST: &str = r#"
import os, pty, sys

typed, command = sys.argv[1].split(","), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
seen = b""
def read():
    global seen
    try:
        piece = os.read(terminal, 1000)
    except OSError:
        piece = b""
    seen += piece
    return piece
for password in typed:
    before = seen.count(b"password: ")
    while seen.count(b"password: ") == before and read():
        pass
    os.write(terminal, password.encode() + b"\n")
while read():
    pass
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

/// A directory with our program under Apache's name.
fn ours() -> tempfile::TempDir {
    let dir = scratch();
    symlink(program(), dir.path().join("htpasswd")).expect("a link");
    dir
}

fn htpasswd(dir: &Path, args: &[&str]) -> Run {
    Run::new(dir.join("htpasswd")).dir(dir).args(args)
}

fn apaches(dir: &Path, args: &[&str]) -> Run {
    Run::new("htpasswd").dir(dir).args(args)
}

#[test]
fn each_verifies_what_the_other_wrote() {
    let dir = ours();
    let dir = dir.path();
    htpasswd(dir, &["-cBb", "file", "alice", "one"]).ok();
    apaches(dir, &["-Bb", "file", "bob", "two"]).ok();
    htpasswd(dir, &["-BbC", "4", "file", "carol", "three"]).ok();
    for (user, password) in [("alice", "one"), ("bob", "two"), ("carol", "three")] {
        for tool in [htpasswd, apaches] {
            let said = tool(dir, &["-vb", "file", user, password]).ok().stderr;
            assert_eq!(said, format!("Password for user {user} correct.\n"));
            let refused = tool(dir, &["-vb", "file", user, "wrong"]).fails();
            assert_eq!(refused.status.code(), Some(3), "{}", refused.said());
        }
    }
    let line = htpasswd(dir, &["-nbB", "dora", "four"]).ok().text();
    assert!(line.starts_with("dora:$2y$05$"), "{line}");
    std::fs::write(dir.join("line"), line + "\n").expect("a file");
    apaches(dir, &["-vb", "line", "dora", "four"]).ok();
}

#[test]
fn sentences_and_exit_codes_are_apaches() {
    let dir = ours();
    let dir = dir.path();
    let long = "a".repeat(256);
    let asked: &[&[&str]] = &[
        &["-cBb", "file", "alice", "one"],
        &["-Bb", "file", "alice", "two"],
        &["-Bb", "file", "bob", "three"],
        &["-D", "file", "bob"],
        &["-D", "file", "bob"],
        &["-vb", "file", "bob", "x"],
        &["-vb", "file", "alice", "x"],
        &["-D", "none", "bob"],
        &["-Bb", "none", "bob", "x"],
        &["-cBb", "no/such/file", "bob", "x"],
        &["-nbB", "a:b", "x"],
        &["-nbB", &long, "x"],
    ];
    let by = |tool: fn(&Path, &[&str]) -> Run| {
        let _absent = std::fs::remove_file(dir.join("file"));
        let ended = asked.iter().map(|args| {
            let ended = tool(dir, args).ends();
            (ended.status.code(), ended.text(), ended.stderr)
        });
        ended.collect::<Vec<_>>()
    };
    let (we, they) = (by(htpasswd), by(apaches));
    for ((args, ours), theirs) in asked.iter().zip(we).zip(they) {
        assert_eq!(ours.0, theirs.0, "{args:?}: {}", ours.2);
        assert_eq!(ours.1, theirs.1, "{args:?}");
        // Where the system says why, it says it in other words.
        if args[1] != "no/such/file" {
            assert_eq!(ours.2, theirs.2, "{args:?}");
        }
    }
}

#[test]
fn passwords_are_typed_twice_and_not_shown() {
    let dir = ours();
    let dir = dir.path();
    let type_into = |typed: &str, args: &[&str]| {
        let program = dir.join("htpasswd").display().to_string();
        let typist = Run::new("python3")
            .dir(dir)
            .args(["-c", TYPIST, typed, &program]);
        typist.args(args)
    };
    let said = type_into("secret,secret", &["-c", "file", "alice"])
        .ok()
        .text();
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    let expected = [
        "New password:",
        "Re-type new password:",
        "Adding password for user alice",
    ];
    assert_eq!(lines, expected);
    apaches(dir, &["-vb", "file", "alice", "secret"]).ok();

    let refused = type_into("one,other", &["file", "alice"]).fails();
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        refused
            .text()
            .contains("htpasswd: password verification error")
    );
    apaches(dir, &["-vb", "file", "alice", "secret"]).ok();

    let verified = type_into("secret", &["-v", "file", "alice"]).ok().text();
    assert!(verified.starts_with("Enter password:"), "{verified}");
    assert!(
        verified.contains("Password for user alice correct."),
        "{verified}"
    );
}

#[test]
fn other_hashes_are_refused_with_what_to_use_instead() {
    let dir = ours();
    for kind in ["-m", "-d", "-s", "-p", "-2", "-5"] {
        let refused = htpasswd(dir.path(), &["-cb", kind, "file", "alice", "x"]).fails();
        assert_eq!(refused.status.code(), Some(2));
        let expected =
            format!("htpasswd: {kind}: a registry accepts bcrypt hashes alone; use -B instead");
        assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    }
    assert!(!dir.path().join("file").is_file());
}

#[test]
fn the_subcommand_is_the_same_tool() {
    let dir = scratch();
    let subcommand = Run::new(program()).dir(dir.path()).arg("htpasswd");
    subcommand.args(["-cBb", "file", "alice", "one"]).ok();
    apaches(dir.path(), &["-vb", "file", "alice", "one"]).ok();
}
