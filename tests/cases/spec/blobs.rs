//! Blobs: pushed in one request or two, mounted, pulled whole or in part, by either algorithm.

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::image::noise;

use super::{is_refused, push, registry, sha256};

/// O12, O13, O4, O6, O7: one request makes a blob; where it says that it lies, it does.
#[test]
fn a_blob_is_pushed_in_one_request_and_pulled_from_where_it_lies() {
    let registry = registry();
    let bytes = noise(1, 10_000);
    let digest = sha256(&bytes);
    let path = format!("/v2/one/request/blobs/uploads/?digest={digest}");
    let created = registry
        .client()
        .call("POST", &path)
        .body(bytes.clone())
        .send()
        .expect_status(201);
    assert_eq!(
        created.header("docker-content-digest"),
        Some(digest.to_string().as_str())
    );
    let pulled = registry.client().get(created.location()).expect_status(200);
    assert!(pulled.body == bytes);
    assert_eq!(
        pulled.header("docker-content-digest"),
        Some(digest.to_string().as_str())
    );
    assert_eq!(pulled.header("content-length"), Some("10000"));
    assert_eq!(
        pulled.header("content-type"),
        Some("application/octet-stream")
    );
    let head = registry
        .client()
        .head(created.location())
        .expect_status(200);
    assert_eq!(
        head.header("docker-content-digest"),
        Some(digest.to_string().as_str())
    );
    assert_eq!(head.header("content-length"), Some("10000"));
    assert!(head.body.is_empty());
}

/// O6, O7: absent blobs, also in repositories that do not exist.
#[test]
fn what_is_not_there_is_404() {
    let registry = registry();
    push(&registry.repository("some"), b"blob");
    let absent = sha256(b"absent");
    for name in ["some", "no/where"] {
        is_refused(registry.repository(name).blob(&absent), 404, "BLOB_UNKNOWN");
        registry
            .client()
            .head(&format!("/v2/{name}/blobs/{absent}"))
            .expect_status(404);
    }
    is_refused(
        registry.repository("other").blob(&sha256(b"blob")),
        404,
        "BLOB_UNKNOWN",
    );
}

/// O10: content that is not what its digest says is refused, and the session is over; a malformed digest leaves it.
#[test]
fn a_wrong_digest_is_refused_in_every_way_of_pushing() {
    let registry = registry();
    let repository = registry.repository("wrong");
    let wrong = sha256(b"something else");
    let whole = registry
        .client()
        .call(
            "POST",
            &repository.path(&format!("blobs/uploads/?digest={wrong}")),
        )
        .body("x")
        .send();
    is_refused(whole, 400, "DIGEST_INVALID");
    is_refused(repository.push_blob(b"x", &wrong), 400, "DIGEST_INVALID");
    let session = repository.open_upload();
    let session = repository
        .patch(&session, b"x")
        .expect_status(202)
        .location()
        .to_owned();
    for malformed in [
        "",
        "&digest=",
        "&digest=sha256:abc",
        "&digest=md5:d41d8cd98f00b204e9800998ecf8427e",
    ] {
        let answer = registry
            .client()
            .call("PUT", &format!("{session}{malformed}"))
            .send();
        is_refused(answer, 400, "DIGEST_INVALID");
    }
    is_refused(
        repository.close_upload(&session, b"", &wrong),
        400,
        "DIGEST_INVALID",
    );
    is_refused(
        repository.close_upload(&session, b"", &sha256(b"x")),
        404,
        "BLOB_UPLOAD_UNKNOWN",
    );
    is_refused(repository.blob(&wrong), 404, "BLOB_UNKNOWN");
}

/// O6: ranges, and RFC 9110's conditions on them.
#[test]
fn parts_of_a_blob_and_conditions() {
    let registry = registry();
    let bytes = noise(1, 1000);
    let digest = push(&registry.repository("range"), &bytes);
    let path = format!("/v2/range/blobs/{digest}");
    let get = |headers: &[(&str, &str)]| {
        headers
            .iter()
            .fold(
                registry.client().call("GET", &path),
                |call, (name, value)| call.header(name, value),
            )
            .send()
    };
    let parts = [
        ("bytes=0-0", 0..1),
        ("bytes=10-19", 10..20),
        ("bytes=990-", 990..1000),
        ("bytes=-5", 995..1000),
        ("bytes=500-9999", 500..1000),
    ];
    for (range, part) in parts {
        let answer = get(&[("range", range)]).expect_status(206);
        assert_eq!(answer.body, bytes[part.clone()], "{range}");
        let expected = format!("bytes {}-{}/1000", part.start, part.end - 1);
        assert_eq!(answer.header("content-range"), Some(expected.as_str()));
    }
    for range in ["bytes=1000-", "bytes=-0", "bytes=5-2", "bytes=x"] {
        let answer = is_refused(get(&[("range", range)]), 416, "RANGE_INVALID");
        assert_eq!(
            answer.header("content-range"),
            Some("bytes */1000"),
            "{range}"
        );
    }
    assert_eq!(
        get(&[("range", "bytes=0-1,5-6")]).expect_status(200).body,
        bytes,
        "several ranges are served whole"
    );
    let etag = format!("\"{digest}\"");
    get(&[("if-none-match", &etag)]).expect_status(304);
    get(&[("if-none-match", &digest.to_string())]).expect_status(304);
    get(&[("if-none-match", "\"other\"")]).expect_status(200);
    get(&[("range", "bytes=0-1"), ("if-range", &etag)]).expect_status(206);
    get(&[("range", "bytes=0-1"), ("if-range", "\"other\"")]).expect_status(200);
}

/// O14, O41: sha512 in one request, in two, in chunks that were announced, and in chunks that were not.
#[test]
fn sha512_in_every_way_of_pushing() {
    let registry = registry();
    let repository = registry.repository("sha512");
    let blob = |seed| {
        let bytes = noise(seed, 5000);
        (Digest::of(Algorithm::Sha512, &bytes), bytes)
    };
    let (digest, bytes) = blob(1);
    let path = repository.path(&format!("blobs/uploads/?digest={digest}"));
    registry
        .client()
        .call("POST", &path)
        .body(bytes.clone())
        .send()
        .expect_status(201);
    assert!(repository.blob(&digest).expect_status(200).body == bytes);
    let (digest, bytes) = blob(2);
    repository.push_blob(&bytes, &digest).expect_status(201);
    assert!(repository.blob(&digest).expect_status(200).body == bytes);
    for (seed, query) in [(3, "?digest-algorithm=sha512"), (4, "")] {
        let (digest, bytes) = blob(seed);
        let opened = registry
            .client()
            .post(&repository.path(&format!("blobs/uploads/{query}")))
            .expect_status(202);
        let chunked = repository
            .patch(opened.location(), &bytes[..3000])
            .expect_status(202);
        repository
            .close_upload(chunked.location(), &bytes[3000..], &digest)
            .expect_status(201);
        assert!(repository.blob(&digest).expect_status(200).body == bytes);
    }
    let odd = registry
        .client()
        .post(&repository.path("blobs/uploads/?digest-algorithm=md5"));
    is_refused(odd, 400, "DIGEST_INVALID");
}

/// O42: the empty blob is a blob.
#[test]
fn the_empty_blob() {
    let registry = registry();
    for algorithm in Algorithm::ALL {
        let digest = Digest::of(algorithm, b"");
        let repository = registry.repository("empty");
        repository.push_blob(b"", &digest).expect_status(201);
        assert_eq!(
            repository
                .blob(&digest)
                .expect_status(200)
                .header("content-length"),
            Some("0")
        );
    }
}

/// O21: mounting, from a repository that has it, from one that has not, and from wherever it is.
#[test]
fn blobs_are_mounted_without_being_sent() {
    let registry = registry();
    let bytes = noise(1, 3000);
    let digest = push(&registry.repository("mount/from"), &bytes);
    let mount = |to: &str, query: &str| {
        registry
            .client()
            .post(&format!("/v2/{to}/blobs/uploads/?mount={query}"))
    };
    let mounted = mount("mount/to", &format!("{digest}&from=mount/from")).expect_status(201);
    assert_eq!(
        mounted.header("docker-content-digest"),
        Some(digest.to_string().as_str())
    );
    assert!(
        registry
            .client()
            .get(mounted.location())
            .expect_status(200)
            .body
            == bytes
    );
    mount("mount/any", &digest.to_string()).expect_status(201);
    assert!(
        registry
            .repository("mount/any")
            .blob(&digest)
            .expect_status(200)
            .body
            == bytes
    );
    for query in [
        format!("{digest}&from=mount/empty"),
        format!("{}&from=mount/from", sha256(b"absent")),
        sha256(b"absent").to_string(),
    ] {
        let fallen_back = mount("mount/back", &query).expect_status(202);
        registry
            .repository("mount/back")
            .close_upload(fallen_back.location(), b"x", &sha256(b"x"))
            .expect_status(201);
    }
    is_refused(
        registry.repository("mount/back").blob(&digest),
        404,
        "BLOB_UNKNOWN",
    );
    is_refused(
        mount("mount/to", "sha256:nonsense&from=mount/from"),
        400,
        "DIGEST_INVALID",
    );
    is_refused(
        mount("mount/to", &format!("{digest}&from=NO")),
        400,
        "NAME_INVALID",
    );
}
