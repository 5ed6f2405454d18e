//! `http.addr`, `http.net` and `http.tls`: where clients come in.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use roadstead_config::{
    ClientAuth as ConfigClientAuth, Gateway, Http, Identity, Listen, ListenAddr, Tls as ConfigTls,
    TlsVersion,
};
use roadstead_listen::{
    Address, ClientAuth, Inherited, Listener, Minimum, Options, Supplied, Tls, TlsOptions, bind,
};

/// Binds `http.addr`, unless systemd hands over a socket.
pub(crate) async fn listeners(http: &Http, inherited: Option<Inherited>) -> Result<Vec<Listener>> {
    let address = match &http.addr {
        Listen::Tcp(addr) => tcp(addr),
        Listen::Unix(path) => Address::Unix(path.clone()),
    };
    let options = Options {
        setting: "http.addr",
        address,
        inherited,
    };
    Ok(bind(options).await?)
}

/// Binds the address of a setting, unless systemd hands over a socket.
pub(crate) async fn listeners_on(
    setting: &'static str,
    addr: &ListenAddr,
    inherited: Option<Inherited>,
) -> Result<Vec<Listener>> {
    let options = Options {
        setting,
        address: tcp(addr),
        inherited,
    };
    Ok(bind(options).await?)
}

fn tcp(addr: &ListenAddr) -> Address {
    Address::Tcp {
        host: addr.host.clone(),
        port: addr.port,
    }
}

/// Reads the certificate and all that goes with it. Blocks.
pub(crate) fn tls(http: &Http) -> Result<Option<Tls>> {
    let Some(tls) = &http.tls else {
        return Ok(None);
    };
    let options = tls_options(tls, !http.http2_disabled);
    Tls::load(options).context("http.tls").map(Some)
}

/// The same for a gateway, which may have several.
pub(crate) fn gateway_tls(gateway: &Gateway) -> Result<Option<Tls>> {
    let Some(tls) = &gateway.tls else {
        return Ok(None);
    };
    let more = gateway.certificates.iter();
    let options = TlsOptions {
        more: more
            .map(|more| (more.certificate.clone(), more.key.clone()))
            .collect(),
        ..tls_options(tls, true)
    };
    Tls::load(options).context("gateway.tls").map(Some)
}

fn tls_options(tls: &ConfigTls, http2: bool) -> TlsOptions {
    let clients = tls.clients.as_ref();
    let (certificate, key, supplied) = match &tls.identity {
        Identity::Files(files) => (files.certificate.clone(), files.key.clone(), None),
        Identity::LetsEncrypt(_) => (
            "letsencrypt".into(),
            PathBuf::new(),
            Some(Supplied::default()),
        ),
    };
    TlsOptions {
        certificate,
        key,
        supplied,
        client_cas: clients
            .map(|clients| clients.authorities.clone())
            .unwrap_or_default(),
        client_auth: clients.map_or_else(ClientAuth::default, |clients| match clients.auth {
            ConfigClientAuth::Request => ClientAuth::Request,
            ConfigClientAuth::RequireAny => ClientAuth::RequireAny,
            ConfigClientAuth::VerifyIfGiven => ClientAuth::VerifyIfGiven,
            ConfigClientAuth::RequireAndVerify => ClientAuth::RequireAndVerify,
        }),
        minimum: match tls.minimum {
            TlsVersion::Tls12 => Minimum::Tls12,
            TlsVersion::Tls13 => Minimum::Tls13,
        },
        cipher_suites: tls
            .cipher_suites
            .iter()
            .map(|suite| suite.name().to_owned())
            .collect(),
        http2,
        more: Vec::new(),
    }
}
