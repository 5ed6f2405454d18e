//! `notifications`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use roadstead_config::{Endpoint, EventAction, Notifications};
use roadstead_events::{Action, EndpointOptions, Events, Home, Limits, Options, Service};

/// Opens the queues, in the file if there is one. Blocks.
pub(crate) fn build(
    notifications: &Notifications,
    file: Option<PathBuf>,
) -> Result<(Service, Events)> {
    let home = file.map_or(Home::Memory, Home::File);
    let options = Options {
        endpoints: notifications.endpoints.iter().map(endpoint).collect(),
        home,
        limits: Limits::default(),
    };
    Ok(options.build()?)
}

fn endpoint(endpoint: &Endpoint) -> EndpointOptions {
    let exposed = |(name, values): &(String, Vec<roadstead_config::Secret>)| {
        let values = values.iter().map(|value| value.expose().to_owned());
        (name.clone(), values.collect())
    };
    let action = |action: &EventAction| {
        let action = match action {
            EventAction::Pull => Action::Pull,
            EventAction::Push => Action::Push,
            EventAction::Mount => Action::Mount,
            EventAction::Delete => Action::Delete,
        };
        action.as_str().to_owned()
    };
    EndpointOptions {
        name: endpoint.name.clone(),
        disabled: false,
        url: endpoint.url.as_str().to_owned(),
        headers: endpoint
            .headers
            .iter()
            .map(exposed)
            .collect::<BTreeMap<_, _>>(),
        timeout: endpoint.timeout,
        threshold: endpoint.threshold,
        backoff: endpoint.backoff,
        ignored_media_types: endpoint.ignored_media_types.clone(),
        ignored_actions: endpoint.ignored_actions.iter().map(action).collect(),
    }
}
