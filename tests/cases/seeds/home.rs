//! A registry at home: tried on a laptop, then composed with a directory, then with users.

use roadstead_tests::Machine;

use super::{answers, pushed_and_pulled_back, status};

const COMPOSED: &str = r#"version: '3'

services:
    registry:
        restart: always
        image: registry:2
        ports:
          - "5000:5000"
        # environment:
        volumes:
          - ./data:/var/lib/registry
        networks:
          - registry

networks:
    registry:
"#;

const WITH_USERS: &str = "version: '3'

services:
    registry:
        container_name: registry
        restart: always
        image: registry:latest
        ports:
          - 5000:5000
        environment:
          REGISTRY_AUTH_HTPASSWD_REALM: basic-realm
          REGISTRY_AUTH_HTPASSWD_PATH: /var/lib/htpass.txt
        volumes:
          - ./data:/var/lib/registry
          - ./htpass.txt:/var/lib/htpass.txt
        networks:
          - registry

networks:
    registry:
";

/// The directory of the composed ones.
const HERE: &str = "cd /home/docker/registry";

#[test]
fn a_registry_at_home() {
    let machine = Machine::with_registry(&["registry:latest", "registry:2"]);
    machine.add_image("my-image");
    machine.add_names(&["nuc.local", "myregistry.local"]);
    a001_it_runs_without_arguments(&machine);
    a025_it_says_who_it_is(&machine);
    a002_a003_a004_images_go_there_and_back(&machine);
    a006_a008_stopped_and_removed_it_is_gone(&machine);
    a010_it_is_composed(&machine);
    a012_containers_reach_it_by_name(&machine);
    a011_it_is_back_after_a_reboot(&machine);
    a008_images_outlive_the_container(&machine);
    a013_a_line_for_a_user_is_made(&machine);
    a015_a016_a018_users_are_asked_for(&machine);
    a014_every_kind_of_bcrypt_is_accepted(&machine);
    a017_a_misspelt_variable_is_explained(&machine);
    a019_without_tls_the_client_refuses_to_log_in(&machine);
    a026_a027_certificates_are_renewed(&machine);
}

fn a001_it_runs_without_arguments(machine: &Machine) {
    machine.run("docker run -d -p 5000:5000 --name registry registry:latest");
    answers(machine, "http://localhost:5000/v2/");
    assert_eq!(
        machine.run("curl -s http://localhost:5000/v2/").text(),
        "{}"
    );
}

fn a025_it_says_who_it_is(machine: &Machine) {
    let said = machine.run("docker logs registry 2>&1").text();
    let listening = said.lines().find(|line| line.contains("listening on"));
    let listening = listening.unwrap_or_else(|| panic!("{said}"));
    for field in [" instance.id=", " service=registry", " version="] {
        assert!(listening.contains(field), "{field}: {listening}");
    }
}

fn a002_a003_a004_images_go_there_and_back(machine: &Machine) {
    machine.run("docker image tag my-image localhost:5000/my-image");
    pushed_and_pulled_back(machine, "localhost:5000/my-image");
    let again = machine.run("docker pull localhost:5000/my-image").text();
    assert!(again.contains("Using default tag: latest"), "{again}");
    machine.run("docker image tag my-image localhost:5000/testing/test-image");
    pushed_and_pulled_back(machine, "localhost:5000/testing/test-image");
    let all = machine
        .run("curl -s http://localhost:5000/v2/_catalog")
        .json();
    let both = serde_json::json!({"repositories": ["my-image", "testing/test-image"]});
    assert_eq!(all, both);
}

fn a006_a008_stopped_and_removed_it_is_gone(machine: &Machine) {
    let volumes = "docker volume ls --quiet | wc -l";
    assert_eq!(machine.run(volumes).text(), "1", "the image names a volume");
    let ended = machine.run(
        "docker container stop registry >&2
         docker container inspect --format '{{.State.ExitCode}}' registry",
    );
    assert_eq!(ended.text(), "0", "it drained, and was not killed");
    let said = machine.run("docker container stop registry && docker container rm -v registry");
    assert_eq!(said.text(), "registry\nregistry");
    let refused = machine.fails("docker pull localhost:5000/my-image").said();
    assert!(refused.contains("connection refused"), "{refused}");
    assert_eq!(
        machine.run(volumes).text(),
        "0",
        "rm -v took the images along"
    );
}

fn a010_it_is_composed(machine: &Machine) {
    machine.write("/home/docker/registry/docker-compose.yml", COMPOSED);
    machine.run(&format!(
        "{HERE}; docker-compose build; docker-compose up -d"
    ));
    answers(machine, "http://localhost:5000/v2/");
    pushed_and_pulled_back(machine, "localhost:5000/my-image");
    machine.run(&format!(
        "{HERE}; test -d data/docker/registry/v2/repositories/my-image"
    ));
}

fn a012_containers_reach_it_by_name(machine: &Machine) {
    let beside = "docker run --rm --network registry_registry my-image wget -S -O -";
    let base = machine.run(&format!("{beside} http://registry:5000/v2/"));
    assert_eq!(base.text(), "{}");
    let opened = machine.run(&format!(
        "{beside} --post-data '' http://registry:5000/v2/a/blobs/uploads/ 2>&1"
    ));
    let location = "Location: http://registry:5000/v2/a/blobs/uploads/";
    assert!(opened.text().contains(location), "{}", opened.text());
}

fn a011_it_is_back_after_a_reboot(machine: &Machine) {
    machine.run("restart-docker");
    answers(machine, "http://localhost:5000/v2/");
    machine.run("docker image rm localhost:5000/my-image; docker pull localhost:5000/my-image");
}

fn a008_images_outlive_the_container(machine: &Machine) {
    machine.run(&format!(
        "{HERE}; docker-compose down; docker-compose up -d"
    ));
    answers(machine, "http://localhost:5000/v2/");
    machine.run("docker image rm localhost:5000/my-image; docker pull localhost:5000/my-image");
    machine.run(&format!("{HERE}; docker-compose down"));
}

fn a013_a_line_for_a_user_is_made(machine: &Machine) {
    let line = "docker run --rm --entrypoint htpasswd registry:latest -Bbn testuser testpassword";
    let said = machine.run(line).text();
    assert!(said.starts_with("testuser:$2y$05$"), "{said}");
    machine.run(&format!("{HERE}; {line} >htpass.txt"));
    let apaches = format!("{HERE}; htpasswd -vb htpass.txt testuser testpassword");
    machine.run(&apaches);
    machine.fails(&format!("{HERE}; htpasswd -vb htpass.txt testuser other"));
}

fn a015_a016_a018_users_are_asked_for(machine: &Machine) {
    machine.write("/home/docker/registry/docker-compose.yml", WITH_USERS);
    machine.run(&format!("{HERE}; docker-compose up -d"));
    answers(machine, "http://localhost:5000/v2/");
    let head = machine.run("curl -si http://localhost:5000/v2/").text();
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let challenge = r#"www-authenticate: basic realm="basic-realm""#;
    assert!(head.to_lowercase().contains(challenge), "{head}");
    let user = "-u testuser:testpassword http://localhost:5000/v2/_catalog";
    assert_eq!(status(machine, user), "200");
    let listed = machine.run(&format!("curl -s {user}")).json();
    let one = serde_json::json!({"repositories": ["my-image"]});
    assert_eq!(listed, one, "the images of before, and no file of users");
    // The same as a file, in place of variables.
    machine.write(
        "/home/docker/auth.yml",
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\nhttp: {addr: ':5000'}\n\
         auth:\n  htpasswd:\n    realm: basic-realm\n    path: /htpass.txt\n",
    );
    machine.run(&format!(
        "{HERE}; docker run -d --name file -p 5001:5000 -v /home/docker/auth.yml:/etc/docker/registry/config.yml \
         -v \"$PWD/htpass.txt:/htpass.txt\" registry:2"
    ));
    answers(machine, "http://localhost:5001/v2/");
    assert_eq!(status(machine, "http://localhost:5001/v2/"), "401");
    let user = "-u testuser:testpassword http://localhost:5001/v2/";
    assert_eq!(status(machine, user), "200");
    machine.run("docker rm --force --volumes file");
}

fn a014_every_kind_of_bcrypt_is_accepted(machine: &Machine) {
    for kind in ["2a", "2b", "2y"] {
        // In place: the container has this file mounted, and not its directory.
        machine.run(&format!(
            "{HERE}; line=$(docker run --rm --entrypoint htpasswd registry:2 -Bbn u{kind} secret)
             echo \"$line\" | sed 's/\\$2y\\$/${kind}$/' > htpass.txt"
        ));
        machine.until(
            "the new file counted",
            &format!("curl -sf -u u{kind}:secret http://localhost:5000/v2/"),
        );
    }
}

fn a017_a_misspelt_variable_is_explained(machine: &Machine) {
    let said = machine
        .fails(
            "docker run --rm -e REGISTRY_AUTH_HTPASSWORD_REALM=basic-realm \
             -e REGISTRY_AUTH_HTPASSWORD_PATH=/var/lib/htpass.txt registry:latest",
        )
        .said();
    assert!(said.contains("configuration error"), "{said}");
    assert!(
        said.contains("did you mean REGISTRY_AUTH_HTPASSWD_REALM?"),
        "{said}"
    );
}

fn a019_without_tls_the_client_refuses_to_log_in(machine: &Machine) {
    let login = "docker --context default login --username testuser --password testpassword http://nuc.local:5000";
    let said = machine.fails(login).said();
    assert!(
        said.contains("server gave HTTP response to HTTPS client"),
        "{said}"
    );
}

/// As certbot leaves them: links that lead to the newest of numbered files.
fn a026_a027_certificates_are_renewed(machine: &Machine) {
    let issue = |number: u8| {
        machine.run(&format!(
            "mkdir -p /etc/letsencrypt/live/hub /etc/letsencrypt/archive/hub; cd /etc/letsencrypt/archive/hub
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=number{number} \
               -addext subjectAltName=DNS:nuc.local -keyout privkey{number}.pem -out fullchain{number}.pem
             for file in privkey fullchain; do
               ln -sfn ../../archive/hub/${{file}}{number}.pem ../../live/hub/$file.pem
             done"
        ));
    };
    let shown = "openssl s_client -connect nuc.local:5443 </dev/null 2>/dev/null | openssl x509 -noout -subject";
    issue(1);
    machine.run(
        "docker run -d --name tls -p 5443:5000 -v /etc/letsencrypt:/etc/letsencrypt \
           -e REGISTRY_HTTP_TLS_CERTIFICATE=/etc/letsencrypt/live/hub/fullchain.pem \
           -e REGISTRY_HTTP_TLS_KEY=/etc/letsencrypt/live/hub/privkey.pem registry:2",
    );
    machine.until(
        "the first certificate was shown",
        &format!("{shown} | grep number1"),
    );
    issue(2);
    machine.until(
        "the second certificate was shown",
        &format!("{shown} | grep number2"),
    );
    let restarts = "docker inspect --format '{{.RestartCount}} {{.State.Running}}' tls";
    assert_eq!(machine.run(restarts).text(), "0 true");
    machine.run("docker rm --force --volumes tls");
}
