//! A registry behind nginx, which has the users and, later, the certificate.

use roadstead_tests::Machine;

use super::{answers, pushed_and_pulled_back, status};

const COMPOSED: &str = r#"registry:
  image: registry:2
  ports:
    - 127.0.0.1:5000:5000
  environment:
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: /data
  volumes:
    - ./data:/data
nginx:
  image: "nginx:1.9"
  ports:
    - 5043:443
  links:
    - registry:registry
  volumes:
    - ./nginx/:/etc/nginx/conf.d:ro
"#;

const NGINX: &str = r#"upstream docker-registry {
  server registry:5000;
}

server {
  listen 443;
  server_name myregistrydomain.com;

  # ssl on;
  # ssl_certificate /etc/nginx/conf.d/domain.crt;
  # ssl_certificate_key /etc/nginx/conf.d/domain.key;

  client_max_body_size 0;

  chunked_transfer_encoding on;

  location /v2/ {
    if ($http_user_agent ~ "^(docker\/1\.(3|4|5(?!\.[0-9]-dev))|Go ).*$" ) {
      return 404;
    }

    # auth_basic "registry.localhost";
    # auth_basic_user_file /etc/nginx/conf.d/registry.password;
    # add_header 'Docker-Distribution-Api-Version' 'registry/2.0' always;

    proxy_pass                          http://docker-registry;
    proxy_set_header  Host              $http_host;
    proxy_set_header  X-Real-IP         $remote_addr;
    proxy_set_header  X-Forwarded-For   $proxy_add_x_forwarded_for;
    proxy_set_header  X-Forwarded-Proto $scheme;
    proxy_read_timeout                  900;
  }
}
"#;

const HERE: &str = "cd ~/docker-registry";

#[test]
fn a_registry_behind_nginx() {
    let machine = Machine::with_registry(&["registry:2"]);
    machine.add_nginx(&["nginx:1.9"]);
    machine.add_image("elasticsearch");
    machine.add_names(&["datacapture"]);
    a401_a402_a403_it_is_composed(&machine);
    a404_a408_a409_requests_pass(&machine);
    a405_old_clients_are_turned_away(&machine);
    a212_a406_a410_requests_are_logged(&machine);
    a122_a411_a412_a413_the_proxy_asks_for_users(&machine);
    a414_the_proxy_speaks_tls(&machine);
    a416_images_go_through_the_proxy(&machine);
    a417_the_directory_is_moved(&machine);
}

fn a401_a402_a403_it_is_composed(machine: &Machine) {
    machine.run("mkdir ~/docker-registry && cd $_; mkdir data; mkdir ~/docker-registry/nginx");
    machine.write("/root/docker-registry/docker-compose.yml", COMPOSED);
    machine.write("/root/docker-registry/nginx/registry.conf", NGINX);
    machine.run(&format!("{HERE}; docker-compose up -d"));
    answers(machine, "http://localhost:5043/v2/");
    machine.run("docker exec docker-registry_registry_1 test -d /data");
}

fn a404_a408_a409_requests_pass(machine: &Machine) {
    machine.until(
        "the registry answered behind nginx",
        "curl -sf http://localhost:5043/v2/",
    );
    assert_eq!(
        machine.run("curl -s http://localhost:5043/v2/").text(),
        "{}"
    );
    let ten = machine
        .run("curl -s --http1.0 -i http://localhost:5000/v2/")
        .text();
    assert!(!ten.to_lowercase().contains("transfer-encoding"), "{ten}");
    assert!(ten.ends_with("{}"), "{ten}");
    let sent = machine.run(
        "head -c 5000000 /dev/urandom > body; digest=sha256:$(sha256sum body | cut -d' ' -f1)
         url=http://localhost:5043/v2/chunked/blobs
         location=$(curl -si -X POST $url/uploads/ | sed -n 's/\r//; s/^location: //Ip')
         location=$(curl -si -T body -X PATCH -H 'Transfer-Encoding: chunked' $location | sed -n 's/\r//; s/^location: //Ip')
         curl -sf -X PUT \"$location&digest=$digest\"
         curl -sf $url/$digest | cmp - body; echo same",
    );
    assert_eq!(sent.text(), "same");
}

fn a405_old_clients_are_turned_away(machine: &Machine) {
    for agent in ["docker/1.4.1 go/go1.3.3", "Go 1.1 package http"] {
        let asked = format!("--user-agent '{agent}' http://localhost:5043/v2/");
        assert_eq!(status(machine, &asked), "404", "{agent}");
    }
}

/// As the client came to nginx, and not as nginx came to the registry.
fn a212_a406_a410_requests_are_logged(machine: &Machine) {
    let gateway = machine.run(
        "curl -s -A tutorial http://localhost:5043/v2/ >&2
         docker inspect --format '{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}' docker-registry_nginx_1",
    );
    let log = machine
        .run("docker logs docker-registry_registry_1 2>&1")
        .text();
    let mut lines = log.lines().filter(|line| line.contains("tutorial"));
    let completed = lines.find(|line| line.contains("msg=\"response completed\""));
    let completed = completed.unwrap_or_else(|| panic!("{log}"));
    let client = gateway.text();
    assert!(completed.starts_with("time=\""), "{completed}");
    for field in [
        " level=info ",
        " http.request.host=\"localhost:5043\" ",
        " http.request.id=",
        " http.request.method=GET ",
        " http.request.uri=",
        " http.request.useragent=tutorial ",
        " http.response.contenttype=",
        " http.response.duration=",
        " http.response.status=200 ",
        " http.response.written=2 ",
        &format!(" http.request.remoteaddr={client}"),
    ] {
        assert!(completed.contains(field), "{field}: {completed}");
    }
    let combined = "\"GET /v2/ HTTP/1.0\" 200 2 \"\" \"tutorial\"";
    assert!(log.lines().any(|line| line.ends_with(combined)), "{log}");
}

fn a122_a411_a412_a413_the_proxy_asks_for_users(machine: &Machine) {
    // Asked for at a prompt in the tutorial; Apache's own kind of hash, which nginx knows.
    machine.run(
        "cd ~/docker-registry/nginx; printf 'PASSWORD' | htpasswd -i -c registry.password USERNAME
         sed -i 's/# auth_basic/auth_basic/; s/# add_header/add_header/' registry.conf
         cd ..; docker-compose restart nginx",
    );
    machine.until(
        "nginx asked for users",
        "curl -s -o /dev/null -w '%{http_code}' http://localhost:5043/v2/ | grep 401",
    );
    let head = machine.run("curl -si http://localhost:5043/v2/").text();
    let header = "docker-distribution-api-version: registry/2.0";
    assert!(head.to_lowercase().contains(header), "{head}");
    let passed = machine.run("curl http://USERNAME:PASSWORD@localhost:5043/v2/");
    assert_eq!(passed.text(), "{}");
}

/// The questions of `openssl req` are answered by `-subj`. (Today's clients want the name as an alternative one, too.)
fn a414_the_proxy_speaks_tls(machine: &Machine) {
    machine.run(
        "cd ~/docker-registry/nginx
         openssl genrsa -out devdockerCA.key 2048
         openssl req -x509 -new -nodes -key devdockerCA.key -days 10000 -out devdockerCA.crt -subj /CN=authority
         openssl genrsa -out domain.key 2048
         openssl req -new -key domain.key -out dev-docker-registry.com.csr -subj /CN=datacapture \
           -addext subjectAltName=DNS:datacapture
         openssl x509 -req -in dev-docker-registry.com.csr -CA devdockerCA.crt -CAkey devdockerCA.key \
           -CAcreateserial -out domain.crt -days 10000 -copy_extensions copy
         sed -i 's/# ssl/ssl/' registry.conf
         sudo mkdir /usr/local/share/ca-certificates/docker-dev-cert
         sudo cp devdockerCA.crt /usr/local/share/ca-certificates/docker-dev-cert
         sudo update-ca-certificates
         cd ..; docker-compose stop
         sudo service docker restart",
    );
    machine.run(&format!("{HERE}; docker-compose up -d"));
    machine.until(
        "the certificate was trusted",
        "curl -sf https://USERNAME:PASSWORD@datacapture:5043/v2/",
    );
}

fn a416_images_go_through_the_proxy(machine: &Machine) {
    let said = machine
        .run("echo PASSWORD | docker login -u USERNAME --password-stdin datacapture:5043")
        .text();
    assert!(said.contains("Login Succeeded"), "{said}");
    machine.run("docker tag elasticsearch datacapture:5043/elasticsearch");
    pushed_and_pulled_back(machine, "datacapture:5043/elasticsearch");
    let opened = machine
        .run("curl -si -X POST https://USERNAME:PASSWORD@datacapture:5043/v2/a/blobs/uploads/");
    let location = "location: https://datacapture:5043/v2/a/blobs/uploads/";
    assert!(
        opened.text().to_lowercase().contains(location),
        "{}",
        opened.text()
    );
    let log = machine.run("docker logs docker-registry_nginx_1").text();
    assert!(
        log.contains("PATCH /v2/elasticsearch/blobs/uploads/"),
        "{log}"
    );
}

fn a417_the_directory_is_moved(machine: &Machine) {
    machine.run(
        "cd ~/docker-registry
         docker-compose stop; docker-compose rm --force
         sudo mv ~/docker-registry /docker-registry
         sudo chown -R root: /docker-registry
         cd /docker-registry; docker-compose up -d",
    );
    machine.until(
        "it answered again",
        "curl -sf https://USERNAME:PASSWORD@datacapture:5043/v2/",
    );
    machine.run(
        "docker image rm datacapture:5043/elasticsearch; docker pull datacapture:5043/elasticsearch",
    );
}
