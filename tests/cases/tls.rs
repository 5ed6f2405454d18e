//! TLS: the certificate, its renewal under load, client certificates, and sockets other than TCP.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use roadstead_tests::image::layout;
use roadstead_tests::proxy::certificate;
use roadstead_tests::tools::{Curled, curl, skopeo};
use roadstead_tests::{Image, Options, Registry, Run, scratch, wait_until};

/// A registry that serves the certificate in `dir`.
fn with_certificate(dir: &Path) -> Options {
    Options::default()
        .env(
            "REGISTRY_HTTP_TLS_CERTIFICATE",
            &dir.join("certificate.pem").display().to_string(),
        )
        .env(
            "REGISTRY_HTTP_TLS_KEY",
            &dir.join("key.pem").display().to_string(),
        )
}

fn trusting(dir: &Path, args: &[&str]) -> Curled {
    let trusted = dir.join("certificate.pem").display().to_string();
    curl(&[&["--cacert", &trusted], args].concat())
}

fn base(registry: &Registry) -> String {
    format!("https://{}/v2/", registry.addr())
}

#[test]
fn a026_images_are_pushed_and_pulled_over_tls_with_either_version_of_http() {
    let dir = scratch();
    certificate(dir.path());
    let registry = Registry::roadstead(with_certificate(dir.path()));
    assert!(registry.log().contains(", tls"), "{}", registry.log());
    for (flag, version) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        let got = trusting(dir.path(), &[flag, &base(&registry)]);
        assert!(
            got.status_lines[0].starts_with(version),
            "{:?}",
            got.status_lines
        );
        let opened = trusting(
            dir.path(),
            &[
                flag,
                "-X",
                "POST",
                "-d",
                "",
                &format!("{}a/blobs/uploads/", base(&registry)),
            ],
        );
        let location = opened
            .answer
            .header("location")
            .expect("a location")
            .to_owned();
        assert!(location.starts_with(&base(&registry)), "{location}");
    }
    let image = Image::new(31).layers(3).build();
    let (from, to) = (scratch(), scratch());
    layout::write(from.path(), "v1", &image);
    let [source, target] = [&from, &to].map(|dir| format!("oci:{}:v1", dir.path().display()));
    let name = format!("docker://{}/tls/image:v1", registry.addr());
    let copy = ["copy", "--all", "--preserve-digests"];
    skopeo(&[&copy[..], &["--dest-tls-verify=false", &source, &name]].concat());
    skopeo(&[&copy[..], &["--src-tls-verify=false", &name, &target]].concat());
    layout::assert_holds(to.path(), &image);
}

#[test]
fn plain_http_on_the_port_of_tls_is_told_so() {
    let dir = scratch();
    certificate(dir.path());
    let registry = Registry::roadstead(with_certificate(dir.path()));
    let told = curl(&[&format!("http://{}/v2/", registry.addr())]).answer;
    let text = told.expect_status(400).text();
    assert!(text.contains("HTTP request to an HTTPS server"), "{text}");
}

/// Said once in full: whoever reads the log learns what to do.
#[test]
fn a120_a_client_that_does_not_trust_the_certificate_is_explained() {
    let dir = scratch();
    certificate(dir.path());
    let mut registry = Registry::roadstead(with_certificate(dir.path()));
    for _ in 0..2 {
        Run::new("curl")
            .args(["--silent", "--max-time", "30", &base(&registry)])
            .fails();
    }
    let deadline = Duration::from_secs(30);
    registry
        .process()
        .wait_for_log("the log says what to do", deadline, |log| {
            log.contains("/etc/docker/certs.d/").then_some(())
        });
    assert_eq!(registry.stop().code(), Some(0));
    let log = registry.log();
    assert_eq!(log.matches("does not trust").count(), 1, "{log}");
}

/// A027: as certbot does it, by a symlink that moves. A connection that is there goes on.
#[test]
fn a027_a_renewed_certificate_is_served_without_a_restart() {
    let (dir, live) = (scratch(), scratch());
    for version in ["1", "2"] {
        let archive = dir.path().join(version);
        std::fs::create_dir(&archive).expect("a directory");
        certificate(&archive);
    }
    let point_to = |version: &str| {
        for file in ["certificate.pem", "key.pem"] {
            let link = live.path().join("new");
            let target = dir.path().join(version).join(file);
            std::os::unix::fs::symlink(target, &link).expect("a link");
            std::fs::rename(link, live.path().join(file)).expect("renamed");
        }
    };
    point_to("1");
    let registry = Registry::roadstead(with_certificate(live.path()));
    let mut kept = Kept::connect(registry.addr());
    let mut ask = || kept.ask();
    assert_eq!(ask(), "HTTP/1.1 200");
    point_to("2");
    let served = |version: &str| {
        let trusted = dir.path().join(version).join("certificate.pem");
        Run::new("curl")
            .args([
                "--silent",
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code}",
            ])
            .arg("--cacert")
            .arg(trusted)
            .arg(base(&registry))
            .arg("--fail-with-body")
            .arg("--retry")
            .arg("0")
            .output()
            .text()
    };
    wait_until(
        "the new certificate is served",
        Duration::from_secs(40),
        || served("2") == "200",
    );
    assert_ne!(served("1"), "200");
    assert_eq!(ask(), "HTTP/1.1 200", "the connection goes on");
    // A pair that does not belong together changes nothing.
    std::fs::write(dir.path().join("2/key.pem"), "no key").expect("written");
    wait_until("why is logged", Duration::from_secs(40), || {
        registry.log().contains("key.pem")
    });
    assert_eq!(served("2"), "200");
}

/// A connection that stays.
pub(crate) struct Kept {
    client: Child,
    say: ChildStdin,
    hear: ChildStdout,
}

impl Kept {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &addr.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let say = client.stdin.take().expect("a pipe");
        let hear = client.stdout.take().expect("a pipe");
        Self { client, say, hear }
    }

    /// The first words of the answer to a request.
    pub(crate) fn ask(&mut self) -> String {
        self.say
            .write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            .expect("sent");
        let mut answer = [0; 12];
        self.hear.read_exact(&mut answer).expect("an answer");
        let mut rest = vec![0; 4096];
        let _rest = self.hear.read(&mut rest).expect("the rest");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.client.kill().expect("ended");
        self.client.wait().expect("reaped");
    }
}

/// An authority, and a certificate `client.pem` with its key that it signed.
fn client_certificate(dir: &Path) {
    let openssl = |args: &str| {
        Run::new("openssl").dir(dir).args(args.split(' ')).ok();
    };
    openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=authority -keyout ca.key -out ca.pem",
    );
    openssl("req -newkey rsa:2048 -nodes -subj /CN=someone -keyout client.key -out client.csr");
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").expect("written");
    openssl(
        "x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile client.ext -out client.pem",
    );
}

#[test]
fn clients_without_a_certificate_that_is_wanted_do_not_come_in() {
    let (dir, clients) = (scratch(), scratch());
    certificate(dir.path());
    client_certificate(clients.path());
    let [authority, shown, key] = ["ca.pem", "client.pem", "client.key"]
        .map(|file| clients.path().join(file).display().to_string());
    let registry = Registry::roadstead(
        with_certificate(dir.path()).env("REGISTRY_HTTP_TLS_CLIENTCAS", &format!("[{authority}]")),
    );
    let trusted = dir.path().join("certificate.pem").display().to_string();
    let url = base(&registry);
    let refused = Run::new("curl").args(["--silent", "--cacert", &trusted, &url]);
    assert!(!refused.output().status.success());
    let come_in = ["--cert", &shown, "--key", &key, &url];
    trusting(dir.path(), &come_in).answer.expect_status(200);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_with_its_setting() {
    let dir = scratch();
    certificate(dir.path());
    std::fs::write(dir.path().join("key.pem"), "no key").expect("written");
    let key = dir.path().join("key.pem");
    let refused = roadstead_tests::registry::command()
        .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
        .env(
            "REGISTRY_HTTP_TLS_CERTIFICATE",
            dir.path().join("certificate.pem"),
        )
        .env("REGISTRY_HTTP_TLS_KEY", &key)
        .dir(dir.path())
        .fails();
    let said = refused.said();
    assert!(
        said.contains("http.tls") && said.contains("key.pem"),
        "{said}"
    );
}

#[test]
fn a_unix_socket_is_served() {
    let dir = scratch();
    let socket = dir.path().join("registry.sock");
    let mut command = Command::new(roadstead_tests::registry::program());
    command
        .env_clear()
        .env("REGISTRY_HTTP_NET", "unix")
        .env("REGISTRY_HTTP_ADDR", &socket)
        .current_dir(dir.path());
    let _process = roadstead_tests::process::Process::start(command, &dir.path().join("log"));
    wait_until("the socket is there", Duration::from_secs(20), || {
        socket.try_exists().expect("a directory")
    });
    let path = socket.display().to_string();
    let got = curl(&["--unix-socket", &path, "http://registry.local/v2/"]).answer;
    assert_eq!(got.expect_status(200).body, b"{}");
}
