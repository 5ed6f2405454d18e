//! Switching over, and back: one directory, served in turn by Roadstead and by the reference (Debian's docker-registry).

mod collect;
mod layout;
mod stock;
mod switch;

use roadstead_tests::{Kind, Registry};

/// Stops it before the directory changes hands. Roadstead drains and says so; the reference ends by the signal.
#[track_caller]
fn leave(registry: &mut Registry) {
    let status = registry.stop();
    assert!(
        status.success() || registry.kind() == Kind::Reference,
        "{status}"
    );
}
