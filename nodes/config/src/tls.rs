//! `http.tls`: the certificate, who must show one in turn, and what is negotiated.

use std::path::PathBuf;

use crate::gateway::Certificate;
use crate::letsencrypt::LetsEncrypt;
use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::suggest;

/// Settings under `http.tls`. Nothing is read here: the files are those who serve open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Where the certificate comes from.
    pub identity: Identity,
    /// Who must show a certificate: `clientcas`, `clientauth`. Default: nobody is asked.
    pub clients: Option<ClientCertificates>,
    /// The oldest version that is spoken: `minimumtls`. Default: 1.2.
    pub minimum: TlsVersion,
    /// What may be negotiated, the preferred first: TLS 1.3's three, and of TLS 1.2 those in `ciphersuites`. Default:
    /// all there are.
    pub cipher_suites: Vec<CipherSuite>,
}

/// Where a server's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Files: `certificate`, `key`.
    Files(Certificate),
    /// It is ordered, and renewed, by ACME: `letsencrypt`.
    LetsEncrypt(Box<LetsEncrypt>),
}

/// Which certificates clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Files in PEM with those who may sign them: `clientcas`. Never empty.
    pub authorities: Vec<PathBuf>,
    /// What is made of them: `clientauth`.
    pub auth: ClientAuth,
}

/// What is made of the certificates that clients show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Asked for, not needed, not verified: `request-client-cert`.
    Request,
    /// Needed, not verified: `require-any-client-cert`.
    RequireAny,
    /// Verified where there is one: `verify-client-cert-if-given`.
    VerifyIfGiven,
    /// Needed and verified: `require-and-verify-client-cert`. The default, since authorities are named for this.
    #[default]
    RequireAndVerify,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// Every client of the last ten years speaks it.
    #[default]
    Tls12,
    /// Nothing older.
    Tls13,
}

/// What is negotiated: TLS 1.3's three, and the six of TLS 1.2 with forward secrecy and authenticated encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names are all there is to say")]
pub enum CipherSuite {
    EcdheEcdsaAes128GcmSha256,
    EcdheRsaAes128GcmSha256,
    EcdheEcdsaAes256GcmSha384,
    EcdheRsaAes256GcmSha384,
    EcdheEcdsaChacha20Poly1305,
    EcdheRsaChacha20Poly1305,
    Aes128GcmSha256,
    Aes256GcmSha384,
    Chacha20Poly1305,
}

use CipherSuite as Suite;

/// By their names in Go, the first of two being the one that is written back.
const SUITES: &[(&str, Suite)] = &[
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        Suite::EcdheEcdsaAes128GcmSha256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        Suite::EcdheRsaAes128GcmSha256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        Suite::EcdheEcdsaAes256GcmSha384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Suite::EcdheRsaAes256GcmSha384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Suite::EcdheEcdsaChacha20Poly1305,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        Suite::EcdheEcdsaChacha20Poly1305,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Suite::EcdheRsaChacha20Poly1305,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        Suite::EcdheRsaChacha20Poly1305,
    ),
    ("TLS_AES_128_GCM_SHA256", Suite::Aes128GcmSha256),
    ("TLS_AES_256_GCM_SHA384", Suite::Aes256GcmSha384),
    ("TLS_CHACHA20_POLY1305_SHA256", Suite::Chacha20Poly1305),
];

/// What Go knows and this registry does not offer: no forward secrecy, CBC, RC4 or 3DES.
const WEAK: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

const VERSIONS: &[(&str, TlsVersion)] =
    &[("tls1.2", TlsVersion::Tls12), ("tls1.3", TlsVersion::Tls13)];

const MODES: &[(&str, ClientAuth)] = &[
    ("request-client-cert", ClientAuth::Request),
    ("require-any-client-cert", ClientAuth::RequireAny),
    ("verify-client-cert-if-given", ClientAuth::VerifyIfGiven),
    (
        "require-and-verify-client-cert",
        ClientAuth::RequireAndVerify,
    ),
];

impl CipherSuite {
    /// Every one that is offered, the preferred first.
    pub const ALL: [Self; 9] = [
        Self::Aes128GcmSha256,
        Self::Aes256GcmSha384,
        Self::Chacha20Poly1305,
        Self::EcdheEcdsaAes128GcmSha256,
        Self::EcdheRsaAes128GcmSha256,
        Self::EcdheEcdsaAes256GcmSha384,
        Self::EcdheRsaAes256GcmSha384,
        Self::EcdheEcdsaChacha20Poly1305,
        Self::EcdheRsaChacha20Poly1305,
    ];

    /// Its name in Go and in IANA's registry.
    pub fn name(self) -> &'static str {
        let row = SUITES.iter().find(|(_, suite)| *suite == self);
        row.map_or("", |(name, _)| name)
    }

    /// The version it belongs to; none works in both.
    pub fn version(self) -> TlsVersion {
        match self {
            Self::Aes128GcmSha256 | Self::Aes256GcmSha384 | Self::Chacha20Poly1305 => {
                TlsVersion::Tls13
            }
            Self::EcdheEcdsaAes128GcmSha256
            | Self::EcdheRsaAes128GcmSha256
            | Self::EcdheEcdsaAes256GcmSha384
            | Self::EcdheRsaAes256GcmSha384
            | Self::EcdheEcdsaChacha20Poly1305
            | Self::EcdheRsaChacha20Poly1305 => TlsVersion::Tls12,
        }
    }
}

impl Tls {
    /// Set in part is set: to serve in plain text because a path is missing would be a surprise.
    pub(crate) fn read(tls: &mut Reader<'_>) -> Option<Self> {
        let minimum = tls.read("minimumtls", version).unwrap_or_default();
        let clients = clients(tls);
        let cipher_suites = cipher_suites(tls, minimum);
        if !tls.is_set() {
            return None;
        }
        Some(Self {
            identity: identity(tls)?,
            clients,
            minimum,
            cipher_suites,
        })
    }
}

fn identity(tls: &mut Reader<'_>) -> Option<Identity> {
    if !tls.below("letsencrypt").is_set() {
        return Certificate::read(tls).map(Identity::Files);
    }
    for key in ["certificate", "key"] {
        if tls.below(key).is_set() {
            let reason =
                "is not used beside letsencrypt, which orders a certificate; write one of the two";
            tls.mistake(key, reason);
        }
    }
    let ordered = LetsEncrypt::read(&mut tls.below("letsencrypt"))?;
    Some(Identity::LetsEncrypt(Box::new(ordered)))
}

fn version(text: &str) -> Result<TlsVersion, Unfit> {
    match text.to_ascii_lowercase().as_str() {
        "tls1.0" | "tls1.1" => Err(Unfit::new(
            "is broken and no longer spoken (RFC 8996); write tls1.2 or tls1.3",
        )),
        _ => scalar::one_of(text, VERSIONS),
    }
}

fn clients(tls: &mut Reader<'_>) -> Option<ClientCertificates> {
    let authorities = tls.list("clientcas", |text| Ok(PathBuf::from(text)));
    let auth = tls.read("clientauth", |text| scalar::one_of(text, MODES));
    if !authorities.is_empty() {
        let auth = auth.unwrap_or_default();
        return Some(ClientCertificates { authorities, auth });
    }
    match auth {
        None => {}
        Some(ClientAuth::Request) => tls.remark("clientauth", "has no effect without clientcas"),
        Some(_) => tls.mistake(
            "clientauth",
            "nobody would be asked for a certificate without clientcas beside it",
        ),
    }
    None
}

/// As in the reference, the list is about TLS 1.2; the suites of TLS 1.3 are always offered.
fn cipher_suites(tls: &mut Reader<'_>, minimum: TlsVersion) -> Vec<CipherSuite> {
    let listed = tls.list("ciphersuites", |text| {
        Ok((text.to_owned(), cipher_suite(text)?))
    });
    if !tls.below("ciphersuites").is_set() {
        return CipherSuite::ALL.to_vec();
    }
    if minimum == TlsVersion::Tls13 {
        tls.remark("ciphersuites", "has no effect on TLS 1.3");
    }
    let weak = listed.iter().filter(|(_, suite)| suite.is_none());
    let weak: Vec<&str> = weak.map(|(name, _)| name.as_str()).collect();
    if !weak.is_empty() {
        let text = format!("too weak, and not offered: {}", weak.join(", "));
        tls.remark("ciphersuites", text);
    }
    let newest = |suite: &CipherSuite| suite.version() == TlsVersion::Tls13;
    let always = CipherSuite::ALL.into_iter().filter(newest);
    let chosen = listed.into_iter().filter_map(|(_, suite)| suite);
    always
        .chain(chosen.filter(|suite| !newest(suite)))
        .collect()
}

/// A suite, or `None` for one that is known and not offered.
fn cipher_suite(text: &str) -> Result<Option<CipherSuite>, Unfit> {
    if let Some((_, suite)) = SUITES.iter().find(|(name, _)| *name == text) {
        return Ok(Some(*suite));
    }
    if WEAK.contains(&text) {
        return Ok(None);
    }
    let known = SUITES.iter().map(|(name, _)| *name);
    let meant = suggest::nearest(text, known).map(str::to_owned);
    Err(Unfit::new("is not a cipher suite").suggest(meant))
}

#[cfg(test)]
mod tests;
