//! A `SeaweedFS` of the test's own: started on free ports, gone with its value.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use roadstead_s3::{Credentials, Options, S3};
use roadstead_storage::{Driver as _, Put};
use tempfile::TempDir;

const BUCKET: &str = "images";
/// Who may do everything.
pub(crate) const ADMIN: (&str, &str) = ("admins-key", "a-secret-of-the-tests");
/// Who may only read.
pub(crate) const READER: (&str, &str) = ("readers-key", "another-secret-of-the-tests");
/// A cold start takes three seconds on an idle machine.
const START: Duration = Duration::from_mins(2);

pub(crate) struct Seaweed {
    child: Child,
    directory: TempDir,
    endpoint: String,
}

impl Seaweed {
    /// A server with an empty bucket.
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().expect("a directory");
        let [
            master,
            master_grpc,
            volume,
            volume_grpc,
            filer,
            filer_grpc,
            s3,
            s3_grpc,
        ] = ports();
        let config = directory.path().join("s3.json");
        std::fs::write(&config, identities()).expect("the configuration is written");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let child = Command::new(program())
            .args([
                "server",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-filer",
                "-s3",
            ])
            .args(["-master.volumeSizeLimitMB=128", "-volume.max=50"])
            .args([
                "-volume.preStopSeconds=0",
                "-s3.autoCreateBucket",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
            ])
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", config.display()))
            .arg(format!("-master.port={master}"))
            .arg(format!("-master.port.grpc={master_grpc}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-volume.port.grpc={volume_grpc}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-filer.port.grpc={filer_grpc}"))
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-s3.port.grpc={s3_grpc}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("SeaweedFS starts");
        let mut seaweed = Self {
            child,
            directory,
            endpoint: format!("http://127.0.0.1:{s3}"),
        };
        let ready = tokio::time::timeout(START, seaweed.ready()).await;
        assert!(
            ready.is_ok(),
            "SeaweedFS takes no objects within {START:?}:\n{}",
            seaweed.log()
        );
        seaweed
    }

    /// Waits until an object can be written; the first makes the bucket.
    async fn ready(&mut self) {
        let driver = self.driver("").await;
        loop {
            let ended = self.child.try_wait().expect("its state");
            assert!(
                ended.is_none(),
                "SeaweedFS ended: {ended:?}\n{}",
                self.log()
            );
            let first = Put {
                path: "/ready".parse().expect("a path"),
                content: "x".into(),
            };
            if driver.put(vec![first]).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Options for a part of the bucket.
    pub(crate) fn options(&self, root: &str) -> Options {
        Options {
            endpoint: Some(self.endpoint.clone()),
            force_path_style: true,
            root: root.to_owned(),
            credentials: Some(credentials(ADMIN)),
            ..Options::new(BUCKET)
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) async fn driver(&self, root: &str) -> S3 {
        S3::connect(&self.options(root)).await.expect("a driver")
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log"));
        let log = log.unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

pub(crate) fn credentials((access, secret): (&str, &str)) -> Credentials {
    Credentials {
        access_key: access.to_owned(),
        secret_key: secret.to_owned(),
        session_token: None,
    }
}

fn identities() -> String {
    let identity = |(access, secret): (&str, &str), actions: &str| {
        let keys = format!(r#"{{"accessKey":"{access}","secretKey":"{secret}"}}"#);
        format!(r#"{{"name":"{access}","credentials":[{keys}],"actions":[{actions}]}}"#)
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
    let test = std::env::current_exe().expect("this program");
    let target = test.ancestors().find(|at| at.join("test-tools").is_dir());
    let program = target.map(|target| target.join("test-tools/venv/bin/weed"));
    let program = program.filter(|program| program.is_file());
    program.expect("SeaweedFS is installed beside the build: run tests/setup")
}
