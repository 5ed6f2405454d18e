//! `letsencrypt`, below `http.tls` and `gateway.tls`: a certificate that is ordered, and renewed, by ACME.

use std::path::PathBuf;

use crate::listen::ListenAddr;
use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::secret::Secret;
use crate::url;

/// Let's Encrypt, whose name the settings have.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Names that one certificate may have: what Let's Encrypt allows.
const MOST_HOSTS: usize = 100;

/// Characters of a key at least: as for `cluster.secret`.
const SHORTEST_KEY: usize = 16;

/// Settings under `letsencrypt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetsEncrypt {
    /// The file or directory in which account and certificate are kept: `cachefile`. In a cluster the metadata service has
    /// them, and this means nothing.
    pub cache: Option<PathBuf>,
    /// Whom the authority can write to: `email`. Default: nobody.
    pub email: Option<String>,
    /// What the certificate is for, in lower case: `hosts`. Never empty.
    pub hosts: Vec<String>,
    /// Where the authority is: `directoryurl`. Default: Let's Encrypt.
    pub directory_url: String,
    /// Who signs the authority's own certificate, in PEM: `directoryca`. Default: whom this machine trusts.
    pub directory_ca: Option<PathBuf>,
    /// The account that the authority wants this one to belong to: `eab`. Default: none, as Let's Encrypt has it.
    pub external_account: Option<ExternalAccount>,
    /// How it is proved that the names lead here: `challenge`. Default: HTTP-01 where `challengeaddr` is set, else
    /// TLS-ALPN-01, as the reference does.
    pub challenge: Challenge,
    /// Where HTTP-01 is answered; the authority asks port 80: `challengeaddr`. Default: nowhere.
    pub challenge_addr: Option<ListenAddr>,
    /// What keys are encrypted with in the metadata service: `encryptionkey`. Default: a key made of `cluster.secret`.
    pub encryption_key: Option<Secret>,
}

/// Settings under `letsencrypt.eab` (RFC 8555, section 7.3.4): what an authority gives its customers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// What it calls the key: `keyid`.
    pub key_id: String,
    /// The key, in base64url as it is given: `key`.
    pub key: Secret,
}

/// How it is proved that a name leads here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenge {
    /// By a handshake on port 443 (RFC 8737).
    #[default]
    TlsAlpn01,
    /// By a file on port 80 (RFC 8555, section 8.3).
    Http01,
}

const CHALLENGES: &[(&str, Challenge)] = &[
    ("tls-alpn-01", Challenge::TlsAlpn01),
    ("http-01", Challenge::Http01),
];

impl LetsEncrypt {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let hosts = hosts(reader);
        let challenge_addr = reader.read("challengeaddr", address);
        let challenge = reader.read("challenge", |text| scalar::one_of(text, CHALLENGES));
        let directory_url = reader.read("directoryurl", directory_url);
        let read = Self {
            cache: reader.path("cachefile"),
            email: reader.read("email", email),
            hosts,
            directory_url: directory_url.unwrap_or_else(|| DIRECTORY.to_owned()),
            directory_ca: reader.path("directoryca"),
            external_account: ExternalAccount::read(&mut reader.below("eab")),
            challenge: challenge.unwrap_or(match challenge_addr {
                Some(_) => Challenge::Http01,
                None => Challenge::TlsAlpn01,
            }),
            challenge_addr,
            encryption_key: encryption_key(reader),
        };
        (!read.hosts.is_empty()).then_some(read)
    }
}

impl ExternalAccount {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        if !reader.is_set() {
            return None;
        }
        let (key_id, key) = (reader.text("keyid"), reader.secret("key"));
        if key_id.is_none() || key.is_none() {
            reader.mistake("", "keyid and key go together; the authority gives both");
        }
        let is_encoded =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
        if key
            .as_ref()
            .is_some_and(|key| key.expose().is_empty() || !key.expose().bytes().all(is_encoded))
        {
            reader.mistake("key", "is not base64url, as authorities give it");
        }
        Some(Self {
            key_id: key_id?,
            key: key?,
        })
    }
}

/// Only these names are ordered for: whoever could choose names would use up what the authority allows.
fn hosts(reader: &mut Reader<'_>) -> Vec<String> {
    let listed = reader.texts("hosts").len();
    let mut hosts = reader.list("hosts", host);
    hosts.sort_unstable();
    hosts.dedup();
    if listed == 0 {
        let what = "write the names that clients use, as in [registry.example.com]";
        reader.missing("hosts", what);
    } else if hosts.len() > MOST_HOSTS {
        let reason = format!("has more than {MOST_HOSTS} names");
        reader.mistake("hosts", reason);
    }
    hosts
}

fn host(text: &str) -> Result<String, Unfit> {
    if text.starts_with("*.") {
        return Err(Unfit::new(
            "is a name for many, which neither HTTP-01 nor TLS-ALPN-01 can prove; write each name",
        ));
    }
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if text.len() > 253 || is_address || !text.split('.').all(label) {
        return Err(Unfit::new(
            "is not a name; write for example registry.example.com, without scheme or port",
        ));
    }
    Ok(text.to_ascii_lowercase())
}

fn email(text: &str) -> Result<String, Unfit> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '?');
    match text.split_once('@') {
        Some((user, host)) if !user.is_empty() && !host.is_empty() && !text.contains(forbidden) => {
            Ok(text.to_owned())
        }
        _ => Err(Unfit::new(
            "is not an address; write for example me@example.com",
        )),
    }
}

fn directory_url(text: &str) -> Result<String, Unfit> {
    url::split(text)?;
    if !text.starts_with("https://") {
        return Err(Unfit::new(
            "must begin with https:// (RFC 8555, section 6.1)",
        ));
    }
    Ok(text.to_owned())
}

fn encryption_key(reader: &mut Reader<'_>) -> Option<Secret> {
    let key = reader.secret("encryptionkey")?;
    if key.expose().len() < SHORTEST_KEY {
        let reason = format!(
            "is too short; write at least {SHORTEST_KEY} random characters, for example of openssl rand -base64 32"
        );
        reader.mistake("encryptionkey", reason);
    }
    Some(key)
}

fn address(text: &str) -> Result<ListenAddr, Unfit> {
    text.parse().map_err(|error| Unfit::new(format!("{error}")))
}

#[cfg(test)]
mod tests;
