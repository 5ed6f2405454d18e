//! Bearer tokens of a token server elsewhere (the CNCF registry's token specification, RFC 7519).

mod algorithm;
#[cfg(test)]
mod attack_tests;
mod certificates;
mod claims;
#[cfg(test)]
mod forge;
mod header;
mod jwks;
mod key;
mod remote;

use std::time::SystemTime;

pub(crate) use claims::TokenAccess;

use crate::authenticator::{Asked, BuildError, Denied, Reason, Unavailable};
use crate::basic::after_scheme;
use crate::challenge;
use crate::clock::Clock;
use crate::granted::{Granted, Held};
use crate::options::{Jwks, Realm, TokenOptions};
use crate::watched::Watched;
use algorithm::{ALGORITHMS, Algorithm};
use certificates::Bundle;
use claims::{Claims, ClaimsMistake};
use header::{Compact, Header, Malformed, Origin};
use key::{Key, KeySet};
use remote::Remote;

/// Options with which no token could be verified.
#[derive(Debug, thiserror::Error)]
pub enum TokenMistake {
    /// There is neither a bundle nor a set of keys.
    #[error("token authentication needs a key: name a rootcertbundle or jwks")]
    NoKeys,
    /// An empty one would be found in tokens that mean nobody.
    #[error("token authentication needs {0}")]
    Empty(&'static str),
    /// No such algorithm.
    #[error(
        "the signature algorithm {0:?} is not supported; those that are: EdDSA, HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512"
    )]
    Algorithm(String),
    /// Not a URL that keys can be fetched from.
    #[error("jwks: {0}")]
    Url(&'static str),
}

/// Verifies tokens.
#[derive(Debug)]
pub(crate) struct Token {
    realm: Realm,
    service: String,
    issuer: String,
    algorithms: Vec<Algorithm>,
    bundle: Option<Watched<Bundle>>,
    jwks: Option<Source>,
    clock: ClockOf,
}

#[derive(Debug)]
enum Source {
    File(Watched<KeySet>),
    Url(Remote),
}

struct ClockOf(Clock);

impl std::fmt::Debug for ClockOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// Why a token is refused. Goes to the log and no further.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("its algorithm is not accepted")]
    Algorithm,
    #[error("no trusted key: {0}")]
    Untrusted(&'static str),
    #[error("the signature does not fit, or the key is for another algorithm")]
    Signature,
    #[error(transparent)]
    Claims(#[from] ClaimsMistake),
    #[error("the keys of the token server are not known yet")]
    NoKeys,
}

impl Token {
    pub(crate) fn build(options: TokenOptions, clock: Clock) -> Result<Self, BuildError> {
        check(&options)?;
        let bundle = match options.rootcertbundle {
            Some(path) => Some(Watched::open(path, |content| Ok(Bundle::parse(content)?))?),
            None => None,
        };
        let jwks = match options.jwks {
            Some(Jwks::File(path)) => {
                let file = Watched::open(path, |content| Ok(jwks::parse(content)?))?;
                Some(Source::File(file))
            }
            Some(Jwks::Url(url)) => Some(Source::Url(Remote::new(&url)?)),
            None => None,
        };
        Ok(Self {
            realm: options.realm,
            algorithms: algorithms(&options.signingalgorithms)?,
            service: options.service,
            issuer: options.issuer,
            bundle,
            jwks,
            clock: ClockOf(clock),
        })
    }

    pub(crate) async fn authorize(&self, asked: Asked<'_>) -> Result<Granted, Denied> {
        let Some(token) = after_scheme(asked.authorization, "bearer") else {
            return Err(self.challenge(asked, Reason::Missing, None));
        };
        let as_of = asked.as_of((self.clock.0)());
        let claims = match self.verify(token, as_of).await {
            Ok(claims) => claims,
            Err(Refusal::NoKeys) => return Err(Denied::Unavailable(Unavailable::NoKeys)),
            Err(refusal) => {
                tracing::info!(reason = %refusal, "a token is refused");
                return Err(self.challenge(asked, Reason::InvalidToken, Some("invalid_token")));
            }
        };
        let granted = Granted::new(claims.user, Held::Token(claims.access.into()));
        if granted.may(asked.wanted) {
            Ok(granted)
        } else {
            // 401 and not 403: the client gets a token with more scope, and comes again.
            let error = Some("insufficient_scope");
            Err(self.challenge(asked, Reason::InsufficientScope, error))
        }
    }

    /// A token is read only as far as it is trusted: header, key, signature, and only then what it claims.
    async fn verify(&self, token: &[u8], as_of: SystemTime) -> Result<claims::Verified, Refusal> {
        let compact = Compact::parse(token)?;
        let header = Header::parse(compact.header)?;
        let algorithm = header.algorithm.ok_or(Refusal::Algorithm)?;
        if !self.algorithms.contains(&algorithm) {
            return Err(Refusal::Algorithm);
        }
        let keys = self.keys(&header, as_of).await?;
        if !keys.iter().any(|key| key.verify(&compact, algorithm)) {
            return Err(Refusal::Signature);
        }
        let claims = Claims::parse(compact.claims)?;
        Ok(claims.verify(&self.issuer, &self.service, as_of)?)
    }

    /// The keys that may have signed: by their chain of certificates, or by their name.
    async fn keys(&self, header: &Header, now: SystemTime) -> Result<Vec<Key>, Refusal> {
        match &header.origin {
            Origin::Chain(chain) => {
                let bundle = self.bundle.as_ref();
                let bundle =
                    bundle.ok_or(Refusal::Untrusted("there is no bundle of certificates"))?;
                let key = bundle.current().await.key_of(chain, now);
                key.map(|key| vec![key]).map_err(Refusal::Untrusted)
            }
            Origin::Id(id) => self.keys_called(id).await,
            Origin::Nothing => Err(Refusal::Untrusted("the token names none")),
        }
    }

    async fn keys_called(&self, id: &str) -> Result<Vec<Key>, Refusal> {
        let mut found = match &self.bundle {
            Some(bundle) => bundle.current().await.keys.get(id),
            None => Vec::new(),
        };
        match &self.jwks {
            Some(Source::File(file)) => found.extend(file.current().await.get(id)),
            // What the bundle has needs no other.
            Some(Source::Url(remote)) if found.is_empty() => {
                found = remote.keys_called(id).await.ok_or(Refusal::NoKeys)?;
            }
            Some(Source::Url(_)) | None => {}
        }
        if found.is_empty() {
            return Err(Refusal::Untrusted("no key has this name"));
        }
        Ok(found)
    }

    fn challenge(&self, asked: Asked<'_>, reason: Reason, error: Option<&str>) -> Denied {
        let realm = match &self.realm {
            Realm::Fixed(url) => url.clone(),
            Realm::SameHost { path, otherwise } => match asked.host {
                Some(host) if is_host(host) && matches!(asked.scheme, "http" | "https") => {
                    format!("{}://{host}{path}", asked.scheme)
                }
                _ => otherwise.clone(),
            },
        };
        let scope = asked.wanted.scope();
        let header = challenge::bearer(&realm, &self.service, &scope, error);
        asked.challenge(header, reason)
    }
}

/// Name or address with an optional port: nothing that could end the URL's host or the header's quotes.
fn is_host(host: &str) -> bool {
    let fits =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (1..=255).contains(&host.len()) && host.bytes().all(fits)
}

fn check(options: &TokenOptions) -> Result<(), BuildError> {
    let realm = match &options.realm {
        Realm::Fixed(url) => [url.as_str(), ""],
        Realm::SameHost { path, otherwise } => [path.as_str(), otherwise.as_str()],
    };
    let mut texts = realm.into_iter().chain([options.service.as_str()]);
    if !texts.all(challenge::is_printable) {
        return Err(BuildError::NotPrintable);
    }
    let needed = [
        (realm.concat(), "a realm"),
        (options.service.clone(), "a service"),
        (options.issuer.clone(), "an issuer"),
    ];
    if let Some((_, what)) = needed.iter().find(|(text, _)| text.is_empty()) {
        return Err(TokenMistake::Empty(what).into());
    }
    if matches!(&options.realm, Realm::SameHost { path, .. } if !path.starts_with('/')) {
        return Err(TokenMistake::Empty("an autoredirectpath that begins with /").into());
    }
    if options.rootcertbundle.is_none() && options.jwks.is_none() {
        return Err(TokenMistake::NoKeys.into());
    }
    Ok(())
}

/// Those of these names; all there are, where none is named.
fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, TokenMistake> {
    if names.is_empty() {
        return Ok(ALGORITHMS.to_vec());
    }
    let parsed = names.iter().map(|name| {
        let algorithm = name.parse();
        algorithm.map_err(|_unknown| TokenMistake::Algorithm(name.clone()))
    });
    parsed.collect()
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
