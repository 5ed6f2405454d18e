//! Starting on a bucket: what is wrong is said by its setting, and no two servers share one place.

use std::path::{Path, PathBuf};
use std::process::Command;

use roadstead_tests::process::Process;
use roadstead_tests::{Options, Output, Registry, Run, Seaweed, registry, scratch, wait_for};
use rustix::process::Signal;

use super::{SOON, serve};

#[test]
fn a_server_says_what_is_wrong_and_keeps_others_off() {
    let seaweed = Seaweed::start();
    mistakes_are_said_by_their_settings(&seaweed);
    where_sessions_are_kept(&seaweed);
    a_second_server_is_refused(&seaweed);
}

fn start(directory: &Path, storage: &str) -> Process {
    let file = configure(directory, storage);
    let mut command = Command::new(registry::program());
    command.arg("serve").arg(file).current_dir(directory);
    command.env_clear();
    Process::start(command, &directory.join("log"))
}

fn listening(process: &mut Process) -> String {
    process.wait_for_log("it listened", SOON, |log| {
        log.contains("listening on").then(|| log.to_owned())
    })
}

fn configure(directory: &Path, storage: &str) -> PathBuf {
    let file = directory.join("config.yml");
    let yaml = format!("version: 0.1\nstorage:\n{storage}http: {{addr: '127.0.0.1:0'}}\n");
    std::fs::write(&file, yaml).expect("a configuration");
    file
}

fn run(directory: &Path, command: &str, storage: &str) -> Run {
    let file = configure(directory, storage);
    registry::command().dir(directory).arg(command).arg(file)
}

fn refused(storage: &str) -> Output {
    let directory = scratch();
    let refused = run(directory.path(), "serve", storage).fails();
    let said = refused.said();
    assert!(!said.contains("-secret-of-the-tests"), "{said}");
    refused
}

fn mistakes_are_said_by_their_settings(seaweed: &Seaweed) {
    let right = seaweed.storage("starts");
    let port = seaweed.addr().port().to_string();
    for (what, instead, setting) in [
        (
            "bucket: images",
            "bucket: no-such-bucket",
            "storage.s3.bucket: there is no bucket",
        ),
        ("admins-key", "nobodys-key", "storage.s3.accesskey: "),
        ("a-secret-of-the-tests", "wrong", "storage.s3.secretkey: "),
        (
            port.as_str(),
            "9",
            "storage.s3.regionendpoint: the store cannot be reached",
        ),
        (
            "region: us-east-1",
            "v4auth: false",
            "storage.s3.v4auth (line",
        ),
    ] {
        let said = refused(&right.replace(what, instead)).said();
        assert!(said.contains(setting), "{instead}: {said}");
    }
    let reader = right
        .replace("admins-key", "readers-key")
        .replace("a-secret-of", "another-secret-of");
    let said = refused(&reader).said();
    assert!(said.contains("may not be written to"), "{said}");
    let read_only = format!("{reader}  maintenance: {{readonly: {{enabled: true}}}}\n");
    let mut reads = Registry::roadstead(Options::default().storage(read_only));
    reads
        .repository("nothing")
        .manifest("v1")
        .expect_status(404);
    reads.stop();
    let directory = scratch();
    let checked = run(directory.path(), "check", &right).ok().text();
    assert!(checked.contains("the configuration is right"), "{checked}");
    assert!(!checked.contains("-secret-of-the-tests"), "{checked}");
}

fn where_sessions_are_kept(seaweed: &Seaweed) {
    let home = |registry: &Registry| registry.config().parent().expect("a directory").to_owned();
    let unnamed = serve(seaweed, "sessions/unnamed");
    assert!(
        home(&unnamed)
            .join("data/roadstead/sessions.redb")
            .is_file()
    );
    let directory = scratch();
    let named = directory.path().join("kept/here");
    let yaml = format!("metadata: {{dir: {}}}", named.display());
    let options = || Options::default().storage(seaweed.storage("sessions/named"));
    let first = Registry::roadstead(options().yaml(&yaml));
    assert!(home(&first).is_dir() && named.join("sessions.redb").is_file());
    let other = scratch();
    let said = run(other.path(), "serve", &seaweed.storage("sessions/other"))
        .env("REGISTRY_METADATA_DIR", named.as_os_str())
        .fails();
    assert!(said.said().contains("metadata.dir: "), "{}", said.said());
    assert!(said.said().contains("is in use by another roadstead"));
    // A file where the directory should be.
    std::fs::write(directory.path().join("data"), "").expect("a file");
    let mut forgetful = start(directory.path(), &seaweed.storage("sessions/memory"));
    let log = listening(&mut forgetful);
    assert!(log.contains("will not survive a restart"), "{log}");
    assert!(log.contains("metadata.dir"), "{log}");
}

fn a_second_server_is_refused(seaweed: &Seaweed) {
    let mut first = serve(seaweed, "one/at/a/time");
    let storage = seaweed.storage("one/at/a/time");
    let said = refused(&storage).said();
    assert!(
        said.contains("storage.s3.rootdirectory: \"one/at/a/time\" of the bucket images is in use by another roadstead on"),
        "{said}"
    );
    assert!(seaweed.has("one/at/a/time/roadstead/server"));
    first.stop();
    assert!(
        !seaweed.has("one/at/a/time/roadstead/server"),
        "it was given up"
    );
    // Paused for long, it has lost its place to who has another directory, and ends when it wakes up.
    let mut second = serve(seaweed, "one/at/a/time");
    // It answers once all that comes before is done; paused within that, it ends with another word.
    second.client().get("/v2/").expect_status(200);
    second.process().signal(Signal::STOP);
    let directory = scratch();
    let mut third = start(directory.path(), &storage);
    let log = listening(&mut third);
    assert!(log.contains("waiting up to"), "{log}");
    second.process().signal(Signal::CONT);
    let ended = wait_for("the server that was paused ends", SOON, || {
        second.process().ended()
    });
    assert_eq!(ended.code(), Some(1));
    assert!(
        second.log().contains("is in use by another roadstead on"),
        "{}",
        second.log()
    );
    // Killed, a server is back at once: it knows its own name.
    third.kill();
    let log = listening(&mut start(directory.path(), &storage));
    assert!(!log.contains("waiting up to"), "{log}");
}
