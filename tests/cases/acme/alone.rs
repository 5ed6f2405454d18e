//! A server of its own: the reference's settings, and what is kept.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use roadstead_tests::pebble::HTTP_PORT;
use roadstead_tests::process::Process;
use roadstead_tests::tools::curl;
use roadstead_tests::{Pebble, scratch, wait_until};
use rustix::process::Signal;

use super::server::{DEADLINE, LONG, NAME, address, by, launch, serves, shown};

pub(super) const PLAIN: &str =
    "version: 0.1\nstorage: inmemory\nlog: {accesslog: {disabled: true}}\n";

/// With these lines below `letsencrypt`, at this address.
pub(super) fn start(home: &Path, addr: &str, letsencrypt: &str) -> Process {
    let config = format!("{PLAIN}http:\n  addr: '{addr}'\n  tls: {{letsencrypt: {letsencrypt}}}\n");
    launch("serve", home, &config, &[])
}

/// As a container is started that has its certificate by itself: variables, and a file that `touch` made.
#[test]
fn a021_a022_a023_the_variables_of_the_reference_are_enough() {
    let (home, addr) = (scratch(), address());
    let pebble = Pebble::start(LONG, addr.ip());
    let cache = home.path().join("cache");
    std::fs::write(&cache, "").expect("a file");
    let (text, cachefile) = (addr.to_string(), cache.display().to_string());
    let (directory, ca) = (pebble.directory(), pebble.ca().display().to_string());
    let variables = [
        ("REGISTRY_HTTP_ADDR", text.as_str()),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE", &cachefile),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_EMAIL", "me@example.com"),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_0", NAME),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_1", "www.hub.example"),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_DIRECTORYURL", &directory),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_DIRECTORYCA", &ca),
    ];
    let mut server = launch("serve", home.path(), PLAIN, &variables);
    let serial = serves(&pebble, addr, NAME);
    assert_eq!(serves(&pebble, addr, "www.hub.example"), serial);
    server.wait_for_log("its account is told", DEADLINE, |log| {
        log.contains("registered with the authority").then_some(())
    });
    let mode = std::fs::metadata(&cache)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // Images are served as ever.
    let (resolve, root) = (
        format!("{NAME}:{}:{}", addr.port(), addr.ip()),
        pebble.root(),
    );
    let url = format!("https://{NAME}:{}/v2/", addr.port());
    let root = root.display().to_string();
    let got = curl(&["--http2", "--resolve", &resolve, "--cacert", &root, &url]);
    got.answer.expect_status(200);

    // What is kept is served from the first moment on, whether the authority is there or not.
    assert!(server.stop(DEADLINE).success());
    let orders = pebble.orders();
    let server = launch("serve", home.path(), PLAIN, &variables);
    assert_eq!(shown(&pebble, addr, NAME), Some(serial));
    assert_eq!((orders, pebble.orders()), (1, 1));
    assert!(!server.log().contains("ordering"), "{}", server.log());
}

#[test]
fn a_directory_is_shared_by_two_and_one_of_them_orders_by_http() {
    let (home, addr) = (scratch(), address());
    let pebble = Pebble::start(LONG, addr.ip());
    let (cache, other) = (home.path().join("acme/certificates"), address());
    let [first_home, second_home] = [home.path().join("1"), home.path().join("2")];
    for dir in [&first_home, &second_home] {
        std::fs::create_dir(dir).expect("a directory");
    }
    let at = |more: &str| {
        by(
            &pebble,
            &format!(", cachefile: '{}'{more}", cache.display()),
        )
    };
    let challenged = format!(", challengeaddr: '{}:{HTTP_PORT}'", addr.ip());
    // Its own address is not where the authority looks: only port 80 is.
    let first = start(&first_home, "127.0.0.1:0", &at(&challenged));
    let mut second = start(
        &second_home,
        &other.to_string(),
        &at(", challenge: http-01"),
    );
    let serial = serves(&pebble, other, NAME);
    assert_eq!(
        (pebble.orders(), pebble.issued()),
        (1, 1),
        "{}",
        first.log()
    );
    second.kill();
    let second = start(
        &second_home,
        &other.to_string(),
        &at(", challenge: http-01"),
    );
    assert_eq!(shown(&pebble, other, NAME), Some(serial));
    drop((first, second));
}

/// The authority is away, then it cannot find the server, then it can; and all the while what is there is served.
#[test]
fn a024_no_failure_is_fatal_and_all_are_told() {
    let (home, addr, elsewhere) = (scratch(), address(), address());
    let mut pebble = Pebble::start(LONG, addr.ip());
    pebble.goes_away();
    let config = format!(
        "{PLAIN}http:\n  addr: '{addr}'\n  debug: {{addr: '127.0.0.1:0', prometheus: {{enabled: true}}}}\n  \
         tls: {{letsencrypt: {}}}\n",
        by(
            &pebble,
            &format!(", cachefile: '{}'", home.path().join("kept").display())
        )
    );
    let mut server = launch("serve", home.path(), &config, &[]);
    let failures = |server: &mut Process, words: &str, times: usize| {
        let sentence = format!("{words} for the {times}. time");
        server.wait_for_log(&sentence, DEADLINE, |log| {
            let told = log
                .lines()
                .filter(|line| line.contains("no certificate was issued"));
            (told.filter(|line| line.contains(words)).count() >= times).then_some(())
        });
    };
    failures(&mut server, "Connection refused", 1);
    pebble.leads(NAME, &[elsewhere]);
    pebble.comes_back();
    failures(&mut server, NAME, 1);
    assert_eq!(pebble.orders(), 1, "{}", pebble.log());
    assert_eq!(shown(&pebble, addr, NAME), None);
    let debug = server.wait_for_log("its debug address", DEADLINE, |log| {
        let (_, rest) = log.split_once("debug server listening ")?;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
        rest.get(..end).map(str::to_owned)
    });
    let figures = curl(&[&format!("http://{debug}/metrics")]).answer;
    let figures = figures.expect_status(200).text();
    assert!(
        figures.contains("roadstead_certificate_failures_total 2"),
        "{figures}"
    );
    pebble.leads(NAME, &[addr]);
    // The pause after the second failure is a minute and a half: a restart does not shorten it.
    server.signal(Signal::TERM);
    wait_until("the server ended", DEADLINE, || server.ended().is_some());
    let server = launch("serve", home.path(), &config, &[]);
    serves(&pebble, addr, NAME);
    assert_eq!(pebble.orders(), 2, "{}", server.log());
}

/// An authority that knows customers only: it is shown whose account this is to be.
#[test]
fn an_account_is_bound_to_a_customers() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let (home, addr) = (scratch(), address());
    let pebble = Pebble::start_for(LONG, addr.ip(), Some(("customer-7", KEY)));
    let cached = format!(", cachefile: '{}'", home.path().join("kept").display());
    let addr_text = addr.to_string();
    let mut nobodys = start(home.path(), &addr_text, &by(&pebble, &cached));
    nobodys.wait_for_log("it is refused", DEADLINE, |log| {
        log.contains("externalAccountRequired").then_some(())
    });
    drop(nobodys);
    let bound = format!("{cached}, eab: {{keyid: customer-7, key: {KEY}}}");
    std::fs::remove_dir_all(home.path().join("kept")).expect("what is kept");
    let server = start(home.path(), &addr_text, &by(&pebble, &bound));
    serves(&pebble, addr, NAME);
    assert!(!server.log().contains(KEY));
}
