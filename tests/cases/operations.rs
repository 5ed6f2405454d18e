//! What operators see and do: logs, metrics, health, read-only mode, and what others are told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{
    Answer, Client, Image, Options, Registry, Repository, scratch, wait_for, wait_until,
};
use serde_json::Value;

use crate::uploads::path_of;

const SOON: Duration = Duration::from_secs(20);

/// A registry with a debug address, and a client of that.
pub(crate) fn observed(yaml: &str) -> (Registry, Client) {
    let mut registry = Registry::roadstead(
        Options::default()
            .env("REGISTRY_HTTP_DEBUG_ADDR", "127.0.0.1:0")
            .env("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true")
            .yaml(yaml),
    );
    let listens = "its debug address listened";
    let addr = registry.process().wait_for_log(listens, SOON, |log| {
        let (_, rest) = log.split_once("debug server listening ")?;
        rest.split('"').next()?.parse::<SocketAddr>().ok()
    });
    (registry, Client::new(&format!("http://{addr}")))
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// The fields of a line in the reference's text format, as far as they are looked at: `key=value`, quoted or not.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(' ').next(),
    }
}

#[test]
fn a212_a_request_is_logged_with_its_fields_and_its_id_is_told() {
    let registry = Registry::roadstead(Options::default());
    let repository = registry.repository("logged");
    let call = registry
        .client()
        .call("GET", "/v2/logged/manifests/absent?_state=hidden");
    let answer = call.header("user-agent", "tester/1 \"quoted\"").send();
    let id = answer.header("x-request-id").expect("an id").to_owned();
    let line = wait_for("the request is logged", SOON, || {
        let log = registry.log();
        let line = log
            .lines()
            .find(|line| line.contains(&id) && line.contains("response completed"));
        line.map(str::to_owned)
    });
    assert_eq!(field(&line, "http.request.method"), Some("GET"));
    assert_eq!(field(&line, "http.response.status"), Some("404"));
    assert_eq!(field(&line, "vars.name"), Some("logged"));
    assert_eq!(field(&line, "vars.reference"), Some("absent"));
    assert_eq!(field(&line, "err.code"), Some("manifest unknown"));
    assert!(field(&line, "instance.id").is_some() && field(&line, "go.version").is_some());
    assert!(!registry.log().contains("hidden"), "no state is logged");
    drop(repository);
}

#[test]
fn a410_the_access_log_is_on_standard_output_in_the_combined_format() {
    let registry =
        Registry::roadstead(Options::default().env("REGISTRY_LOG_ACCESSLOG_DISABLED", "false"));
    registry.client().get("/v2/").expect_status(200);
    let line = wait_for("the request is in the access log", SOON, || {
        let log = registry.log();
        log.lines()
            .find(|line| line.contains("\"GET /v2/ HTTP/1.1\" 200 2 "))
            .map(str::to_owned)
    });
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
}

#[test]
fn logs_are_json_where_that_is_asked_for() {
    let registry = Registry::roadstead(Options::default().env("REGISTRY_LOG_FORMATTER", "json"));
    registry.client().get("/v2/").expect_status(200);
    let line = wait_for("the request is logged", SOON, || {
        let log = registry.log();
        log.lines()
            .find(|line| line.contains("response completed"))
            .map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["msg"], "response completed");
    assert_eq!(line["http.response.status"], 200);
    assert_eq!(line["level"], "info");
}

#[test]
fn metrics_have_the_references_names() {
    let (registry, debug) = observed("");
    let repository = registry.repository("counted");
    repository.push_blob(b"x", &digest(b"x")).expect_status(201);
    repository.blob(&digest(b"x")).expect_status(200);
    registry.client().get("/v2/_catalog").expect_status(200);
    let text = wait_for("the requests are counted", SOON, || {
        let text = debug.get("/metrics").expect_status(200).text();
        let counted =
            "registry_http_requests_total{code=\"200\",handler=\"catalog\",method=\"get\"} 1";
        text.contains(counted).then_some(text)
    });
    for line in [
        "registry_http_requests_total{code=\"200\",handler=\"blob\",method=\"get\"} 1",
        "registry_http_in_flight_requests{handler=\"blob\"} 0",
        "registry_storage_action_seconds_count{action=\"PutContent\",driver=\"filesystem\"}",
        "roadstead_build_info{version=",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    debug.get("/nowhere").expect_status(404);
    let session = repository.open_upload();
    registry
        .client()
        .call("PATCH", path_of(&session))
        .body(*b"some")
        .send()
        .expect_status(202);
    wait_until("the upload is counted", SOON, || {
        debug
            .get("/metrics")
            .text()
            .contains("roadstead_upload_sessions 1\n")
    });
}

#[test]
fn a117_c7_a_failing_check_is_told_and_refuses_nothing_unless_asked_to() {
    let out = scratch();
    let file = out.path().join("out");
    let yaml = |probes: &str| {
        format!(
            "health:\n  file:\n    - file: {}\n      interval: 100ms\n{probes}",
            file.display()
        )
    };
    let (registry, debug) = observed(&yaml(""));
    let (strict, _debug) = observed(&yaml("probes: {root: health, requests: health}\n"));
    let status = |registry: &Registry, path: &str| registry.client().get(path).status;
    for path in ["/", "/livez", "/readyz", "/v2/"] {
        assert_eq!(
            (status(&registry, path), status(&strict, path)),
            (200, 200),
            "{path}"
        );
    }
    std::fs::write(&file, "").expect("written");
    wait_until("the check fails", SOON, || {
        status(&registry, "/readyz") == 503 && status(&strict, "/readyz") == 503
    });
    debug.get("/debug/health").expect_status(503);
    for (path, lenient, refusing) in [("/", 200, 503), ("/livez", 200, 200), ("/v2/", 200, 503)] {
        assert_eq!(
            (status(&registry, path), status(&strict, path)),
            (lenient, refusing),
            "{path}"
        );
    }
    std::fs::remove_file(&file).expect("removed");
    wait_until("it passes again", SOON, || {
        status(&registry, "/readyz") == 200 && status(&strict, "/readyz") == 200
    });
    assert_eq!(status(&strict, "/v2/"), 200);
    debug.post("/debug/health/down").expect_status(200);
    assert_eq!(status(&registry, "/readyz"), 503);
    debug.post("/debug/health/up").expect_status(200);
    assert_eq!(status(&registry, "/readyz"), 200);
}

#[test]
fn c43_a_registry_is_made_read_only_while_it_runs() {
    let (registry, debug) = observed("");
    let repository = registry.repository("frozen");
    let image = Image::new(51).build();
    repository.push("v1", &image);
    debug.post("/debug/readonly/on").expect_status(200);
    let refused = registry.client().post(&repository.path("blobs/uploads/"));
    assert_eq!(
        refused.expect_status(405).json()["errors"][0]["code"],
        "UNSUPPORTED"
    );
    repository.delete_manifest("v1").expect_status(405);
    repository.assert_serves("v1", &image);
    debug.post("/debug/readonly/off").expect_status(200);
    repository.push_blob(b"x", &digest(b"x")).expect_status(201);
}

/// Takes notifications, and answers with a status that can be changed.
struct Receiver {
    addr: SocketAddr,
    status: Arc<Mutex<u16>>,
    events: mpsc::Receiver<Value>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its number");
        let status = Arc::new(Mutex::new(200));
        let (send, events) = mpsc::channel();
        let answers = Arc::clone(&status);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, send) = (Arc::clone(&answers), send.clone());
                std::thread::spawn(move || take(&stream, &answers, &send));
            }
        });
        Self {
            addr,
            status,
            events,
        }
    }

    fn answer_with(&self, status: u16) {
        *self.status.lock().expect("a lock") = status;
    }

    /// The next event, its envelope checked.
    fn next(&self) -> Value {
        let envelope = self.events.recv_timeout(SOON).expect("an event");
        let events = envelope["events"].as_array().expect("a list");
        assert_eq!(events.len(), 1);
        events[0].clone()
    }
}

/// Requests of one connection, one after the other.
fn take(stream: &TcpStream, status: &Mutex<u16>, send: &mpsc::Sender<Value>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let status = *status.lock().expect("a lock");
        if status == 200 {
            let _test_over = send.send(serde_json::from_slice(&body).expect("JSON"));
        }
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        let mut stream = stream;
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn told_by(receiver: &Receiver, root: &std::path::Path) -> Registry {
    let yaml = format!(
        "notifications:\n  endpoints:\n    - name: test\n      url: http://{}/events\n      backoff: 100ms\n",
        receiver.addr
    );
    Registry::roadstead(Options::default().root(root).yaml(&yaml))
}

fn expect(event: &Value, action: &str, key: &str, value: &str) {
    assert_eq!(
        (&event["action"], &event["target"][key]),
        (&action.into(), &value.into()),
        "{event:#}"
    );
}

#[test]
fn c40_what_happens_is_told_in_order_and_survives_a_kill() {
    let (receiver, root) = (Receiver::start(), scratch());
    let mut registry = told_by(&receiver, root.path());
    let repository: Repository = registry.repository("told/of");
    let index = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let blob = digest(b"x");
    repository.push_blob(b"x", &blob).expect_status(201);
    expect(&receiver.next(), "push", "digest", &blob.to_string());
    repository.blob(&blob).expect_status(200);
    let pulled = receiver.next();
    expect(&pulled, "pull", "repository", "told/of");
    assert_eq!(pulled["target"]["size"], 1);
    assert!(pulled["request"]["id"].is_string() && pulled["source"]["instanceID"].is_string());
    let put = |repository: &Repository, tag: &str| -> Answer {
        let call = repository
            .client()
            .call("PUT", &repository.path(&format!("manifests/{tag}")));
        let call = call.header("content-type", "application/vnd.oci.image.index.v1+json");
        call.body(index).send()
    };
    put(&repository, "v1").expect_status(201);
    let pushed = receiver.next();
    expect(&pushed, "push", "tag", "v1");
    let url = format!("{}/v2/told/of/manifests/{}", registry.url(), digest(index));
    expect(&pushed, "push", "url", &url);
    let mount = format!("/v2/other/blobs/uploads/?mount={blob}&from=told/of");
    registry.client().post(&mount).expect_status(201);
    expect(&receiver.next(), "mount", "fromRepository", "told/of");
    // Nobody takes what happens now, and the registry is killed.
    receiver.answer_with(500);
    repository.delete_manifest("v1").expect_status(202);
    put(&repository, "v2").expect_status(201);
    repository.delete_blob(&blob).expect_status(202);
    registry.kill();
    receiver.answer_with(200);
    registry.restart();
    expect(&receiver.next(), "delete", "tag", "v1");
    expect(&receiver.next(), "push", "tag", "v2");
    expect(&receiver.next(), "delete", "digest", &blob.to_string());
}
