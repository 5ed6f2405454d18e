//! A registry in a local network: a certificate that signs itself, users, deletion, trusted by docker and by containerd.

use roadstead_tests::Machine;

use super::{answers, pushed_and_pulled_back};

const COMPOSED: &str = r#"services:
  private-registry:
    restart: always
    image: registry:latest
    ports:
      - "5000:5000"
    environment:
      REGISTRY_HTTP_TLS_CERTIFICATE: /certs/private-registry.crt
      REGISTRY_HTTP_TLS_KEY: /private/private-registry.key
      REGISTRY_HTTP_ADDR: 0.0.0.0:5000
      REGISTRY_AUTH: htpasswd
      REGISTRY_AUTH_HTPASSWD_PATH: /auth/passwd
      REGISTRY_AUTH_HTPASSWD_REALM: Registry Realm
      REGISTRY_STORAGE_DELETE_ENABLED: "yes"
    volumes:
      - /etc/docker-registry/certs:/certs
      - /etc/docker-registry/private:/private
      - /etc/docker-registry/auth:/auth
"#;

const LOGIN: &str = "sudo docker login -u user_1 -p password_1 registry-server:5000";

#[test]
fn a_registry_in_a_local_network() {
    let machine = Machine::with_registry(&["registry:latest", "registry:2.8.3"]);
    machine.add_image("hello-world");
    machine.add_names(&["registry-server"]);
    a301_a_certificate_signs_itself(&machine);
    a302_apaches_file_of_users(&machine);
    a303_a304_it_is_composed(&machine);
    a306_docker_trusts_the_certificate(&machine);
    a020_a309_images_are_pushed_by_a_user(&machine);
    a305_yes_lets_images_be_deleted(&machine);
    a306_a308_containerd_pulls_with_a_secret(&machine);
    a307_an_insecure_registry_is_trusted(&machine);
}

fn a301_a_certificate_signs_itself(machine: &Machine) {
    machine.run(
        r#"sudo mkdir -p /etc/docker-registry/ /etc/docker-registry/certs /etc/docker-registry/private

        sudo openssl req -newkey rsa:4096 -days 3650 -nodes -sha256 \
        -keyout /etc/docker-registry/private/private-registry.key \
        -x509 -out /etc/docker-registry/certs/private-registry.crt \
        -subj "/CN=unused" -addext "subjectAltName=DNS:registry-server""#,
    );
}

fn a302_apaches_file_of_users(machine: &Machine) {
    machine.run(
        "sudo mkdir -p /etc/docker-registry/auth
         sudo htpasswd -cBb /etc/docker-registry/auth/passwd user_1 password_1",
    );
}

fn a303_a304_it_is_composed(machine: &Machine) {
    machine.write("/root/private/docker-compose.yaml", COMPOSED);
    machine.run("cd private; sudo docker compose up -d");
    answers(machine, "https://registry-server:5000/v2/");
}

fn a306_docker_trusts_the_certificate(machine: &Machine) {
    let refused = machine.fails(LOGIN).said();
    assert!(refused.contains("certificate"), "{refused}");
    machine.run(
        "cd /etc/docker-registry/certs
         sudo mkdir -p /etc/docker/certs.d/registry-server:5000
         sudo cp -rf private-registry.crt /etc/docker/certs.d/registry-server:5000/ca.crt",
    );
    let said = machine.run(LOGIN).text();
    assert!(said.contains("Login Succeeded"), "{said}");
    machine.fails("docker login -u user_1 -p password_2 registry-server:5000");
}

fn a020_a309_images_are_pushed_by_a_user(machine: &Machine) {
    let said = machine
        .run("echo password_1 | docker login -u user_1 --password-stdin registry-server:5000")
        .text();
    assert!(said.contains("Login Succeeded"), "{said}");
    machine.run("sudo docker image tag hello-world registry-server:5000/hello-world2:latest");
    pushed_and_pulled_back(machine, "registry-server:5000/hello-world2:latest");
    machine.run("docker logout registry-server:5000");
    let refused = machine
        .fails("docker pull registry-server:5000/hello-world2:latest")
        .said();
    assert!(refused.contains("no basic auth credentials"), "{refused}");
    machine.run(LOGIN);
}

fn a305_yes_lets_images_be_deleted(machine: &Machine) {
    let curl = "curl -sS --fail -u user_1:password_1 --cacert /etc/docker-registry/certs/private-registry.crt";
    let url = "https://registry-server:5000/v2/deleted/manifests";
    machine.run(
        "docker image tag hello-world registry-server:5000/deleted
         docker push registry-server:5000/deleted",
    );
    machine.run(&format!(
        "digest=$({curl} -I -H 'Accept: */*' {url}/latest | sed -n 's/\r//; s/^docker-content-digest: //Ip')
         {curl} -X DELETE {url}/$digest"
    ));
    machine.fails(&format!("{curl} -I {url}/latest"));
}

fn a306_a308_containerd_pulls_with_a_secret(machine: &Machine) {
    let show = "openssl s_client -connect registry-server:5000 -showcerts </dev/null 2>&1";
    let before = machine.run(&format!("{show} || true")).text();
    assert!(before.contains("Verification error"), "{before}");
    machine.run(
        "cd /etc/docker-registry/certs
         sudo cp -rf private-registry.crt /usr/local/share/ca-certificates/ca.crt
         sudo update-ca-certificates
         sudo systemctl daemon-reload
         sudo systemctl restart containerd",
    );
    let shown = machine.run(show).text();
    for line in [
        "subject=CN = unused",
        "Peer signature type: RSA-PSS",
        "Server Temp Key: X25519",
        "Verification: OK",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let ctr =
        "ctr --address /run/docker/containerd/containerd.sock --namespace kubernetes images pull";
    let image = "registry-server:5000/hello-world2:latest";
    machine.fails(&format!("{ctr} {image}"));
    machine.run(&format!("{ctr} --user user_1:password_1 {image}"));
}

fn a307_an_insecure_registry_is_trusted(machine: &Machine) {
    machine.run(
        "rm -r /etc/docker/certs.d /usr/local/share/ca-certificates/ca.crt
         update-ca-certificates --fresh",
    );
    machine.write(
        "/etc/docker/daemon.json",
        r#"{"insecure-registries": ["registry-server:5000"]}"#,
    );
    machine.run("sudo systemctl restart docker");
    answers(machine, "https://registry-server:5000/v2/");
    // There is no volume: what was pushed is in the container, which is the same one.
    machine.run(&format!(
        "{LOGIN}; docker pull registry-server:5000/hello-world2:latest"
    ));
}
