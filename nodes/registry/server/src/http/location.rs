//! Where clients are sent.

use roadstead_oci::{Digest, Name};

use super::Api;
use super::request::Call;
use crate::session::Ticket;

pub(super) fn of_blob(call: &Call, name: &Name, digest: &Digest) -> String {
    at(call, &format!("{name}/blobs/{digest}"))
}

pub(super) fn of_manifest(call: &Call, name: &Name, reference: &str) -> String {
    at(call, &format!("{name}/manifests/{reference}"))
}

/// Where an upload goes on, with the state that says so.
pub(super) fn of_upload(api: &Api, call: &Call, ticket: &Ticket) -> String {
    let (name, id) = (&ticket.origin.repository, ticket.origin.session);
    // Base64url with padding: of its characters, only the equals sign means something in a query.
    let state = api.registry.sign(ticket).replace('=', "%3D");
    at(call, &format!("{name}/blobs/uploads/{id}?_state={state}"))
}

/// Where others than the client find something: with scheme and host, also where clients are sent to paths.
pub(super) fn told_of(call: &Call, path: &str) -> String {
    let base = match &call.via.host {
        Some(host) if call.base.is_empty() => format!("{}://{host}", call.via.scheme),
        _ => call.base.clone(),
    };
    format!("{base}{}v2/{path}", call.prefix)
}

fn at(call: &Call, path: &str) -> String {
    format!("{}{}v2/{path}", call.base, call.prefix)
}
