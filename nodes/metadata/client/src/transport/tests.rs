//! Who gets in: those with the same secret, or with a certificate of the same authority. Nobody else hears a word.

use std::net::SocketAddr;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use roadstead_proto::metadata::v1 as wire;
use roadstead_proto::metadata::v1::peer_client::PeerClient;
use roadstead_proto::metadata::v1::peer_server::{Peer, PeerServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;

const SECRET: &[u8] = b"sixteen bytes or more";
const DEADLINE: Duration = Duration::from_mins(1);

struct Known;

#[async_trait::async_trait]
impl Peer for Known {
    async fn identify(
        &self,
        _request: Request<wire::IdentifyRequest>,
    ) -> Result<Response<wire::IdentifyResponse>, Status> {
        Ok(Response::new(wire::IdentifyResponse {
            id: 7,
            ..wire::IdentifyResponse::default()
        }))
    }
    async fn append(
        &self,
        _request: Request<wire::RaftRequest>,
    ) -> Result<Response<wire::RaftResponse>, Status> {
        Err(Status::unimplemented("no"))
    }
    async fn vote(
        &self,
        _request: Request<wire::RaftRequest>,
    ) -> Result<Response<wire::RaftResponse>, Status> {
        Err(Status::unimplemented("no"))
    }
    async fn snapshot(
        &self,
        _request: Request<Streaming<wire::SnapshotPiece>>,
    ) -> Result<Response<wire::RaftResponse>, Status> {
        Err(Status::unimplemented("no"))
    }
    async fn stand(
        &self,
        _request: Request<wire::StandRequest>,
    ) -> Result<Response<wire::StandResponse>, Status> {
        Err(Status::unimplemented("no"))
    }
}

async fn serving(identity: &Identity) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let incoming = incoming(listener, identity);
    let service = tonic::transport::Server::builder().add_service(PeerServer::new(Known));
    tokio::spawn(service.serve_with_incoming(incoming));
    addr
}

async fn ask(addr: String, identity: &Identity) -> Result<u64, Status> {
    let mut client = PeerClient::new(channel(&addr, identity).unwrap());
    let asked = tokio::time::timeout(DEADLINE, client.identify(wire::IdentifyRequest {}));
    Ok(asked
        .await
        .expect("an answer of some kind")?
        .into_inner()
        .id)
}

#[tokio::test]
async fn the_same_secret_is_let_in_and_another_is_not() {
    let addr = serving(&Identity::from_secret(SECRET).unwrap()).await;
    let same = Identity::from_secret(SECRET).unwrap();
    assert_eq!(ask(addr.to_string(), &same).await.unwrap(), 7);
    let other = Identity::from_secret(b"another one, as long").unwrap();
    assert!(ask(addr.to_string(), &other).await.is_err());
}

/// A server that holds another key learns nothing from a client either: it is not spoken to.
#[tokio::test]
async fn a_server_with_another_secret_is_not_believed() {
    let addr = serving(&Identity::from_secret(b"another one, as long").unwrap()).await;
    let mine = Identity::from_secret(SECRET).unwrap();
    assert!(ask(addr.to_string(), &mine).await.is_err());
}

#[tokio::test]
async fn plain_text_and_a_client_without_a_certificate_hear_nothing() {
    let identity = Identity::from_secret(SECRET).unwrap();
    let addr = serving(&identity).await;
    let mut plain = TcpStream::connect(addr).await.unwrap();
    plain
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut heard = Vec::new();
    let _reset = tokio::time::timeout(DEADLINE, plain.read_to_end(&mut heard))
        .await
        .unwrap();
    // At most a TLS alert: 21 is its record type.
    assert!(heard.first().is_none_or(|kind| *kind == 21), "{heard:?}");

    let bare = identity.without_client_certificate();
    assert!(ask(addr.to_string(), &bare).await.is_err());
}

#[tokio::test]
async fn a_stolen_certificate_without_its_key_proves_nothing() {
    let addr = serving(&Identity::from_secret(SECRET).unwrap()).await;
    let stolen = Identity::with_stolen_certificate(SECRET, b"another one, as long");
    assert!(ask(addr.to_string(), &stolen).await.is_err());
}

#[test]
fn a_short_secret_is_refused_and_none_is_printed() {
    let refused = Identity::from_secret(&SECRET[..SHORTEST_SECRET - 1]);
    assert!(matches!(refused, Err(IdentityError::ShortSecret)));
    let identity = Identity::from_secret(SECRET).unwrap();
    assert_eq!(format!("{identity:?}"), "Identity");
}

#[tokio::test]
async fn an_operators_certificates_are_held_to_their_authority_and_name() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (authority(), authority());
    let here = files(dir.path(), "here", &one, "localhost");
    let there = files(dir.path(), "there", &one, "localhost");
    let elsewhere = files(dir.path(), "elsewhere", &one, "elsewhere.example");
    let stranger = files(dir.path(), "stranger", &other, "localhost");
    let identity = |files: &Files| Identity::from_files(files).unwrap();
    let port = serving(&identity(&here)).await.port();
    let addr = format!("localhost:{port}");
    assert_eq!(ask(addr.clone(), &identity(&there)).await.unwrap(), 7);
    assert!(ask(addr.clone(), &identity(&stranger)).await.is_err());
    let secret = Identity::from_secret(SECRET).unwrap();
    assert!(ask(addr, &secret).await.is_err());
    let misnamed = serving(&identity(&elsewhere)).await.port();
    let addr = format!("localhost:{misnamed}");
    assert!(ask(addr, &identity(&there)).await.is_err());
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn files(
    dir: &std::path::Path,
    name: &str,
    authority: &CertifiedIssuer<'_, KeyPair>,
    host: &str,
) -> Files {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let path = |kind: &str| dir.join(format!("{name}.{kind}"));
    std::fs::write(path("crt"), certificate.pem()).unwrap();
    std::fs::write(path("key"), key.serialize_pem()).unwrap();
    std::fs::write(path("ca"), authority.pem()).unwrap();
    Files {
        certificate: path("crt"),
        key: path("key"),
        ca: path("ca"),
    }
}

#[tokio::test]
async fn an_address_is_a_host_and_a_port() {
    let identity = Identity::from_secret(SECRET).unwrap();
    for wrong in ["", "host", ":7000", "a b:1", "host:port"] {
        assert!(channel(wrong, &identity).is_err(), "{wrong}");
    }
    for right in ["host:7000", "127.0.0.1:1", "[::1]:7000"] {
        assert!(channel(right, &identity).is_ok(), "{right}");
    }
}
