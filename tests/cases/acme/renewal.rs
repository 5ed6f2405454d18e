//! A certificate of a minute and a half: renewed again and again, and nobody notices.

use std::process::Command;

use roadstead_tests::{Pebble, scratch, wait_until};

use super::alone::start;
use super::server::{DEADLINE, NAME, address, by, serves, shown};
use crate::tls::Kept;

/// Renewed after a minute: a machine that is busy has time for it.
const SHORT: u64 = 90;

#[test]
fn connections_go_on_and_new_ones_see_the_new_one() {
    let (home, addr) = (scratch(), address());
    let pebble = Pebble::start(SHORT, addr.ip());
    let kept = format!(", cachefile: '{}'", home.path().join("kept").display());
    let server = start(home.path(), &addr.to_string(), &by(&pebble, &kept));
    let first = serves(&pebble, addr, NAME);
    let mut connection = Kept::connect(addr);
    assert_eq!(connection.ask(), "HTTP/1.1 200");
    let mut asked = 0;
    wait_until("another certificate is served", DEADLINE, || {
        // Whichever it is, it is valid.
        let got = Command::new("curl")
            .args(["-q", "-sS", "-f", "-o", "/dev/null", "--max-time", "60"])
            .args([
                "--resolve",
                &format!("{NAME}:{}:{}", addr.port(), addr.ip()),
            ])
            .arg("--cacert")
            .arg(pebble.root())
            .arg(format!("https://{NAME}:{}/v2/", addr.port()))
            .status();
        assert!(got.expect("curl").success(), "after {asked} requests");
        asked += 1;
        shown(&pebble, addr, NAME).is_some_and(|serial| serial != first)
    });
    assert!(asked > 10, "{asked}");
    assert_eq!(connection.ask(), "HTTP/1.1 200", "the connection goes on");
    assert!(pebble.issued() >= 2, "{}", server.log());
}
