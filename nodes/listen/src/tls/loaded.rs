//! One state of the files, ready to serve.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;

use super::files::Files;
use super::identity::Identity;
use super::named::ByName;
use super::{TlsError, TlsOptions, clients, suites};

/// What new connections are served with.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// When the first of its certificates expires; none while there is no certificate.
    pub(super) not_after: Option<SystemTime>,
}

impl Loaded {
    pub(super) fn new(files: &Files, options: &TlsOptions) -> Result<Self, TlsError> {
        let (provider, versions) = suites::chosen(options)?;
        let provider = Arc::new(provider);
        let (own, more) = Identity::all_of(files, options, &provider)?;
        let all = own.iter().chain(&more);
        let not_after = all.map(|identity| identity.not_after).min();
        let verifier = clients::verifier(files, options, &provider)?;
        let asks = verifier.is_some();
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(TlsError::Refused)?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::of(own, more)));
        if asks {
            // A resumed session is not verified again: a certificate that has expired since would still be believed.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols = if options.http2 {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        } else {
            vec![b"http/1.1".to_vec()]
        };
        Ok(Self {
            config: Arc::new(config),
            not_after,
        })
    }
}
