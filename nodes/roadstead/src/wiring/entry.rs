//! `http.addr`, `http.net` and `http.tls`: where clients come in.

use anyhow::{Context as _, Result};
use roadstead_config::{ClientAuth as ConfigClientAuth, Http, Listen, ListenAddr, TlsVersion};
use roadstead_listen::{
    Address, ClientAuth, Inherited, Listener, Minimum, Options, Tls, TlsOptions, bind,
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

/// Binds `http.debug.addr`, or whichever setting it is.
pub(crate) async fn debug_listeners(
    setting: &'static str,
    addr: &ListenAddr,
) -> Result<Vec<Listener>> {
    let options = Options {
        setting,
        address: tcp(addr),
        inherited: None,
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
    let clients = tls.clients.as_ref();
    let options = TlsOptions {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
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
        http2: !http.http2_disabled,
    };
    Tls::load(options).context("http.tls").map(Some)
}
