//! The image by itself: its entry point, its names, its users; and the files for running it that are shipped beside it.

use roadstead_tests::{Machine, Run, scratch};

use super::{answers, pushed_and_pulled_back, status};

/// A file of `deploy/compose`.
pub(super) fn composed(name: &str) -> String {
    deployed(&format!("compose/{name}"))
}

pub(super) fn deployed(path: &str) -> String {
    let path = format!("{}/../deploy/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_image_and_what_is_shipped_beside_it() {
    let machine = Machine::with_registry(&["registry:2", "roadstead:latest"]);
    machine.add_image("app");
    machine.add_nginx(&["nginx"]);
    a215_the_entry_point_tells_what_is_meant(&machine);
    a215_garbage_is_collected_by_its_command(&machine);
    a203_both_families_are_listened_on(&machine);
    a216_another_user_may_run_it(&machine);
    a201_either_configuration_starts(&machine);
    a013_passwords_are_managed(&machine);
    the_shipped_compose_files_start(&machine);
    a116_the_shipped_haproxy_takes_an_open_registry_out(&machine);
    the_dockerfile_makes_the_same_image(&machine);
}

fn a215_the_entry_point_tells_what_is_meant(machine: &Machine) {
    let said = |arguments: &str| {
        machine
            .run(&format!("docker run --rm registry:2 {arguments}"))
            .said()
    };
    let version = said("--version");
    assert!(version.starts_with("registry roadstead v"), "{version}");
    assert!(said("-v").starts_with("registry roadstead v"));
    assert!(said("help").contains("garbage-collect"));
    assert!(said("serve --help").contains("registry serve"));
    assert!(said("garbage-collect --help").contains("--delete-untagged"));
    assert!(said("sh -c 'echo anything else'").contains("anything else"));
    assert!(said("roadstead --version").starts_with("roadstead "));
    for arguments in ["/no/such.yml", "serve /no/such.yaml"] {
        let ended = machine.run(&format!(
            "docker run --rm registry:2 {arguments} || echo $?"
        ));
        assert_eq!(ended.text(), "1");
        for said in ["configuration error", "/no/such.y", "Usage: registry serve"] {
            assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
        }
    }
}

fn a215_garbage_is_collected_by_its_command(machine: &Machine) {
    machine.run(
        "docker run -d -p 5000:5000 --name registry -v /srv/data:/var/lib/registry \
           -e REGISTRY_STORAGE_DELETE_ENABLED=true registry:2",
    );
    answers(machine, "http://localhost:5000/v2/");
    machine.run("docker tag app localhost:5000/app");
    pushed_and_pulled_back(machine, "localhost:5000/app");
    let named = machine.run(
        "curl -sI -H 'Accept: */*' http://localhost:5000/v2/app/manifests/latest \
           | sed -n 's/\\r//; s/^docker-content-digest: //Ip'",
    );
    let delete = format!(
        "curl -sf -X DELETE http://localhost:5000/v2/app/manifests/{}",
        named.text()
    );
    machine.run(&delete);
    machine.run("docker stop registry; docker rm -v registry");
    let collect = "docker run --rm -v /srv/data:/var/lib/registry registry:2 garbage-collect";
    let dry = machine.run(&format!("{collect} -d -m /etc/docker/registry/config.yml"));
    assert!(
        dry.text().contains("blob eligible for deletion: sha256:"),
        "{}",
        dry.text()
    );
    let blobs = "find /srv/data/docker/registry/v2/blobs -name data | wc -l";
    assert_ne!(machine.run(blobs).text(), "0");
    machine.run(&format!(
        "{collect} --dry-run=false /etc/docker/registry/config.yml"
    ));
    assert_eq!(machine.run(blobs).text(), "0");
}

fn a203_both_families_are_listened_on(machine: &Machine) {
    machine.run("docker run -d --network host --name registry registry:2");
    for host in ["127.0.0.1", "[::1]", "192.168.1.177"] {
        answers(machine, &format!("http://{host}:5000/v2/"));
    }
    machine.run("docker rm --force --volumes registry");
}

fn a216_another_user_may_run_it(machine: &Machine) {
    machine.run(
        "install -d -o 4321 -g 4321 /srv/theirs
         docker run -d -p 5000:5000 --name registry --user 4321:4321 -v /srv/theirs:/var/lib/registry registry:2",
    );
    answers(machine, "http://localhost:5000/v2/");
    pushed_and_pulled_back(machine, "localhost:5000/app");
    let others = "find /srv/theirs -not -user 4321 | wc -l";
    assert_eq!(machine.run(others).text(), "0");
    machine.run("docker rm --force --volumes registry");
}

/// The third version's images have their configuration elsewhere, with other settings.
fn a201_either_configuration_starts(machine: &Machine) {
    let (v2, v3) = (
        "/etc/docker/registry/config.yml",
        "/etc/distribution/config.yml",
    );
    // Deletion is on in the third version's.
    let deletes = |options: &str, arguments: &str| {
        machine.run(&format!(
            "docker run -d -p 5000:5000 --name registry {options} registry:2 {arguments}"
        ));
        answers(machine, "http://localhost:5000/v2/");
        let digest = format!("sha256:{}", "0".repeat(64));
        let asked = format!("-X DELETE http://localhost:5000/v2/none/manifests/{digest}");
        let status = status(machine, &asked);
        machine.run("docker rm --force --volumes registry");
        status == "404"
    };
    assert!(!deletes("", v2), "as version 2");
    assert!(deletes("", v3), "as version 3");
    // Where no file is named: what the image starts with, unless one was replaced.
    assert!(!deletes("", "serve"), "as without arguments");
    machine.run(&format!(
        "docker run --rm registry:2 cat {v3} >/srv/own.yml && echo >>/srv/own.yml"
    ));
    let mounted = |path: &str| format!("-v /srv/own.yml:{path}");
    for one in [v2, v3] {
        assert!(deletes(&mounted(one), "serve"), "{one} is replaced");
    }
    let told = machine.run(&format!(
        "docker run --rm {} {} registry:2 garbage-collect 2>&1 || echo ended with $?",
        mounted(v2),
        mounted(v3)
    ));
    assert!(told.text().contains("there are two configurations"));
    assert!(told.text().ends_with("ended with 1"), "{}", told.text());
}

fn a013_passwords_are_managed(machine: &Machine) {
    let ours = "docker run --rm -i -v /srv/users:/users --entrypoint htpasswd registry:2";
    machine.run("mkdir /srv/users");
    let said = |arguments: &str| machine.run(&format!("{ours} {arguments}")).stderr;
    assert!(said("-cBb /users/f alice one").contains("Adding password for user alice"));
    assert!(said("-bB /users/f bob two").contains("Adding password for user bob"));
    assert!(said("-bB -C 6 /users/f alice three").contains("Updating password for user alice"));
    machine.run("htpasswd -vb /srv/users/f alice three; htpasswd -vb /srv/users/f bob two");
    machine.run("htpasswd -bB /srv/users/f carol four");
    assert!(said("-vb /users/f carol four").contains("Password for user carol correct."));
    assert!(said("-D /users/f bob").contains("Deleting password for user bob"));
    let users = machine.run("cut -d: -f1 /srv/users/f").text();
    assert_eq!(users, "alice\ncarol");
    let asked = machine.run(&format!(
        "printf 'five\\n' | {ours} -niB dora > dora; htpasswd -vb dora dora five"
    ));
    assert!(asked.stderr.contains("correct"), "{}", asked.stderr);
    for (arguments, code) in [
        ("-vb /users/f alice wrong", "3"),
        ("-vb /users/f nobody x", "6"),
        ("-b /users/none alice x", "1"),
        ("-bm /users/f alice x", "2"),
        ("-nb a:b x", "6"),
    ] {
        let ended = machine.run(&format!("{ours} {arguments} >/dev/null || echo $?"));
        assert_eq!(ended.text(), code, "{arguments}: {}", ended.stderr);
    }
}

fn the_shipped_compose_files_start(machine: &Machine) {
    for file in ["registry.yml", "variables.yml"] {
        machine.write("/root/shipped/docker-compose.yml", composed(file));
        machine.write(
            "/root/shipped/.env",
            composed("variables.env").replace("5001", "5000"),
        );
        machine.run("cd shipped; docker-compose up -d");
        answers(machine, "http://localhost:5000/v2/");
        pushed_and_pulled_back(machine, "localhost:5000/app");
        machine.run("cd shipped; docker-compose down");
    }
    machine.write(
        "/root/nginx/docker-compose.yml",
        composed("behind-nginx.yml"),
    );
    machine.write(
        "/root/nginx/nginx/registry.conf",
        deployed("samples/nginx.conf"),
    );
    machine.add_names(&["hub.local"]);
    machine.run(
        "cd nginx/nginx
         openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=unused -addext subjectAltName=DNS:hub.local \
           -keyout domain.key -out domain.crt
         mkdir -p /etc/docker/certs.d/hub.local; cp domain.crt /etc/docker/certs.d/hub.local/ca.crt
         cd ..; docker-compose up -d; docker tag app hub.local/app",
    );
    machine.until(
        "the registry answered behind nginx",
        "curl -sf --cacert nginx/nginx/domain.crt https://hub.local/v2/",
    );
    pushed_and_pulled_back(machine, "hub.local/app");
    machine.run("cd nginx; docker-compose down");
}

/// A registry that asks for no user is down; one that does is up.
fn a116_the_shipped_haproxy_takes_an_open_registry_out(machine: &Machine) {
    machine.write("/etc/haproxy/registry.cfg", deployed("samples/haproxy.cfg"));
    machine.run(
        "cat nginx/nginx/domain.crt nginx/nginx/domain.key > /etc/haproxy/registry.pem
         docker run -d -p 5000:5000 --name registry registry:2",
    );
    answers(machine, "http://localhost:5000/v2/");
    machine.run("haproxy -D -p /run/haproxy.pid -f /etc/haproxy/registry.cfg");
    let asked = "curl -sk -o /dev/null -w '%{http_code}' https://hub.local/v2/";
    machine.until("the open registry was down", &format!("{asked} | grep 503"));
    machine.run(
        "docker rm --force --volumes registry
         docker run -d -p 5000:5000 --name registry -v /srv/users:/users -e REGISTRY_AUTH=htpasswd \
           -e REGISTRY_AUTH_HTPASSWD_REALM=r -e REGISTRY_AUTH_HTPASSWD_PATH=/users/f registry:2",
    );
    machine.until("the closed registry was up", &format!("{asked} | grep 401"));
    let alice = "-k -u alice:three https://hub.local/v2/";
    assert_eq!(status(machine, alice), "200");
}

/// Its base images cannot be pulled here. What stands for them has a `cargo` that gives the program as it is, and nothing of
/// what the Dockerfile is to put in place.
fn the_dockerfile_makes_the_same_image(machine: &Machine) {
    machine.run(
        r#"mkdir base; cd base
        bare=$(docker create registry:2); docker export $bare | docker import - bare; docker rm --volumes $bare
        printf '#!/bin/sh\nmkdir -p target/dist\nmv /program target/dist/roadstead\n' > cargo
        printf '#!/bin/sh\n' > apt-get
        chmod +x cargo apt-get
        placed='/bin/registry /usr/bin/htpasswd /entrypoint.sh /etc/docker /etc/distribution /usr/share/roadstead'
        printf '%s\n' 'FROM bare' "RUN mv /usr/local/bin/roadstead /program; rm -r $placed" \
          'COPY cargo apt-get /usr/local/bin/' > Dockerfile
        DOCKER_BUILDKIT=0 docker build --tag rust:1-bookworm --tag debian:bookworm-slim ."#,
    );
    machine.build("deploy/image/Dockerfile", "made:by-dockerfile");
    let fields = ["Entrypoint", "Cmd", "Volumes", "ExposedPorts", "User"];
    let fields = fields
        .map(|field| format!("{{{{json .Config.{field}}}}}"))
        .join(" ");
    let of = |image: &str| {
        let inspected = machine.run(&format!("docker image inspect --format '{fields}' {image}"));
        let placed = machine.run(&format!(
            "docker run --rm {image} sh -c 'cd /; \
               find entrypoint.sh etc/docker etc/distribution usr/share/roadstead -type f | sort | xargs sha256sum; \
               readlink /bin/registry /usr/bin/htpasswd; registry --version; htpasswd -nb a b | cut -c 1-8'"
        ));
        (inspected.text(), placed.text())
    };
    assert_eq!(of("made:by-dockerfile"), of("registry:2"));
}

#[test]
fn a415_the_systemd_units_are_right() {
    // Where there is no systemd there is nobody to ask.
    if !std::path::Path::new("/usr/bin/systemd-analyze").is_file() {
        return;
    }
    let dir = scratch();
    let units = [
        "roadstead.service",
        "roadstead.socket",
        "roadstead-metadata.service",
        "roadstead-registry.service",
        "roadstead-gateway.service",
    ];
    for unit in units {
        let text = deployed(&format!("samples/{unit}"));
        let text = text.replace("/usr/local/bin/roadstead", "/bin/true");
        std::fs::write(dir.path().join(unit), text).expect("a unit");
    }
    let said = Run::new("systemd-analyze")
        .dir(dir.path())
        .arg("verify")
        .args(units.map(|unit| format!("./{unit}")))
        .ok();
    assert!(!said.said().contains("roadstead"), "{}", said.said());
}
