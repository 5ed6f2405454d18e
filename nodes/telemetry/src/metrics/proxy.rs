//! `registry_proxy_*`: what a mirror passes on.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::{Proxied, ProxiedLabels};

#[derive(Debug, Default)]
pub(crate) struct Proxy {
    requests: Family<ProxiedLabels, Counter>,
    hits: Family<ProxiedLabels, Counter>,
    misses: Family<ProxiedLabels, Counter>,
    pulled: Family<ProxiedLabels, Counter>,
    pushed: Family<ProxiedLabels, Counter>,
}

impl Proxy {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let proxy = Self::default();
        for (name, help, family) in [
            (
                "registry_proxy_requests",
                "The number of total incoming proxy request received",
                &proxy.requests,
            ),
            (
                "registry_proxy_hits",
                "The number of total proxy request hits",
                &proxy.hits,
            ),
            (
                "registry_proxy_misses",
                "The number of total proxy request misses",
                &proxy.misses,
            ),
            (
                "registry_proxy_pulled_bytes",
                "The size of total bytes pulled from the upstream",
                &proxy.pulled,
            ),
            (
                "registry_proxy_pushed_bytes",
                "The size of total bytes pushed to the client",
                &proxy.pushed,
            ),
        ] {
            // There from the start, as in the reference, so that a rate begins at zero.
            for what in [Proxied::Blob, Proxied::Manifest] {
                drop(family.get_or_create(&ProxiedLabels { r#type: what }));
            }
            registry.register(name, help, family.clone());
        }
        proxy
    }

    pub(crate) fn pulled(&self, what: Proxied, bytes: u64) {
        let labels = ProxiedLabels { r#type: what };
        self.misses.get_or_create(&labels).inc();
        self.pulled.get_or_create(&labels).inc_by(bytes);
    }

    pub(crate) fn pushed(&self, what: Proxied, bytes: u64, hit: bool) {
        let labels = ProxiedLabels { r#type: what };
        self.requests.get_or_create(&labels).inc();
        self.pushed.get_or_create(&labels).inc_by(bytes);
        if hit {
            self.hits.get_or_create(&labels).inc();
        }
    }
}
