//! Who does not have the secret gets nothing; who has no configuration is told what to write.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use roadstead_tests::Run;
use roadstead_tests::registry::built;

use super::group::{DEADLINE, Group, SECRET, present};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused() {
    let mut group = Group::new(1..=1);
    group.start_all();
    present(&group.remote()).await;
    let other = group.configure(1, "another secret, as long as it must be");
    let stranger = Run::new(built("roadstead"))
        .args(["cluster", "status", "--config"])
        .arg(other)
        .fails();
    assert!(
        stranger.said().contains("NO MEMBER ANSWERS"),
        "{}",
        stranger.said()
    );
    let mut plain = TcpStream::connect(&group.peers[&1]).expect("a connection");
    plain.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("a request");
    let mut heard = Vec::new();
    // A reset is as good as an end. At most a TLS alert comes, which begins with 21.
    let _reset = plain.read_to_end(&mut heard);
    assert!(heard.first().is_none_or(|kind| *kind == 21), "{heard:?}");
    let member = group.running.get_mut(&1).expect("the member");
    member.wait_for_log("it says so", DEADLINE, |log| {
        log.contains("not a process of this cluster").then_some(())
    });
    assert!(!member.log().contains(SECRET));
}

#[test]
fn what_is_missing_is_named() {
    let dir = roadstead_tests::scratch();
    let config = dir.path().join("config.yml");
    let run = |text: &str, command: &[&str]| {
        std::fs::write(&config, text).expect("a configuration");
        Run::new(built("roadstead"))
            .args(command)
            .arg(&config)
            .fails()
            .said()
    };
    let plain = "version: 0.1\nstorage: inmemory\n";
    assert!(run(plain, &["metadata"]).contains("cluster.secret is missing"));
    let secret = format!("{plain}cluster: {{secret: {SECRET}}}\n");
    assert!(run(&secret, &["metadata"]).contains("metadata is missing"));
    let told = run(&secret, &["cluster", "status", "--config"]);
    assert!(told.contains("cluster.metadata is missing"), "{told}");
    assert!(!told.contains(SECRET));
}
