//! When the authority would have a certificate renewed (RFC 9773): earlier than usual, where it has to be revoked.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Account, AccountCredentials, CertificateIdentifier, Error as ApiError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::document::Document;
use crate::order::random;
use crate::renewal;
use crate::service::{Inner, in_full};

/// How often it is asked, whatever it says itself.
const SELDOM: Duration = Duration::from_hours(24);
const OFTEN: Duration = Duration::from_hours(1);

/// Asks once, and keeps what it says. Answers when to ask again.
pub(crate) async fn run(inner: Arc<Inner>, term: u64) -> Duration {
    let mut document = inner.document();
    if document.certificate.is_none() {
        return renewal::LOOK_EVERY;
    }
    let asked = tokio::time::timeout(OFTEN, ask(&inner, &document)).await;
    let (window, again) = match asked {
        Ok(Ok(Some(told))) => told,
        // It offers no such thing.
        Ok(Ok(None)) => return SELDOM,
        Ok(Err(error)) => {
            let error = in_full(&error);
            tracing::debug!(error, "the authority does not say when to renew");
            return OFTEN;
        }
        Err(_elapsed) => return OFTEN,
    };
    if let Some(certificate) = &mut document.certificate
        && let Some(at) = renewal::suggested(certificate, window, inner.now(), random())
    {
        certificate.renew_at = at;
        let setting = inner.options.setting;
        match inner.write(term, &document).await {
            Ok(()) => {
                tracing::info!(
                    seconds_since_1970 = at,
                    "{setting}: the authority suggests to renew then"
                );
            }
            Err(error) => {
                tracing::debug!(
                    error = in_full(&error),
                    "what the authority suggests is not kept"
                );
            }
        }
    }
    again.clamp(OFTEN, SELDOM)
}

type Told = ((u64, u64), Duration);

async fn ask(inner: &Inner, document: &Document) -> Result<Option<Told>, ApiError> {
    let (Some(kept), Some(certificate)) = (&document.account, &document.certificate) else {
        return Ok(None);
    };
    let Ok(leaf) = CertificateDer::from_pem_slice(certificate.chain.as_bytes()) else {
        return Ok(None);
    };
    // An authority that offers this puts its key's identifier in what it signs.
    let Ok(id) = CertificateIdentifier::try_from(&leaf) else {
        return Ok(None);
    };
    let credentials: AccountCredentials = serde_json::from_value(kept.clone())?;
    let builder = Account::builder_with_http(Box::new(inner.client.clone()));
    let account = builder.from_credentials(credentials).await?;
    match account.renewal_info(&id).await {
        Ok((info, again)) => {
            let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
            let window = info.suggested_window;
            let start = seconds(window.start.unix_timestamp());
            let end = seconds(window.end.unix_timestamp());
            Ok(Some(((start, end), again)))
        }
        Err(ApiError::Unsupported(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
