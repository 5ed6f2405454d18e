//! What a configuration can ask for, and this binary does not do yet.

use roadstead_config::{Config, Notifications};

/// What can be left out, with a warning that names it.
pub(crate) fn without_effect(config: &Config) -> Option<&'static str> {
    (config.notifications != Notifications::default())
        .then_some("notifications: right, and without effect in this version yet")
}
