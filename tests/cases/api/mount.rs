//! Mounting: a blob of one repository becomes another's without being sent.

use roadstead_tests::{Answer, Registry, image::noise};

use super::steps::{blob, has, refused, roadstead, session_of, sha256};

fn mount(registry: &Registry, to: &str, query: &str) -> Answer {
    let path = format!("/v2/{to}/blobs/uploads/?{query}");
    registry.client().post(&path)
}

/// O21
#[test]
fn a_blob_is_mounted_from_a_repository_that_has_it() {
    let mut registry = roadstead();
    let bytes = noise(1, 3000);
    let digest = blob(&registry.repository("mount/from"), &bytes);
    for query in [
        format!("mount={digest}&from=mount/from"),
        format!(
            "from=mount%2Ffrom&mount={}",
            digest.to_string().replace(':', "%3A")
        ),
    ] {
        let mounted = mount(&registry, "mount/to", &query).expect_status(201);
        assert!(mounted.body.is_empty());
        has(&mounted, "docker-content-digest", &digest.to_string());
        assert!(
            mounted
                .location()
                .ends_with(&format!("/v2/mount/to/blobs/{digest}"))
        );
        let pulled = registry.client().get(mounted.location());
        assert!(pulled.expect_status(200).body == bytes);
    }
    registry.restart();
    let kept = registry.repository("mount/to").blob(&digest);
    assert!(kept.expect_status(200).body == bytes);
}

/// O21, O41
#[test]
fn a_blob_is_mounted_from_wherever_it_is() {
    let registry = roadstead();
    let digest = blob(&registry.repository("some/where"), b"blob");
    let mounted = mount(&registry, "to", &format!("mount={digest}"));
    let mounted = mounted.expect_status(201);
    let pulled = registry.client().get(mounted.location());
    assert_eq!(pulled.expect_status(200).body, b"blob");
}

/// O21: whoever cannot mount is given a session, and sends the blob.
#[test]
fn what_cannot_be_mounted_is_uploaded() {
    let registry = roadstead();
    let there = blob(&registry.repository("from"), b"there");
    let absent = sha256(b"absent");
    for query in [
        format!("mount={absent}&from=from"),
        format!("mount={absent}&from=no/such"),
        format!("mount={there}&from=no/such"),
        format!("mount={absent}"),
    ] {
        let answer = mount(&registry, "to", &query).expect_status(202);
        has(&answer, "range", "0-0");
        assert!(session_of(answer.location()).contains("/v2/to/blobs/uploads/"));
        let repository = registry.repository("to");
        let closed = repository.close_upload(answer.location(), b"x", &sha256(b"x"));
        closed.expect_status(201);
        refused(repository.blob(&absent), 404, "BLOB_UNKNOWN");
        refused(repository.blob(&there), 404, "BLOB_UNKNOWN");
    }
}

/// O10, O21
#[test]
fn a_mount_of_nonsense_is_refused() {
    let registry = roadstead();
    let digest = blob(&registry.repository("from"), b"blob");
    for nonsense in [
        "",
        "sha256:x",
        "blob",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
    ] {
        let answer = mount(&registry, "to", &format!("mount={nonsense}&from=from"));
        refused(answer, 400, "DIGEST_INVALID");
    }
    for name in ["", "NO", "../from", "from/", "%00"] {
        let answer = mount(&registry, "to", &format!("mount={digest}&from={name}"));
        refused(answer, 400, "NAME_INVALID");
    }
}

/// O21: what was deleted from a repository cannot be mounted from it, though others may still have it.
#[test]
fn a_deleted_blob_is_not_mounted_from_where_it_was_deleted() {
    let registry = roadstead();
    let from = registry.repository("from");
    let digest = blob(&from, b"blob");
    mount(&registry, "kept", &format!("mount={digest}&from=from")).expect_status(201);
    from.delete_blob(&digest).expect_status(202);
    let query = format!("mount={digest}&from=from");
    mount(&registry, "to", &query).expect_status(202);
    registry.repository("kept").blob(&digest).expect_status(200);
    let query = format!("mount={digest}&from=kept");
    mount(&registry, "to", &query).expect_status(201);
}

/// A repository may ask for what it has.
#[test]
fn a_blob_is_mounted_onto_itself() {
    let registry = roadstead();
    let digest = blob(&registry.repository("same"), b"blob");
    let query = format!("mount={digest}&from=same");
    mount(&registry, "same", &query).expect_status(201);
    registry.repository("same").blob(&digest).expect_status(200);
}
