//! The authority says when it would have a certificate renewed (RFC 9773). Pebble does not say: a proxy in front of it does.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use roadstead_tests::proxy::Proxy;
use roadstead_tests::tokens::now;
use roadstead_tests::{Pebble, Run, scratch, wait_until};

use super::alone::start;
use super::server::{DEADLINE, LONG, NAME, address, serves};

const DAY: u64 = 24 * 3600;

/// What passes on to pebble, and says of every certificate that it is to be renewed between these times.
fn suggesting(pebble: &Pebble, window: [u64; 2]) -> Proxy {
    let [begin, end] = window.map(|at| {
        let date = Run::new("date").args(["-u", "+%FT%TZ", "-d"]);
        date.arg(format!("@{at}")).ok().text()
    });
    let pass = "proxy_pass https://UPSTREAM; proxy_set_header Host $http_host;";
    let location = format!(
        r#"{pass}
        location = /dir {{
          {pass}
          sub_filter_types application/json;
          sub_filter '"revokeCert"' '"renewalInfo": "https://$http_host/renewals", "revokeCert"';
        }}
        location /renewals/ {{
          access_log /dev/stderr combined;
          default_type application/json;
          add_header Retry-After 21600;
          return 200 '{{"suggestedWindow": {{"start": "{begin}", "end": "{end}"}}}}';
        }}"#
    );
    Proxy::nginx(pebble.addr(), &location)
}

#[test]
fn a_certificate_is_to_be_renewed_when_the_authority_suggests() {
    let (home, addr) = (scratch(), address());
    let pebble = Pebble::start(LONG, addr.ip());
    let window = [now() + 10 * DAY, now() + 11 * DAY];
    let authority = suggesting(&pebble, window);
    let letsencrypt = format!(
        "{{email: me@example.com, hosts: [{NAME}], directoryurl: '{}/dir', directoryca: '{}', cachefile: '{}'}}",
        authority.url(),
        authority.certificate().display(),
        home.path().join("kept").display(),
    );
    let asked_for = || -> Vec<String> {
        let log = authority.log();
        let asked = log.lines().filter_map(|line| line.split_once("/renewals/"));
        asked
            .filter_map(|(_, rest)| rest.split_once(' '))
            .map(|(id, _)| id.to_owned())
            .collect()
    };
    let mut server = start(home.path(), &addr.to_string(), &letsencrypt);
    let serial = serves(&pebble, addr, NAME);
    let at: u64 = server.wait_for_log("what is suggested is kept", DEADLINE, |log| {
        let (_, rest) = log.split_once("seconds_since_1970=")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    assert!((window[0]..=window[1]).contains(&at), "{at}: {window:?}");
    // What was asked is written down after it was answered.
    wait_until("it is written that it was asked", DEADLINE, || {
        !asked_for().is_empty()
    });
    let asked = asked_for();
    let [id] = asked.as_slice() else {
        panic!("asked once for one: {asked:?}");
    };
    let (authority_key, number) = id.split_once('.').expect("key and serial number");
    let decoded = |part| BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url");
    assert_eq!(decoded(authority_key).len(), 20, "a SHA-1");
    let number: Vec<String> = decoded(number)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let number = number.concat();
    assert_eq!(
        number.trim_start_matches('0'),
        serial.trim().trim_start_matches('0')
    );

    // It is kept: what was suggested once more says nothing new.
    assert!(server.stop(DEADLINE).success());
    let server = start(home.path(), &addr.to_string(), &letsencrypt);
    wait_until("it is asked again", DEADLINE, || asked_for().len() == 2);
    assert_eq!(serves(&pebble, addr, NAME), serial);
    assert!(
        !server.log().contains("seconds_since_1970"),
        "{}",
        server.log()
    );
    assert_eq!(pebble.issued(), 1);
}
