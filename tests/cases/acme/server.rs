//! A server that has a certificate ordered, where the authority looks for it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use roadstead_tests::gateway::own_address;
use roadstead_tests::pebble::TLS_PORT;
use roadstead_tests::process::Process;
use roadstead_tests::registry::program;
use roadstead_tests::{Pebble, Run, wait_until};

/// No case waits longer for anything: an order takes seconds, a lease that runs out twenty.
pub(super) const DEADLINE: Duration = Duration::from_mins(3);

/// Good for so long that nothing is renewed while a case runs.
pub(super) const LONG: u64 = 90 * 24 * 3600;

pub(super) const NAME: &str = "hub.example";

/// An address that nobody else listens on, with the port at which the authority looks.
pub(super) fn address() -> SocketAddr {
    SocketAddr::new(own_address().ip(), TLS_PORT)
}

/// A subcommand as a process, with this configuration and these variables.
#[track_caller]
pub(super) fn launch(subcommand: &str, home: &Path, config: &str, env: &[(&str, &str)]) -> Process {
    let file = home.join(format!("{subcommand}.yml"));
    std::fs::write(&file, config).expect("a configuration");
    let mut command = Command::new(program());
    command
        .env_clear()
        .env("RUST_BACKTRACE", "1")
        .envs(env.iter().copied())
        .current_dir(home)
        .arg(subcommand)
        .arg(&file);
    let mut process = Process::start(command, &home.join("log"));
    process.wait_for_log("it listens", DEADLINE, |log| {
        log.contains("listening on ").then_some(())
    });
    process
}

/// What stands below `letsencrypt`.
pub(super) fn by(pebble: &Pebble, more: &str) -> String {
    format!(
        "{{email: me@example.com, hosts: [{NAME}], directoryurl: '{}', directoryca: '{}'{more}}}",
        pebble.directory(),
        pebble.ca().display()
    )
}

/// Whether somebody at this address shows a certificate for a name that the authority has signed. The serial number, if
/// so.
pub(super) fn shown(pebble: &Pebble, addr: SocketAddr, name: &str) -> Option<String> {
    let seen = Run::new("sh")
        .arg("-c")
        .arg(format!(
            "openssl s_client -connect {addr} -servername {name} -verify_hostname {name} -CAfile {} \
             -verify_return_error </dev/null 2>/dev/null | openssl x509 -noout -serial",
            pebble.root().display()
        ))
        .ends();
    let text = seen.text();
    text.strip_prefix("serial=").map(str::to_owned)
}

/// Waits until it does.
#[track_caller]
pub(super) fn serves(pebble: &Pebble, addr: SocketAddr, name: &str) -> String {
    let mut serial = String::new();
    let sentence = format!("{addr} serves a certificate for {name}");
    wait_until(&sentence, DEADLINE, || match shown(pebble, addr, name) {
        Some(seen) => {
            serial = seen;
            true
        }
        None => false,
    });
    serial
}
