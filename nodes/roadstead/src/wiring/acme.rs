//! `letsencrypt`: a certificate that is ordered, and shown as soon as it is there.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use roadstead_acme::{Acme, Answers, Challenge, ExternalAccount, Home, Options, Told};
use roadstead_config::{
    Challenge as ConfigChallenge, Cluster, Identity, LetsEncrypt, ListenAddr, Proof,
    Tls as ConfigTls,
};
use roadstead_listen::Tls;
use roadstead_metadata::Metadata;
use roadstead_serve::{self as http_server, Router};
use roadstead_telemetry::metrics::{GatewayMetrics, Metrics};
use roadstead_telemetry::system_clock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::aside;

/// The right to order is given up at the end, so that another need not wait for it.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Where certificates are counted: a registry's metrics, or a gateway's.
pub(crate) trait Figures: Clone + Send + Sync + 'static {
    fn expires(&self, name: &str, at: SystemTime);
    fn ordered(&self, well: bool);
}

impl Figures for Metrics {
    fn expires(&self, name: &str, at: SystemTime) {
        self.certificate_expires(name, at);
    }

    fn ordered(&self, well: bool) {
        self.certificate_ordered(well);
    }
}

impl Figures for GatewayMetrics {
    fn expires(&self, name: &str, at: SystemTime) {
        self.certificate_expires(name, at);
    }

    fn ordered(&self, well: bool) {
        self.certificate_ordered(well);
    }
}

/// A certificate that is looked after until the drain.
pub(crate) struct Kept {
    answers: Answers,
    keeping: JoinHandle<()>,
}

/// What `letsencrypt` says, if it is how the certificate comes.
pub(crate) fn of(tls: Option<&ConfigTls>) -> Option<&LetsEncrypt> {
    match &tls?.identity {
        Identity::LetsEncrypt(settings) => Some(settings),
        Identity::Files(_) => None,
    }
}

/// The home of one that has no cluster.
pub(crate) fn alone(setting: &'static str, settings: &LetsEncrypt) -> Result<Home> {
    let path = settings.cache.as_deref().map(Path::to_owned);
    let path = path.with_context(|| {
        format!("{setting}.cachefile is missing from the configuration; write a directory, as in /var/lib/roadstead/acme")
    })?;
    Ok(Home::Path(path))
}

/// The home of one that shares its certificate with its cluster.
pub(crate) fn in_cluster(
    setting: &'static str,
    settings: &LetsEncrypt,
    cluster: &Cluster,
    metadata: Arc<dyn Metadata>,
) -> Result<Home> {
    let own = settings.encryption_key.as_ref();
    let secret = own.or(match &cluster.proof {
        Some(Proof::Secret(secret)) => Some(secret),
        Some(Proof::Tls(_)) | None => None,
    });
    let secret = secret.with_context(|| {
        format!("{setting}.encryptionkey is missing from the configuration; write the same for all processes (openssl rand -base64 32)")
    })?;
    let secret = secret.expose().as_bytes().to_vec();
    Ok(Home::Cluster { metadata, secret })
}

/// Begins to look after it, and answers HTTP-01 where that is asked for.
pub(crate) async fn keep(
    setting: &'static str,
    settings: &LetsEncrypt,
    home: Home,
    tls: &Tls,
    figures: impl Figures,
    drain: &CancellationToken,
) -> Result<Kept> {
    let hosts = settings.hosts.clone();
    let options = Options {
        setting,
        hosts: settings.hosts.clone(),
        email: settings.email.clone(),
        directory_url: settings.directory_url.clone(),
        directory_ca: settings.directory_ca.clone(),
        external_account: external_account(settings),
        challenge: match settings.challenge {
            ConfigChallenge::TlsAlpn01 => Challenge::TlsAlpn01,
            ConfigChallenge::Http01 => Challenge::Http01,
        },
        home,
        clock: system_clock(),
        tell: Arc::new(move |told| match told {
            Told::Serving { not_after } => {
                for host in &hosts {
                    figures.expires(host, not_after);
                }
            }
            Told::Issued => figures.ordered(true),
            Told::Failed => figures.ordered(false),
        }),
    };
    let acme = Acme::build(options, tls.clone()).await.context(setting)?;
    let answers = acme.answers();
    if let Some(address) = &settings.challenge_addr {
        answer(address, &answers, drain).await?;
    }
    let keeping = tokio::spawn(acme.run(drain.clone()));
    Ok(Kept { answers, keeping })
}

fn external_account(settings: &LetsEncrypt) -> Option<ExternalAccount> {
    let configured = settings.external_account.as_ref()?;
    Some(ExternalAccount {
        key_id: configured.key_id.clone(),
        key: configured.key.expose().to_owned(),
    })
}

async fn answer(address: &ListenAddr, answers: &Answers, drain: &CancellationToken) -> Result<()> {
    aside::serve(
        "letsencrypt.challengeaddr",
        address,
        router(answers.clone()),
        drain,
    )
    .await
}

fn router(answers: Answers) -> Router {
    http_server::challenges(Arc::new(move |token| answers.get(token)))
}

impl Kept {
    /// What answers HTTP-01.
    pub(crate) fn router(&self) -> Router {
        router(self.answers.clone())
    }

    /// After the drain has begun.
    pub(crate) async fn leave(self) {
        let left = tokio::time::timeout(LEAVE_WITHIN, self.keeping).await;
        if let Ok(Err(error)) = left {
            tracing::error!(%error, "the certificate was not looked after to the end");
        }
    }
}
