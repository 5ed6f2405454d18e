//! A registry with its settings in variables: `docker run` with a directory, another port, and perhaps TLS; then the same
//! composed, with a file `.env`.

use roadstead_tests::Machine;

use super::{answers, pushed_and_pulled_back, status};

const COMPOSED: &str = r#"version: '3'
services:
  registry:
    image: registry:${MY_REG_TAG}
    ports:
      - "${MY_REG_PORT}:5000"
    volumes:
      - ${MY_REG_DIR}:/var/lib/registry
      #- ${MY_REG_TLS_DIR}=/var/lib/my_registry_tls
    #environment:
      #REGISTRY_HTTP_TLS_CERTIFICATE=/certs/${MY_REG_TLS_CRT}
      #REGISTRY_HTTP_TLS_KEY=/certs/${MY_REG_TLS_KEY}
    restart: always
"#;

const DOT_ENV: &str = "MY_REG_TAG=latest
MY_REG_DIR=/var/lib/my_registry
MY_REG_PORT=5001
#MY_REG_CONF=
#MY_REG_TLS_DIR=/var/lib/my_registry_tls
#MY_REG_TLS_CRT=certificate.pem
#MY_REG_TLS_KEY=key.pem
";

const VARIABLES: &str =
    "MY_REG_PORT=5001 MY_REG_DIR=/var/lib/my_registry MY_REG_CONF=/var/lib/my_registry.yml
MY_REG_TLS_DIR=/var/lib/my_registry_tls MY_REG_TLS_CRT=certificate.pem MY_REG_TLS_KEY=key.pem";

#[test]
fn a_registry_by_variables() {
    let machine = Machine::with_registry(&["registry:latest"]);
    machine.add_image("alpine");
    a205_a206_a207_it_says_how_it_starts(&machine);
    a007_interrupted_it_ends(&machine);
    a201_a202_a213_a216_another_configuration_is_mounted(&machine);
    a204_a216_with_tls(&machine);
    a214_it_is_composed_with_an_environment(&machine);
}

fn a205_a206_a207_it_says_how_it_starts(machine: &Machine) {
    machine.run(
        "mkdir /var/lib/my_registry; chown 4321:4321 /var/lib/my_registry
         docker run --rm -p 5001:5000 -v /var/lib/my_registry:/var/lib/registry --name my_registry registry \
           > log 2>&1 &",
    );
    answers(machine, "http://localhost:5001/v2/");
    let said = machine.run("cat log").text();
    for sentence in [
        "level=warning msg=\"No HTTP secret provided - generated random secret. This may cause problems with uploads",
        "level=info msg=\"Starting upload purge in ",
        "level=info msg=\"redis not configured\"",
        "level=info msg=\"listening on [::]:5000\"",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    machine.run("docker tag alpine:latest localhost:5001/alpine:latest");
    pushed_and_pulled_back(machine, "localhost:5001/alpine:latest");
}

fn a007_interrupted_it_ends(machine: &Machine) {
    let ended =
        machine.run("docker kill --signal INT my_registry >&2; docker wait my_registry || true");
    assert!(
        matches!(ended.text().as_str(), "0" | ""),
        "{}",
        ended.text()
    );
    machine.until("it was removed", "! docker inspect my_registry");
    let owner = machine.run("stat --format %u /var/lib/my_registry").text();
    assert_eq!(owner, "4321", "a directory of somebody's stays theirs");
}

fn a201_a202_a213_a216_another_configuration_is_mounted(machine: &Machine) {
    let config = "version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\n\
        http: {addr: ':5000', headers: {X-Mine: [mounted]}}\n";
    machine.write("/var/lib/my_registry.yml", config);
    for path in [
        "/etc/docker/registry/config.yml",
        "/etc/distribution/config.yml",
    ] {
        machine.run(&format!(
            "{VARIABLES}
             docker run \\
             -d \\
             --rm \\
             -p ${{MY_REG_PORT}}:5000 \\
             -v ${{MY_REG_DIR}}:/var/lib/registry \\
             -v ${{MY_REG_CONF}}:{path} \\
             --name my_registry \\
             registry"
        ));
        answers(machine, "http://localhost:5001/v2/");
        let head = machine.run("curl -si http://localhost:5001/v2/").text();
        assert!(
            head.to_lowercase().contains("x-mine: mounted"),
            "{path}: {head}"
        );
        pushed_and_pulled_back(machine, "localhost:5001/alpine:latest");
        machine.run("docker stop my_registry");
        machine.until("it was removed", "! docker inspect my_registry");
    }
}

fn a204_a216_with_tls(machine: &Machine) {
    machine.run(
        "mkdir /var/lib/my_registry_tls; cd /var/lib/my_registry_tls
         openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=unused -addext subjectAltName=DNS:localhost \
           -keyout key.pem -out certificate.pem",
    );
    machine.run(&format!(
        "{VARIABLES}
         docker run \\
         -d \\
         --rm \\
         -p ${{MY_REG_PORT}}:5000 \\
         -v ${{MY_REG_DIR}}:/var/lib/registry \\
         -v ${{MY_REG_CONF}}:/etc/docker/registry/config.yml \\
         -v ${{MY_REG_TLS_DIR}}:/certs \\
         -e REGISTRY_HTTP_TLS_CERTIFICATE=/certs/${{MY_REG_TLS_CRT}} \\
         -e REGISTRY_HTTP_TLS_KEY=/certs/${{MY_REG_TLS_KEY}} \\
         --name my_registry \\
         registry"
    ));
    answers(machine, "https://localhost:5001/v2/");
    let trusting = "--cacert /var/lib/my_registry_tls/certificate.pem https://localhost:5001/v2/";
    assert_eq!(status(machine, trusting), "200");
    machine.run("docker logs my_registry 2>&1 | grep 'listening on .*, tls'");
    machine.run("docker stop my_registry");
    machine.until("it was removed", "! docker inspect my_registry");
}

fn a214_it_is_composed_with_an_environment(machine: &Machine) {
    machine.write("/root/registry-compose/.env", DOT_ENV);
    machine.write("/root/registry-compose/docker-compose.yml", COMPOSED);
    machine.run("cd registry-compose; docker-compose up -d");
    answers(machine, "http://localhost:5001/v2/");
    let shown = machine.run("cd registry-compose; docker-compose ps").text();
    assert!(shown.contains("registry-compose_registry_1"), "{shown}");
    assert!(shown.contains("/entrypoint.sh /etc/docker ..."), "{shown}");
    assert!(shown.contains("0.0.0.0:5001->5000/tcp"), "{shown}");
    machine.run(
        "docker image rm localhost:5001/alpine:latest; docker pull localhost:5001/alpine:latest",
    );
    machine.run("cd registry-compose; docker-compose stop; docker-compose up -d");
    answers(machine, "http://localhost:5001/v2/");
    machine.run(
        "docker image rm localhost:5001/alpine:latest; docker pull localhost:5001/alpine:latest",
    );
}
