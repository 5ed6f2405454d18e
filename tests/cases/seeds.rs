//! What people were told to do with the CNCF registry's image: five published set-ups, step by step, against the image
//! of this registry under that one's name, on a machine with an engine of its own.
//!
//! Each set-up is one test, since a machine takes seconds; its steps are functions that begin with the ids of the rows that
//! they show. [`rows`] has all rows.

#![expect(clippy::panic, reason = "a step fails its case where it stands")]

mod cluster;
mod deploying;
mod home;
mod howto;
mod image;
mod network;
mod proxied;
mod rows;

use roadstead_tests::Machine;

/// Waits until a registry answers, protected or not.
#[track_caller]
fn answers(machine: &Machine, url: &str) {
    let script = format!("curl --silent --insecure --output /dev/null {url}");
    machine.until(&format!("{url} answered"), &script);
}

/// The status that curl gets for these arguments.
#[track_caller]
fn status(machine: &Machine, arguments: &str) -> String {
    let script = format!(
        "curl --silent --show-error --output /dev/null --write-out '%{{http_code}}' {arguments}"
    );
    machine.run(&script).text()
}

/// Pushes an image, forgets it, pulls it back: the engine has the same image again.
#[track_caller]
fn pushed_and_pulled_back(machine: &Machine, image: &str) {
    let said = machine.run(&format!("docker push {image}")).text();
    assert!(said.contains("latest: digest: sha256:"), "{said}");
    assert!(said.contains(" size: "), "{said}");
    let id = |machine: &Machine| {
        let inspect = format!("docker image inspect --format '{{{{.Id}}}}' {image}");
        machine.run(&inspect).text()
    };
    let before = id(machine);
    machine.run(&format!("docker image rm {image}"));
    let said = machine.run(&format!("docker pull {image}")).text();
    assert!(said.contains("Digest: sha256:"), "{said}");
    assert_eq!(id(machine), before);
}
