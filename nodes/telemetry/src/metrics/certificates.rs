//! `roadstead_certificate_*`: when certificates expire, and how the ordering of new ones goes.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{CertificateLabels, Escaped};

#[derive(Debug)]
pub(super) struct Certificates {
    expiry: Family<CertificateLabels, Gauge>,
    issued: Counter,
    failed: Counter,
}

impl Certificates {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let this = Self {
            expiry: Family::default(),
            issued: Counter::default(),
            failed: Counter::default(),
        };
        registry.register(
            "roadstead_certificate_expiry_timestamp_seconds",
            "When a certificate expires, in seconds since the unix epoch",
            this.expiry.clone(),
        );
        registry.register(
            "roadstead_certificate_issued",
            "Certificates that this process has had issued by ACME",
            this.issued.clone(),
        );
        registry.register(
            "roadstead_certificate_failures",
            "Tries of this process to have one issued that failed",
            this.failed.clone(),
        );
        this
    }

    pub(super) fn expires(&self, name: &str, at: SystemTime) {
        let labels = CertificateLabels {
            certificate: Escaped::new(name),
        };
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        self.expiry.get_or_create(&labels).set(seconds);
    }

    pub(super) fn ordered(&self, well: bool) {
        if well { &self.issued } else { &self.failed }.inc();
    }
}
