//! Renewed certificates.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use roadstead_listen::{Tls, TlsOptions};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::subscriber::DefaultGuard;

use crate::ca::{Ca, Pair};
use crate::server::{Files, SOON, Server};

const EVERY: Duration = Duration::from_secs(5);

/// What is logged while it lives, on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn count(&self, part: &str) -> usize {
        self.text().matches(part).count()
    }
}

/// The first second of a year.
fn year(year: u64) -> SystemTime {
    let leap_days = (year - 1969) / 4;
    SystemTime::UNIX_EPOCH + Duration::from_hours(((year - 1970) * 365 + leap_days) * 24)
}

/// A watcher that ends with the test, a little after it began. The clock is paused: it goes on when nothing else is left
/// to do, so looks take no time.
async fn watched(tls: &Tls) -> JoinSet<()> {
    let watcher = tls.clone();
    let mut watching = JoinSet::new();
    watching.spawn(async move {
        let _never = watcher.watch(EVERY).await;
    });
    sleep(EVERY / 2).await;
    watching
}

/// The time of so many looks, from between two of them to between two of them.
async fn looks(many: u32) {
    sleep(EVERY * many).await;
}

#[tokio::test(start_paused = true)]
async fn c10_a_changed_pair_is_served_once_it_has_settled() {
    let ca = Ca::new("root");
    let files = Files::new(&ca.server(2040));
    let tls = files.load().unwrap();
    let _watching = watched(&tls).await;
    assert_eq!(tls.not_after(), Some(year(2040)));
    looks(3).await;
    assert_eq!(tls.not_after(), Some(year(2040)));
    ca.server(2041).write(&files.certificate(), &files.key());
    looks(1).await;
    assert_eq!(tls.not_after(), Some(year(2040)), "seen once");
    looks(1).await;
    assert_eq!(tls.not_after(), Some(year(2041)), "seen twice");
}

#[tokio::test(start_paused = true)]
async fn a_broken_pair_keeps_the_old_one_and_is_logged_once_per_change() {
    let ca = Ca::new("root");
    let files = Files::new(&ca.server(2040));
    let tls = files.load().unwrap();
    let _watching = watched(&tls).await;
    let (log, _guard) = Log::start();
    let kept = "the certificate was not reloaded";
    let renewed = ca.server(2041);
    files.put("tls.crt", &renewed.chain);
    looks(10).await;
    assert_eq!(log.count(kept), 1, "{}", log.text());
    assert_eq!(log.count("does not belong to the first certificate"), 1);
    files.put("tls.key", "half a k");
    looks(10).await;
    assert_eq!(log.count(kept), 2, "{}", log.text());
    std::fs::remove_file(files.key()).unwrap();
    looks(10).await;
    assert_eq!(log.count(kept), 3, "{}", log.text());
    assert_eq!(log.count("No such file"), 1, "{}", log.text());
    assert_eq!(tls.not_after(), Some(year(2040)));
    files.put("tls.key", &renewed.key);
    looks(2).await;
    assert_eq!(tls.not_after(), Some(year(2041)));
    assert_eq!(log.count(kept), 3, "{}", log.text());
    assert!(!log.text().contains("PRIVATE"), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a027_renewal_by_certbots_symlinks_is_followed() {
    let ca = Ca::new("root");
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir_all(at("archive/example.com")).unwrap();
    std::fs::create_dir_all(at("live/example.com")).unwrap();
    let issue = |number: u32, until: i32| {
        let file = |name: &str| at(&format!("archive/example.com/{name}{number}.pem"));
        ca.server(until).write(&file("fullchain"), &file("privkey"));
    };
    let point = |name: &str, number: u32| {
        let link = at(&format!("live/example.com/{name}.pem"));
        let _first_time = std::fs::remove_file(&link);
        let target = format!("../../archive/example.com/{name}{number}.pem");
        symlink(Path::new(&target), &link).unwrap();
    };
    issue(1, 2040);
    point("fullchain", 1);
    point("privkey", 1);
    symlink(at("live/example.com/fullchain.pem"), at("mounted.crt")).unwrap();
    let tls = Tls::load(TlsOptions {
        certificate: at("mounted.crt"),
        key: at("live/example.com/privkey.pem"),
        ..TlsOptions::default()
    })
    .unwrap();
    let _watching = watched(&tls).await;
    let (log, _guard) = Log::start();
    issue(2, 2041);
    looks(2).await;
    assert_eq!(
        tls.not_after(),
        Some(year(2040)),
        "the links still point to the first"
    );
    // One link, and the other looks later.
    point("privkey", 2);
    looks(3).await;
    assert_eq!(tls.not_after(), Some(year(2040)));
    point("fullchain", 2);
    looks(2).await;
    assert_eq!(tls.not_after(), Some(year(2041)));
    assert_eq!(log.count("was not reloaded"), 1, "{}", log.text());
}

#[tokio::test]
async fn a_hangup_reloads_at_once_or_says_why_not() {
    let ca = Ca::new("root");
    let files = Files::new(&ca.server(2040));
    let tls = files.load().unwrap();
    let renewed = ca.server(2041);
    files.put("tls.crt", &renewed.chain);
    let error = tls.reload_now().await.unwrap_err();
    assert!(error.to_string().contains("does not belong"), "{error}");
    assert_eq!(tls.not_after(), Some(year(2040)));
    files.put("tls.key", &renewed.key);
    tls.reload_now().await.unwrap();
    assert_eq!(tls.not_after(), Some(year(2041)));
}

#[test]
fn the_end_of_a_certificate_is_announced() {
    let (log, _guard) = Log::start();
    let ca = Ca::new("root");
    let tls = Files::new(&ca.server(2001)).load().unwrap();
    assert_eq!(tls.not_after(), Some(year(2001)));
    assert_eq!(log.count("WARN"), 1, "{}", log.text());
    assert_eq!(log.count("the certificate has expired"), 1);
    assert_eq!(log.count("2001-01-01T00:00:00Z"), 1, "{}", log.text());
    Files::new(&ca.server(2999)).load().unwrap();
    assert_eq!(log.count("WARN"), 1, "{}", log.text());
}

/// A client that trusts the authority.
struct Client {
    connector: TlsConnector,
    server: Server,
}

impl Client {
    fn new(ca: &Ca, server: Server) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(ca.root().as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            connector: TlsConnector::from(Arc::new(config)),
            server,
        }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = timeout(SOON, self.connector.connect(name, stream));
        connecting.await.expect("an answer").expect("a handshake")
    }
}

async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"nobody") {
        let read = timeout(SOON, stream.read_buf(&mut answer)).await;
        assert_ne!(read.expect("an answer").unwrap(), 0, "closed");
    }
}

fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// A hundred connections live through fifty renewals, written file by file under a watcher that never rests, while others
/// come and go: each sees one of the pairs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c10_reloading_drops_no_connection_and_fails_no_handshake() {
    let ca = Ca::new("root");
    let pairs = [ca.server(2040), ca.server(2041)];
    let leaves = pairs.each_ref().map(|pair: &Pair| {
        CertificateDer::from_pem_slice(pair.chain.as_bytes())
            .unwrap()
            .to_vec()
    });
    let files = Files::new(&pairs[0]);
    let tls = files.load().unwrap();
    let watcher = tls.clone();
    let watching = tokio::spawn(async move { watcher.watch(Duration::from_millis(1)).await });
    let client = Client::new(&ca, Server::start(tls).await);
    let mut connections = Vec::new();
    for _each in 0..100 {
        let mut connection = client.connect().await;
        ask(&mut connection).await;
        connections.push(connection);
    }
    for swap in 1..=50 {
        pairs[swap % 2].write(&files.certificate(), &files.key());
        let renewed = async {
            loop {
                let mut passing = client.connect().await;
                ask(&mut passing).await;
                let leaf = shown(&passing);
                assert!(leaves.contains(&leaf));
                if leaf == leaves[swap % 2] {
                    break;
                }
            }
        };
        timeout(SOON, renewed)
            .await
            .expect("the renewed certificate is served");
        for connection in &mut connections {
            ask(connection).await;
        }
    }
    assert!(!watching.is_finished());
    watching.abort();
}
