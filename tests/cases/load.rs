//! What a transfer costs: memory that does not grow with its size, and nothing at all once its client is gone.

mod answers;
mod crowds;
mod files;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use roadstead_oci::{Algorithm, Digest, Hasher};
use roadstead_tests::{Options, Registry, image::noise, wait_until};

use crate::uploads::path_of;

const GIB: u64 = 1 << 30;
const TRANSFERS: u64 = 10;
/// What a process may take in memory at its highest.
const RESIDENT: u64 = 128 << 20;

/// A gibibyte, one MiB at a time, none like another and no two transfers the same.
struct Content {
    block: Vec<u8>,
    seed: u64,
}

impl Content {
    fn new(seed: u64) -> Self {
        Self {
            block: noise(seed, 1 << 20),
            seed,
        }
    }

    fn for_each(&mut self, mut take: impl FnMut(&[u8])) {
        for n in 0..GIB >> 20 {
            self.block[..8].copy_from_slice(&(self.seed << 32 | n).to_be_bytes());
            take(&self.block);
        }
    }

    fn digest(&mut self) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        self.for_each(|block| hasher.update(block));
        hasher.finish()
    }
}

fn request(addr: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("connected");
    stream.write_all(head.as_bytes()).expect("the head is sent");
    stream
}

/// The status line of an answer, and what came of its body.
fn answered(mut stream: TcpStream) -> (String, u64) {
    let mut buffer = vec![0; 1 << 20];
    let (mut head, mut body) = (Vec::new(), 0);
    loop {
        let read = stream.read(&mut buffer).expect("an answer");
        if read == 0 {
            break;
        }
        if body > 0 {
            body += read as u64;
            continue;
        }
        head.extend_from_slice(&buffer[..read]);
        if let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") {
            body = (head.len() - end - 4) as u64;
        }
    }
    let head = String::from_utf8_lossy(&head);
    (head.lines().next().unwrap_or_default().to_owned(), body)
}

/// The most that the process had in memory, ever.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    kib(&status, "VmHWM:")
}

fn kib(status: &str, what: &str) -> u64 {
    let found = status.lines().find_map(|line| line.strip_prefix(what));
    let number = found.expect("a figure").trim().trim_end_matches(" kB");
    number.parse::<u64>().expect("a number") << 10
}

fn in_parallel(work: impl Fn(u64) + Sync) {
    thread::scope(|scope| {
        for n in 0..TRANSFERS {
            let work = &work;
            scope.spawn(move || work(n));
        }
    });
}

#[test]
fn ten_gibibytes_pushed_and_pulled_at_once_take_little_memory() {
    let registry = Registry::roadstead(Options::default());
    let addr = registry.addr();
    let digests: Vec<Digest> = (0..TRANSFERS).map(|n| Content::new(n).digest()).collect();
    in_parallel(|n| {
        let digest = &digests[usize::try_from(n).expect("small")];
        let session = registry.repository(&format!("load/{n}")).open_upload();
        let path = path_of(&session);
        let mut stream = request(
            addr,
            &format!(
                "PUT {path}&digest={digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {GIB}\r\n\r\n"
            ),
        );
        Content::new(n).for_each(|block| stream.write_all(block).expect("the body is taken"));
        assert_eq!(answered(stream).0, "HTTP/1.1 201 Created");
    });
    let pushed = peak(registry.pid());
    assert!(pushed < RESIDENT, "pushing took {} MiB", pushed >> 20);
    in_parallel(|n| {
        let digest = &digests[usize::try_from(n).expect("small")];
        let get = format!(
            "GET /v2/load/{n}/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        let (status, length) = answered(request(addr, &get));
        assert_eq!((status.as_str(), length), ("HTTP/1.1 200 OK", GIB));
    });
    let pulled = peak(registry.pid());
    assert!(pulled < RESIDENT, "pulling took {} MiB", pulled >> 20);
}

/// The listener, the one where a collection is asked for, and the runtime's own three sockets for signals.
const AT_REST: usize = 5;

/// Sockets, and files below the storage root, that the process has open.
fn held(registry: &Registry) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", registry.pid())).expect("the process runs");
    let targets = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let is_held = |target: &std::path::Path| {
        target.starts_with(registry.root().join("docker"))
            || target.starts_with(registry.root().join("roadstead/uploads"))
            || target.to_string_lossy().starts_with("socket:")
    };
    targets.filter(|target| is_held(target)).count()
}

#[test]
fn clients_that_stall_abort_or_half_close_release_what_they_held() {
    let registry = Registry::roadstead(Options::default().yaml("limits:\n  bodyidle: 1s\n"));
    let bytes = noise(1, 30 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let repository = registry.repository("slow");
    repository.push_blob(&bytes, &digest).expect_status(201);
    drop(repository);
    // Its listener, and whatever the runtime keeps; nobody is connected any more.
    wait_until("nothing is held", Duration::from_secs(10), || {
        held(&registry) <= AT_REST
    });
    let session = registry.repository("slow").open_upload();
    let path = path_of(&session);
    let patch =
        format!("PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nsome bytes");
    let get = format!("GET /v2/slow/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut kept = Vec::new();
    for n in 0..20 {
        let upload = request(registry.addr(), &patch);
        let download = request(registry.addr(), &get);
        match n % 3 {
            0 => kept.extend([upload, download]),
            1 => drop((upload, download)),
            _ => {
                upload.shutdown(Shutdown::Write).expect("half closed");
                download.shutdown(Shutdown::Write).expect("half closed");
                kept.extend([upload, download]);
            }
        }
    }
    wait_until("all was released", Duration::from_secs(30), || {
        held(&registry) <= AT_REST
    });
    drop(kept);
    registry.repository("slow").blob(&digest).expect_status(200);
}

/// Memory that the process has now.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    kib(&status, "VmRSS:")
}

/// Over HTTP/2 a client can keep the window of a download closed and answer pings for ever.
#[test]
fn a_download_whose_window_stays_closed_releases_its_file_and_then_its_connection() {
    const STREAMS: usize = 20;
    let registry = Registry::roadstead(Options::default().yaml("limits:\n  bodyidle: 1s\n"));
    let bytes = noise(1, 3 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let repository = registry.repository("closed");
    repository.push_blob(&bytes, &digest).expect_status(201);
    let uri = format!("http://{}/v2/closed/blobs/{digest}", registry.addr());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(registry.addr()).await;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1000);
        let (mut client, connection) = builder
            .handshake::<_, bytes::Bytes>(stream.expect("connected"))
            .await
            .expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let mut answers = Vec::new();
        for _ in 0..STREAMS {
            client = client.ready().await.expect("room for a stream");
            let get = http::Request::get(&uri).body(()).expect("a request");
            let (answer, _) = client.send_request(get, true).expect("sent");
            answers.push(answer.await.expect("an answer"));
        }
        assert!(answers.iter().all(|answer| answer.status() == 200));
        let ended = tokio::time::timeout(Duration::from_secs(30), connection);
        assert!(ended.await.is_ok(), "the connection is ended");
    });
    drop(repository);
    wait_until("all was released", Duration::from_secs(30), || {
        held(&registry) <= AT_REST
    });
}

#[test]
fn connections_that_say_nothing_do_not_keep_others_out() {
    let registry = Registry::roadstead(Options::default().open_files(200));
    let bytes = noise(1, 100_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let mut silent = Vec::new();
    for n in 0..300 {
        silent.push(request(
            registry.addr(),
            if n % 2 == 0 { "" } else { "GET /v2/ HT" },
        ));
    }
    let repository = registry.repository("crowded");
    repository.push_blob(&bytes, &digest).expect_status(201);
    assert!(repository.blob(&digest).expect_status(200).body == bytes);
    drop(silent);
}

/// Each manifest names more absent blobs than could be told, one by one, in an answer of reasonable size.
#[test]
fn manifests_that_name_tens_of_thousands_of_absent_blobs_take_little_memory() {
    let registry = Registry::roadstead(Options::default());
    registry
        .repository("many")
        .push_blob(b"{}", &Digest::of(Algorithm::Sha256, b"{}"));
    let descriptor =
        |digest: &str| format!(r#"{{"mediaType":"a/b","size":2,"digest":"{digest}"}}"#);
    let layers: Vec<String> = (0..36_000)
        .map(|n| descriptor(&format!("sha256:{n:064x}")))
        .collect();
    let config = descriptor(&Digest::of(Algorithm::Sha256, b"{}").to_string());
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#,
        layers.join(",")
    );
    assert!(manifest.len() > 3 << 20, "{} bytes", manifest.len());
    let before = resident(registry.pid());
    in_parallel(|_| {
        let put = registry
            .client()
            .call("PUT", "/v2/many/manifests/tag")
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .body(manifest.as_bytes())
            .send()
            .expect_status(400);
        let errors = put.json()["errors"].as_array().map_or(0, Vec::len);
        assert_eq!(errors, 100, "as many as help");
    });
    let took = peak(registry.pid()) - before;
    assert!(took < RESIDENT, "they took {} MiB", took >> 20);
}

#[test]
fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let mut registry = Registry::roadstead(Options::default());
    let addr = registry.addr();
    let bytes = noise(1, 3_000_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let session = registry.repository("drain").open_upload();
    let path = path_of(&session);
    let head = format!(
        "PUT {path}&digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    let mut upload = request(addr, &head);
    let (first, rest) = bytes.split_at(1_000_000);
    upload.write_all(first).expect("the first part is taken");
    wait_until_uploading(&registry);
    registry.process().signal(rustix::process::Signal::TERM);
    wait_until(
        "no connection is taken any more",
        Duration::from_secs(10),
        || TcpStream::connect(addr).is_err(),
    );
    assert!(
        registry.process().ended().is_none(),
        "it waits for what is under way"
    );
    upload.write_all(rest).expect("the rest is taken");
    assert_eq!(answered(upload).0, "HTTP/1.1 201 Created");
    assert_eq!(registry.stop().code(), Some(0));
    registry.restart();
    assert!(
        registry
            .repository("drain")
            .blob(&digest)
            .expect_status(200)
            .body
            == bytes
    );
}

#[test]
fn a_drain_ends_when_its_time_is_over() {
    let mut registry =
        Registry::roadstead(Options::default().env("REGISTRY_HTTP_DRAINTIMEOUT", "500ms"));
    let session = registry.repository("drain").open_upload();
    let path = path_of(&session);
    let head = "HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n";
    let mut stalled = request(registry.addr(), &format!("PATCH {path} {head}"));
    let first = noise(2, 1_000_000);
    stalled.write_all(&first).expect("the first part is taken");
    wait_until_uploading(&registry);
    assert_eq!(registry.stop().code(), Some(0));
    assert_eq!(
        answered(stalled),
        (String::new(), 0),
        "what was under way is cut off"
    );
}

fn wait_until_uploading(registry: &Registry) {
    let uploads = registry.root().join("roadstead/uploads");
    wait_until("the upload began", Duration::from_secs(10), || {
        std::fs::read_dir(&uploads).is_ok_and(|uploads| uploads.count() == 1)
    });
}
