//! Certificate authorities and what they sign.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};

pub(crate) struct Ca {
    own: CertifiedIssuer<'static, KeyPair>,
    /// From the one that signs down to the root, without the root: what a bundle needs.
    intermediates: String,
    root: String,
}

/// A certificate and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let own = CertifiedIssuer::self_signed(authority(name), key).unwrap();
        Self {
            root: own.pem(),
            intermediates: String::new(),
            own,
        }
    }

    /// An authority below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let own = CertifiedIssuer::signed_by(authority(name), key, &self.own).unwrap();
        Self {
            root: self.root.clone(),
            intermediates: own.pem() + &self.intermediates,
            own,
        }
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// A server's certificate, valid to the end of a year.
    pub(crate) fn server(&self, until: i32) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, "server")
    }

    /// A client's certificate, valid to the end of a year.
    pub(crate) fn client(&self, name: &str, until: i32) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, name)
    }

    fn sign(&self, mut params: CertificateParams, name: &str) -> Pair {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.own).unwrap();
        Pair {
            chain: certificate.pem() + &self.intermediates,
            key: key.serialize_pem(),
        }
    }
}

/// A client's certificate that signs itself and is marked as an authority's, as `openssl req -x509` makes it.
pub(crate) fn self_signed(name: &str, until: i32, usages: &[ExtendedKeyUsagePurpose]) -> Pair {
    let mut params = authority(name);
    params.not_after = date_time_ymd(until, 1, 1);
    params.extended_key_usages = usages.to_vec();
    let key = KeyPair::generate().unwrap();
    Pair {
        chain: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

impl Pair {
    pub(crate) fn write(&self, certificate: &Path, key: &Path) {
        std::fs::write(certificate, &self.chain).unwrap();
        std::fs::write(key, &self.key).unwrap();
    }
}
