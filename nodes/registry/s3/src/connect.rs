//! From options to clients of the store.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{ReconnectMode, RetryConfig};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use http::HeaderValue;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::Options;
use crate::http::Http;

/// Tries of one request. With [`BACKOFF`], the last waits for about four seconds.
const TRIES: u32 = 6;
/// Before the second try; doubles with each, with jitter.
const BACKOFF: Duration = Duration::from_millis(250);
/// What carries little, and is answered from an index: each try, and all of them. Proxies wait for a minute, and a client
/// is to be told that the store is gone by the registry.
const QUICK: Duration = Duration::from_secs(10);
const QUICK_IN_ALL: Duration = Duration::from_secs(20);
/// Bytes that are little, even to a store that takes them at [`BULK_RATE`].
const LITTLE: u64 = 1 << 20;
/// What has the store move bytes: a copy, the end of a multipart upload.
const PATIENT: Duration = Duration::from_mins(10);
/// What carries a part: so long, and as long as it takes at this rate.
const BULK: Duration = Duration::from_mins(1);
const BULK_RATE: u64 = 256 << 10;

/// Why there is no driver.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The machine has no list of certification authorities.
    #[error(
        "storage.s3: no certificates of authorities are found on this machine (install ca-certificates, set \
         SSL_CERT_FILE, or write skipverify: true)"
    )]
    NoRoots,
    /// TLS cannot be set up.
    #[error("storage.s3: TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// It holds what no header may.
    #[error("storage.s3.useragent: is not a header's value")]
    UserAgent,
    /// The limits of S3 are exceeded.
    #[error("storage.s3.{key}: must be from {least} to {most} bytes")]
    Size {
        /// Of the configuration.
        key: &'static str,
        /// Bytes.
        least: u64,
        /// Bytes.
        most: u64,
    },
}

/// The same store, with as much patience as what is asked takes.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) quick: Client,
    pub(crate) bulk: Client,
    pub(crate) patient: Client,
    /// Signs URLs for clients; sends nothing.
    pub(crate) signer: Client,
    pub(crate) http: Http,
}

impl Clients {
    /// For a request that carries so many bytes.
    pub(crate) fn carrying(&self, bytes: usize) -> &Client {
        if bytes as u64 <= LITTLE {
            &self.quick
        } else {
            &self.bulk
        }
    }

    /// For one that has the store move so many.
    pub(crate) fn moving(&self, bytes: u64) -> &Client {
        if bytes <= LITTLE {
            &self.quick
        } else {
            &self.patient
        }
    }

    pub(crate) async fn new(options: &Options) -> Result<Self, ConnectError> {
        let secure = !options
            .endpoint
            .as_deref()
            .is_some_and(|url| url.starts_with("http://"));
        let agent = HeaderValue::from_str(&options.user_agent);
        let agent = agent.map_err(|_invalid| ConnectError::UserAgent)?;
        let http = Http::new(tls(secure, options.skip_verify)?, agent);
        let config = config(options, &http).await;
        let client = |attempt, in_all| {
            let mut timeouts = TimeoutConfig::builder().operation_attempt_timeout(attempt);
            timeouts.set_operation_timeout(in_all);
            Client::from_conf(config.clone().timeout_config(timeouts.build()).build())
        };
        let mut signer = config.clone();
        if let Some(endpoint) = &options.redirect_endpoint {
            signer = signer.endpoint_url(endpoint);
        }
        Ok(Self {
            quick: client(QUICK, Some(QUICK_IN_ALL)),
            bulk: client(
                BULK + Duration::from_secs(options.parts.chunk / BULK_RATE),
                None,
            ),
            patient: client(PATIENT, None),
            signer: Client::from_conf(signer.build()),
            http,
        })
    }
}

async fn config(options: &Options, http: &Http) -> Builder {
    let region = options.region.clone();
    let region = Region::new(region.unwrap_or_else(|| "us-east-1".to_owned()));
    let mut config = match &options.credentials {
        Some(keys) => Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(region)
            .credentials_provider(aws_credential_types::Credentials::new(
                keys.access_key.clone(),
                keys.secret_key.clone(),
                keys.session_token.clone(),
                None,
                "configuration",
            )),
        None => Builder::from(
            &aws_config::defaults(BehaviorVersion::latest())
                .region(region)
                .http_client(http.shared())
                .load()
                .await,
        ),
    };
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint);
    }
    let retries = RetryConfig::standard()
        .with_max_attempts(TRIES)
        .with_initial_backoff(BACKOFF)
        // The pool closes what broke by itself.
        .with_reconnect_mode(ReconnectMode::ReuseAllConnections);
    config
        .http_client(http.shared())
        .retry_config(retries)
        .force_path_style(options.force_path_style)
        .use_dual_stack(options.variants.dual_stack)
        .accelerate(options.variants.accelerate)
        .use_fips(options.variants.fips)
        // Stores other than Amazon's refuse checksums that they do not know.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // Downloads are watched where they are read, and go on where they broke.
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .download_enabled(false)
                .build(),
        )
}

fn tls(secure: bool, skip_verify: bool) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    if skip_verify {
        let anyone = Arc::new(Anyone(provider));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(anyone)
            .with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if secure && added == 0 {
        return Err(ConnectError::NoRoots);
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Trusts whoever answers, as `skipverify` says. The handshake itself is checked all the same.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
