//! A registry deployed by the book: on localhost, on a volume, on a domain with TLS, with users, composed; and what a load
//! balancer before it relies on.

use roadstead_tests::Machine;

use super::{answers, pushed_and_pulled_back, status};

/// Its volumes are `/path`'s directories.
const COMPOSED: &str = "registry:
  restart: always
  image: registry:2
  ports:
    - 5000:5000
  environment:
    REGISTRY_HTTP_TLS_CERTIFICATE: /certs/domain.crt
    REGISTRY_HTTP_TLS_KEY: /certs/domain.key
    REGISTRY_AUTH: htpasswd
    REGISTRY_AUTH_HTPASSWD_PATH: /auth/htpasswd
    REGISTRY_AUTH_HTPASSWD_REALM: Registry Realm
  volumes:
    - /path/data:/var/lib/registry
    - /path/certs:/certs
    - /path/auth:/auth
";

const STOPPED: &str = "docker stop registry && docker rm -v registry";

#[test]
fn a_registry_by_the_book() {
    let machine = Machine::with_registry(&["registry:2", "roadstead:latest"]);
    machine.add_image("ubuntu");
    machine.add_names(&["myregistrydomain.com"]);
    machine.run("mkdir -p /path");
    a001_a005_on_localhost(&machine);
    a101_another_storage_is_chosen(&machine);
    a008_a_directory_is_given(&machine);
    a111_a112_answers_say_what_proxies_need(&machine);
    a103_a_chain_is_bundled(&machine);
    a102_a105_on_a_domain_with_tls(&machine);
    a118_users_are_restricted(&machine);
    a114_a115_a116_a117_health_for_balancers(&machine);
    a119_users_log_in(&machine);
    a123_it_is_composed(&machine);
}

fn a001_a005_on_localhost(machine: &Machine) {
    machine.run("docker run -d -p 5000:5000 --restart=always --name registry registry:2");
    answers(machine, "http://localhost:5000/v2/");
    machine.run("docker tag ubuntu localhost:5000/ubuntu");
    pushed_and_pulled_back(machine, "localhost:5000/ubuntu");
    machine.run(STOPPED);
}

fn a101_another_storage_is_chosen(machine: &Machine) {
    machine
        .run("docker run -d -p 5000:5000 --name registry -e REGISTRY_STORAGE=inmemory registry:2");
    answers(machine, "http://localhost:5000/v2/");
    pushed_and_pulled_back(machine, "localhost:5000/ubuntu");
    machine.run("docker exec registry sh -c 'test ! -e /var/lib/registry/docker'");
    machine.run(STOPPED);
}

fn a008_a_directory_is_given(machine: &Machine) {
    let run = "cd /path; docker run -d -p 5000:5000 --restart=always --name registry \\
          -v `pwd`/data:/var/lib/registry \\
          registry:2";
    machine.run(run);
    answers(machine, "http://localhost:5000/v2/");
    pushed_and_pulled_back(machine, "localhost:5000/ubuntu");
    machine.run(STOPPED);
    machine.run(run);
    answers(machine, "http://localhost:5000/v2/");
    machine.run("docker image rm localhost:5000/ubuntu; docker pull localhost:5000/ubuntu");
}

fn a111_a112_answers_say_what_proxies_need(machine: &Machine) {
    for (method, path) in [
        ("GET", "/v2/"),
        ("GET", "/v2/none/tags/list"),
        ("PUT", "/v2/"),
        ("GET", "/v2/_none"),
    ] {
        let url = format!("http://localhost:5000{path}");
        let head = machine.run(&format!("curl -si -X {method} {url}")).text();
        let header = "docker-distribution-api-version: registry/2.0";
        assert!(
            head.to_lowercase().contains(header),
            "{method} {path}: {head}"
        );
    }
    let opened = machine.run(
        "curl -si -X POST -H 'Host: hub.example' -H 'X-Forwarded-Proto: https' -H 'X-Forwarded-For: 203.0.113.9' \
         http://localhost:5000/v2/a/blobs/uploads/",
    );
    let location = "location: https://hub.example/v2/a/blobs/uploads/";
    assert!(
        opened.text().to_lowercase().contains(location),
        "{}",
        opened.text()
    );
    let log = machine.run("docker logs registry 2>&1").text();
    assert!(log.contains("203.0.113.9"), "{log}");
    machine.run(STOPPED);
}

/// An authority, one below it, and a certificate of that one's, as an issuer hands them out.
fn a103_a_chain_is_bundled(machine: &Machine) {
    machine.run(
        "mkdir -p /path/certs /root/issuer; cd /root/issuer
         openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=root -keyout root.key -out root.crt
         openssl req -newkey rsa:2048 -nodes -subj /CN=intermediate -keyout middle.key -out middle.csr
         echo basicConstraints=critical,CA:TRUE > middle.ext
         openssl x509 -req -days 30 -in middle.csr -CA root.crt -CAkey root.key -CAcreateserial -extfile middle.ext \
           -out intermediate-certificates.pem
         openssl req -newkey rsa:2048 -nodes -subj /CN=leaf -keyout domain.key -out domain.csr
         echo subjectAltName=DNS:myregistrydomain.com > domain.ext
         openssl x509 -req -days 30 -in domain.csr -CA intermediate-certificates.pem -CAkey middle.key \
           -CAcreateserial -extfile domain.ext -out domain.crt
         cat domain.crt intermediate-certificates.pem > /path/certs/domain.crt
         cp domain.key /path/certs/domain.key",
    );
}

fn a102_a105_on_a_domain_with_tls(machine: &Machine) {
    machine.run(
        "cd /path; docker run -d -p 5000:5000 --restart=always --name registry \\
          -v `pwd`/certs:/certs \\
          -e REGISTRY_HTTP_TLS_CERTIFICATE=/certs/domain.crt \\
          -e REGISTRY_HTTP_TLS_KEY=/certs/domain.key \\
          registry:2",
    );
    let url = "https://myregistrydomain.com:5000/v2/";
    answers(machine, url);
    let shown = machine.run(
        "openssl s_client -connect myregistrydomain.com:5000 -CAfile /root/issuer/root.crt -showcerts </dev/null 2>&1",
    );
    let shown = shown.text();
    assert!(shown.contains("Verification: OK"), "{shown}");
    let (leaf, middle) = (shown.find("s:CN = leaf"), shown.find("s:CN = intermediate"));
    assert!(
        leaf.is_some() && leaf < middle,
        "the leaf comes first: {shown}"
    );
    machine.run("docker tag ubuntu myregistrydomain.com:5000/ubuntu");
    let refused = machine
        .fails("docker push myregistrydomain.com:5000/ubuntu")
        .said();
    assert!(
        refused.contains("x509: certificate signed by unknown authority"),
        "{refused}"
    );
    machine.run(
        "mkdir -p /etc/docker/certs.d/myregistrydomain.com:5000
         cp /root/issuer/root.crt /etc/docker/certs.d/myregistrydomain.com:5000/ca.crt",
    );
    pushed_and_pulled_back(machine, "myregistrydomain.com:5000/ubuntu");
    machine.run(STOPPED);
}

fn a118_users_are_restricted(machine: &Machine) {
    machine.run(
        "cd /path; mkdir auth
         docker run --entrypoint htpasswd registry:2 -Bbn testuser testpassword > auth/htpasswd",
    );
    machine.run(
        r#"cd /path; docker run -d -p 5000:5000 --restart=always --name registry \
          -v `pwd`/auth:/auth \
          -e "REGISTRY_AUTH=htpasswd" \
          -e "REGISTRY_AUTH_HTPASSWD_REALM=Registry Realm" \
          -e REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd \
          -v `pwd`/certs:/certs \
          -e REGISTRY_HTTP_TLS_CERTIFICATE=/certs/domain.crt \
          -e REGISTRY_HTTP_TLS_KEY=/certs/domain.key \
          registry:2"#,
    );
    answers(machine, "https://myregistrydomain.com:5000/v2/");
}

fn a114_a115_a116_a117_health_for_balancers(machine: &Machine) {
    let curl = "curl -si --cacert /root/issuer/root.crt https://myregistrydomain.com:5000";
    let head = machine.run(&format!("{curl}/v2/")).text();
    assert!(head.contains(" 401 "), "{head}");
    let head = head.to_lowercase();
    assert!(
        head.contains(r#"www-authenticate: basic realm="registry realm""#),
        "{head}"
    );
    assert!(
        head.contains("docker-distribution-api-version: registry/2.0"),
        "{head}"
    );
    let root = machine.run(&format!("{curl}/")).text();
    assert!(root.contains(" 200 "), "{root}");
}

fn a119_users_log_in(machine: &Machine) {
    machine.run("docker tag ubuntu myregistrydomain.com:5000/ubuntu");
    let refused = machine
        .fails("docker push myregistrydomain.com:5000/ubuntu")
        .said();
    assert!(refused.contains("no basic auth credentials"), "{refused}");
    let wrong = "echo wrong | docker login -u testuser --password-stdin myregistrydomain.com:5000";
    let refused = machine.fails(wrong).said();
    assert!(refused.contains("401 Unauthorized"), "{refused}");
    let login =
        "echo testpassword | docker login -u testuser --password-stdin myregistrydomain.com:5000";
    machine.run(login);
    pushed_and_pulled_back(machine, "myregistrydomain.com:5000/ubuntu");
    let url =
        "--cacert /root/issuer/root.crt https://myregistrydomain.com:5000/v2/ubuntu/tags/list";
    assert_eq!(
        status(machine, &format!("-u testuser:testpassword {url}")),
        "200"
    );
    assert_eq!(status(machine, url), "401");
    machine.run(STOPPED);
}

fn a123_it_is_composed(machine: &Machine) {
    machine.write("/root/composed/docker-compose.yml", COMPOSED);
    machine.run("cd composed; docker-compose up -d");
    answers(machine, "https://myregistrydomain.com:5000/v2/");
    pushed_and_pulled_back(machine, "myregistrydomain.com:5000/ubuntu");
    machine.run("test -d /path/data/docker/registry/v2/repositories/ubuntu");
    // The same in the form that Compose reads since its second generation, as it is shipped.
    machine.run("cd composed; docker-compose down");
    machine.write(
        "/root/again/docker-compose.yml",
        super::image::composed("tls-and-users.yml"),
    );
    machine.run("cd again; ln -s /path/data data; ln -s /path/certs certs; ln -s /path/auth auth; docker-compose up -d");
    answers(machine, "https://myregistrydomain.com:5000/v2/");
    machine.run("docker image rm myregistrydomain.com:5000/ubuntu; docker pull myregistrydomain.com:5000/ubuntu");
}
