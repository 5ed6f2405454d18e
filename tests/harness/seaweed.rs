//! A `SeaweedFS` of the test's own: an object store that speaks S3, on free ports, gone with its value.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;
use crate::registry::target_profile;
use crate::run::Run;
use crate::wait::wait_until;

/// Who may do everything, and who may only read.
pub const ADMIN: (&str, &str) = ("admins-key", "a-secret-of-the-tests");
pub const READER: (&str, &str) = ("readers-key", "another-secret-of-the-tests");
/// The bucket that is there.
pub const BUCKET: &str = "images";

/// The servers in it, in the order of their ports.
const SERVERS: [&str; 4] = ["master", "volume", "filer", "s3"];

/// A cold start takes three seconds on an idle machine.
const START: Duration = Duration::from_mins(2);

/// A store with an empty bucket.
#[derive(Debug)]
pub struct Seaweed {
    process: Process,
    home: TempDir,
    addr: SocketAddr,
    ports: [u16; 8],
}

impl Seaweed {
    #[track_caller]
    pub fn start() -> Self {
        let home = crate::scratch();
        let data = home.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        let config = home.path().join("s3.json");
        std::fs::write(&config, identities()).expect("a configuration");
        let ports = ports::<8>();
        let process = serve(&home, &ports);
        let addr = SocketAddr::from(([127, 0, 0, 1], ports[6]));
        let mut seaweed = Self {
            process,
            home,
            addr,
            ports,
        };
        seaweed.answers();
        seaweed
    }

    #[track_caller]
    fn answers(&mut self) {
        wait_until("SeaweedFS takes objects", START, || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "SeaweedFS ended: {ended:?}");
            self.can_write()
        });
    }

    /// Starts it again, after it was killed, with what it holds.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = serve(&self.home, &self.ports);
        self.answers();
    }

    /// The first object makes the bucket.
    fn can_write(&self) -> bool {
        let file = self.home.path().join("first");
        std::fs::write(&file, "x").expect("a file");
        let put = self.signed().arg("--upload-file").arg(&file);
        let said = put.arg(self.url("elsewhere/first")).ends();
        said.status.success() && said.text() == "200"
    }

    /// As [`asking`](Self::asking); it says the status.
    fn signed(&self) -> Run {
        self.asking()
            .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
    }

    /// curl, as somebody who may do everything; it says what is answered.
    fn asking(&self) -> Run {
        let (key, secret) = ADMIN;
        Run::new("curl")
            .args(["--silent", "--disable"])
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args(["--user", &format!("{key}:{secret}")])
            .env("HOME", self.home.path())
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Of an object.
    pub fn url(&self, key: &str) -> String {
        format!("http://{}/{BUCKET}/{key}", self.addr)
    }

    /// Whether there is such an object.
    #[track_caller]
    pub fn has(&self, key: &str) -> bool {
        let head = self.signed().arg("--head").arg(self.url(key)).ok();
        head.text() == "200"
    }

    /// The keys of the objects that begin so.
    #[track_caller]
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map_or("", String::as_str).replace('/', "%2F");
            let prefix = prefix.replace('/', "%2F");
            // Sorted, and encoded as they are signed.
            let query = format!("list-type=2&prefix={prefix}&start-after={after}");
            let url = format!("http://{}/{BUCKET}?{query}", self.addr);
            let page = self.asking().arg("--fail").arg(url).ok().text();
            let found = page.split("<Key>").skip(1);
            let found = found.filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()));
            let before = keys.len();
            keys.extend(found);
            if keys.len() == before {
                return keys;
            }
        }
    }

    /// Takes an object away, and gives back the room of those that were taken away before.
    #[track_caller]
    pub fn remove(&self, key: &str) {
        let removed = self.signed().args(["--request", "DELETE"]);
        assert_eq!(removed.arg(self.url(key)).ok().text(), "204", "{key}");
        let master = format!("http://127.0.0.1:{}", self.ports[0]);
        let vacuum = Run::new("curl").args(["--silent", "--disable", "--fail"]);
        let vacuum = vacuum.args(["--output", "/dev/null"]);
        vacuum
            .arg(format!("{master}/vol/vacuum?garbageThreshold=0.5"))
            .ok();
    }

    /// Multipart uploads that nobody has ended.
    #[track_caller]
    pub fn multiparts(&self) -> usize {
        let url = format!("http://{}/{BUCKET}?uploads=", self.addr);
        let said = self.asking().arg("--fail").arg(url).ok().text();
        said.matches("<UploadId>").count()
    }

    /// Begins one, and leaves it.
    #[track_caller]
    pub fn abandon_multipart(&self, key: &str) {
        let url = format!("{}?uploads=", self.url(key));
        let began = self.asking().args(["--fail", "--request", "POST"]);
        began.arg(url).ok();
    }

    /// A registry's `storage`, in this part of the bucket. Both registries read it.
    pub fn storage(&self, root: &str) -> String {
        storage(&self.addr.to_string(), root)
    }

    /// SIGKILL.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// What it makes in a place of its own choice, and leaves there.
fn sockets(ports: &[u16; 8]) -> Vec<PathBuf> {
    let of = |(name, port): (&&str, &[u16])| {
        [
            format!("/tmp/seaweedfs-{name}-{}.sock", port[0]).into(),
            format!("/tmp/seaweedfs-{name}-grpc-{}.sock", port[1]).into(),
        ]
    };
    SERVERS.iter().zip(ports.chunks(2)).flat_map(of).collect()
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        self.process.kill();
        for socket in sockets(&self.ports) {
            // It does not make all of them.
            let _absent = std::fs::remove_file(socket);
        }
    }
}

fn serve(home: &TempDir, ports: &[u16; 8]) -> Process {
    let mut command = Command::new(program());
    command
        .args([
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
        ])
        .args(["-master.volumeSizeLimitMB=128", "-volume.max=400"])
        .args([
            "-volume.preStopSeconds=0",
            "-s3.autoCreateBucket",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ])
        .arg(format!("-dir={}", home.path().join("data").display()))
        .arg(format!(
            "-s3.config={}",
            home.path().join("s3.json").display()
        ))
        // It logs there, too.
        .env("TMPDIR", home.path());
    for (name, port) in SERVERS.iter().zip(ports.chunks(2)) {
        command.arg(format!("-{name}.port={}", port[0]));
        command.arg(format!("-{name}.port.grpc={}", port[1]));
    }
    Process::start(command, &home.path().join("log"))
}

/// A registry's `storage` in the bucket at this address, with deletion on and redirects off.
pub fn storage(addr: &str, root: &str) -> String {
    let (key, secret) = ADMIN;
    format!(
        "  s3:
    accesskey: {key}
    secretkey: {secret}
    region: us-east-1
    regionendpoint: http://{addr}
    bucket: {BUCKET}
    rootdirectory: /{root}
  delete:
    enabled: true
  redirect:
    disable: true
"
    )
}

fn identities() -> String {
    let identity = |(key, secret): (&str, &str), actions: &str| {
        let keys = format!(r#"{{"accessKey":"{key}","secretKey":"{secret}"}}"#);
        format!(r#"{{"name":"{key}","credentials":[{keys}],"actions":[{actions}]}}"#)
    };
    let admin = identity(ADMIN, r#""Admin","Read","Write","List","Tagging""#);
    let reader = identity(READER, r#""Read","List""#);
    format!(r#"{{"identities":[{admin},{reader}]}}"#)
}

/// Free ones; held together, so that they differ.
fn ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    held.map(|listener| listener.local_addr().expect("its address").port())
}

/// What `tests/setup` put beside the build.
fn program() -> PathBuf {
    let profile = target_profile();
    let target = profile.parent().expect("the target directory");
    let program = target.join("test-tools/venv/bin/weed");
    assert!(
        program.is_file(),
        "SeaweedFS is not installed ({} is missing): run tests/setup",
        program.display()
    );
    program
}
