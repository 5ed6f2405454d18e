//! The registry's side of the OCI distribution specification, row by row.
//!
//! Rows are numbered as in the table that the tests were written from; each test names those that it shows. Not shown
//! here, because there is nothing to see: O15 (there is no minimum length of a chunk), O35 (`ns` is not used), O38 (clients
//! are not limited), O39 (no warnings are sent), O40 (this storage does not redirect).

mod blobs;
mod chunks;
mod deletion;
mod errors;
mod listings;
mod manifests;
mod nonsense;
mod referrers;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Answer, Options, Registry, Repository};

fn registry() -> Registry {
    Registry::roadstead(Options::default())
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Pushes a blob in one request.
#[track_caller]
fn push(repository: &Repository, bytes: &[u8]) -> Digest {
    let digest = sha256(bytes);
    repository.push_blob(bytes, &digest).expect_status(201);
    digest
}

/// A refusal: its status, and the code of its one error, in the form of the specification.
#[track_caller]
fn is_refused(answer: Answer, status: u16, code: &str) -> Answer {
    let answer = answer.expect_status(status);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.codes(), [code], "{}", answer.text());
    assert_eq!(
        answer.header("docker-distribution-api-version"),
        Some("registry/2.0")
    );
    answer
}
