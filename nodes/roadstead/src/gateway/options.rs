//! From a configuration to the gateway's own options.

use std::path::Path;

use anyhow::{Context as _, Result};
use roadstead_config::{
    Config, Expect as ConfigExpect, Gateway as Settings, ProxyVersion as ConfigVersion, Upstream,
};
use roadstead_gateway::{
    ClientTls, Dial, Expect, HealthOptions, Limits, Options, Place, ProxyVersion, Retries, Timeouts,
};

use crate::wiring;

pub(super) fn of(config: &Config, settings: &Settings) -> Result<Options> {
    let Settings {
        health,
        timeouts,
        retries,
        limits,
        ..
    } = settings;
    Ok(Options {
        prefix: config.http.prefix.clone(),
        trusted_proxies: config.proxies.trusted.clone(),
        manifest_size: usize::try_from(config.limits.manifest_size)?,
        body_idle: config.limits.body_idle,
        refuse_ancient: settings.refuse_ancient,
        health: HealthOptions {
            expect: match health.expect {
                ConfigExpect::Auto => None,
                ConfigExpect::Unauthorized => Some(Expect::Unauthorized),
                ConfigExpect::Ok => Some(Expect::Ok),
            },
            interval: health.interval,
            timeout: health.timeout,
            rise: health.rise,
            fall: health.fall,
            slow_start: health.slow_start,
        },
        timeouts: Timeouts {
            answer: timeouts.answer,
            commit: timeouts.commit,
            idle: timeouts.idle,
            patience: timeouts.patience,
        },
        retries: Retries {
            tries: retries.tries,
            percent: retries.percent,
            reserve: retries.reserve,
        },
        limits: Limits {
            requests: usize::try_from(limits.requests)?,
            per_node: usize::try_from(limits.per_node)?,
            chunk: usize::try_from(limits.chunk)?,
            memory: usize::try_from(limits.memory)?,
        },
        receipts: wiring::receipts(config),
    })
}

pub(super) fn places(settings: &Settings) -> Vec<Place> {
    let place = |upstream: &Upstream| match upstream.clone() {
        Upstream::Node { host, port } => Place::Node { host, port },
        Upstream::Addresses { host, port } => Place::Addresses { host, port },
        Upstream::Services(name) => Place::Services(name),
    };
    settings.upstreams.iter().map(place).collect()
}

/// Reads the files of TLS to the nodes. Blocks.
pub(super) fn dial(settings: &Settings) -> Result<Dial> {
    let tls = settings.upstream_tls.as_ref().map(|tls| {
        let identity = tls.identity.as_ref();
        let identity = identity.map(|(chain, key)| (chain.as_path(), key.as_path()));
        let ca: &Path = &tls.ca;
        let alpn = if settings.upstream_http2 {
            "h2"
        } else {
            "http/1.1"
        };
        ClientTls::load(ca, identity, tls.name.clone(), alpn).context("gateway.upstreamtls")
    });
    Ok(Dial {
        connect_within: settings.timeouts.connect,
        tls: tls.transpose()?,
        http2: settings.upstream_http2,
        proxy: settings.proxy_protocol.send.map(|version| match version {
            ConfigVersion::V1 => ProxyVersion::V1,
            ConfigVersion::V2 => ProxyVersion::V2,
        }),
    })
}
