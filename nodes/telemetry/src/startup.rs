//! The lines of a start that people and scripts look for, in the reference's words.

use std::fmt::Display;
use std::time::Duration;

use crate::clock::GoDuration;

/// `http.secret` is not set: this process made one up, which no other knows.
pub fn secret_made_up() {
    tracing::warn!(
        "No HTTP secret provided - generated random secret. This may cause problems with uploads if multiple registries \
         are behind a load-balancer. To provide a shared secret, fill in http.secret in the configuration file or set \
         the REGISTRY_HTTP_SECRET environment variable."
    );
}

/// There is no Redis in the configuration.
pub fn no_redis() {
    tracing::info!("redis not configured");
}

/// Descriptors of blobs are cached: `inmemory` or `redis`.
pub fn descriptor_cache(kind: &str) {
    tracing::info!("using {kind} blob descriptor cache");
}

/// Abandoned uploads are purged from now on, first after `delay`.
pub fn upload_purge_in(delay: Duration) {
    tracing::info!("Starting upload purge in {}", GoDuration(delay));
}

/// Connections are accepted.
pub fn listening(address: &dyn Display, tls: bool) {
    let suffix = if tls { ", tls" } else { "" };
    tracing::info!("listening on {address}{suffix}");
}

/// The server of `http.debug.addr` accepts connections.
pub fn debug_listening(address: &dyn Display) {
    tracing::info!("debug server listening {address}");
}

/// Metrics are served under this path.
pub fn metrics_on(path: &str) {
    tracing::info!("providing prometheus metrics on {path}");
}
