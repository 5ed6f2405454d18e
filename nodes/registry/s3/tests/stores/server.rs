//! A `SeaweedFS` of the test's own: started on free ports, gone with its value.

use roadstead_s3::{Credentials, Options, S3};
pub(crate) use roadstead_tests::seaweed::{ADMIN, READER};
use roadstead_tests::seaweed::{BUCKET, Seaweed as Server};

pub(crate) struct Seaweed {
    _server: Server,
    endpoint: String,
}

impl Seaweed {
    /// A server with an empty bucket.
    pub(crate) async fn start() -> Self {
        let started = tokio::task::spawn_blocking(Server::start).await;
        let server = started.expect("SeaweedFS starts");
        Self {
            endpoint: format!("http://{}", server.addr()),
            _server: server,
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
}

pub(crate) fn credentials((access, secret): (&str, &str)) -> Credentials {
    Credentials {
        access_key: access.to_owned(),
        secret_key: secret.to_owned(),
        session_token: None,
    }
}
