//! `health`: what is looked at.

use std::sync::Arc;
use std::time::Duration;

use roadstead_config::{Health, HttpCheck, Rhythm};
use roadstead_registry::health::{Check, Look, file, storage, tcp, within};
use roadstead_storage::Driver;
use ureq::tls::{RootCerts, TlsConfig};

/// The checks that a configuration asks for.
pub(crate) fn of(health: &Health, store: Arc<dyn Driver>) -> Vec<Check> {
    let check = |name: String, rhythm: Rhythm, look: Look| Check {
        name,
        interval: rhythm.interval,
        threshold: rhythm.threshold,
        look,
    };
    let mut checks = Vec::new();
    if let Some(rhythm) = health.storage_driver {
        let (name, look) = storage(store);
        checks.push(check(name, rhythm, look));
    }
    checks.extend(health.files.iter().map(|asked| {
        let name = asked.file.display().to_string();
        check(name, asked.rhythm, file(asked.file.clone()))
    }));
    checks.extend(health.tcp.iter().map(|asked| {
        // Without a host, this machine.
        let host = asked.addr.host.as_deref().unwrap_or("localhost");
        let addr = format!("{host}:{}", asked.addr.port);
        let look = tcp(addr, Some(asked.timeout));
        check(asked.addr.to_string(), asked.rhythm, look)
    }));
    checks.extend(health.http.iter().map(|asked| {
        let name = asked.uri.to_string();
        check(name, asked.rhythm, http(asked))
    }));
    checks
}

/// Whether a URL answers HEAD with the right status (`health.http`). Redirects are not followed: a status is asked for.
fn http(asked: &HttpCheck) -> Look {
    let agent = agent(asked.timeout);
    let asked = Arc::new(asked.clone());
    Box::new(move || {
        let (agent, asked) = (agent.clone(), Arc::clone(&asked));
        // The agent keeps its own time; this one is for a thread that is not to be had.
        let limit = asked.timeout.saturating_add(Duration::from_secs(5));
        within(limit, async move {
            let looked = tokio::task::spawn_blocking(move || head(&agent, &asked)).await;
            looked.unwrap_or_else(|error| Err(error.to_string()))
        })
    })
}

/// Asks for a status within a time. Redirects are not followed.
pub(crate) fn agent(timeout: Duration) -> ureq::Agent {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        // The environment is the configuration's to read.
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(timeout))
        .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

fn head(agent: &ureq::Agent, asked: &HttpCheck) -> Result<(), String> {
    let mut request = agent.head(asked.uri.as_str());
    for (name, values) in &asked.headers {
        for value in values {
            request = request.header(name, value.expose());
        }
    }
    let answer = request.call().map_err(|error| match error {
        // It may repeat the URL, and that may hold a password.
        ureq::Error::BadUri(_) => "not a URL that can be asked".to_owned(),
        error => error.to_string(),
    })?;
    let status = answer.status().as_u16();
    if status == asked.status {
        return Ok(());
    }
    Err(format!("the status is {status}, not {}", asked.status))
}
