//! What a transfer costs: memory that does not grow with its size, and nothing at all once its client is gone.

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
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    peak.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .expect("a number")
        << 10
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

/// One listener, and the runtime's own three sockets for signals.
const AT_REST: usize = 4;

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
    let stalled = request(
        registry.addr(),
        &format!("PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"),
    );
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
