//! A store that is slow, or out of reach for a while.

use roadstead_tests::{Image, Link, Options, Registry, Seaweed, Weather, seaweed, wait_until};

use super::SOON;

#[test]
fn a_store_that_fails_costs_time_and_nothing_else() {
    let seaweed = Seaweed::start();
    let link = Link::to(seaweed.addr());
    let storage = seaweed::storage(&link.addr().to_string(), "faults");
    let health = "health: {storagedriver: {enabled: true, interval: 1s, threshold: 1}}";
    let registry = Registry::roadstead(Options::default().storage(storage).yaml(health));
    let (image, other) = (Image::new(1).layers(2).build(), Image::new(2).build());
    let repository = registry.repository("faults");
    repository.push("v1", &image);

    for (status, code) in [(503, "SlowDown"), (500, "InternalError")] {
        link.set(Weather::Refused(3, status, code));
        repository.assert_serves("v1", &image);
        assert_eq!(
            link.weather(),
            Weather::Fair,
            "all were refused and tried again"
        );
        link.set(Weather::Refused(3, status, code));
        repository.push(code, &image);
        assert_eq!(link.weather(), Weather::Fair);
    }

    link.set(Weather::Down);
    let layer = &image.blobs()[1];
    let pull = repository.blob(&layer.digest).expect_status(503);
    assert_eq!(pull.codes(), ["UNAVAILABLE"]);
    assert!(pull.header("retry-after").is_some());
    let manifest = repository.manifest("v1").expect_status(503);
    assert_eq!(manifest.codes(), ["UNAVAILABLE"]);
    let push = repository.push_blob(b"pushed", &other.blobs()[0].digest);
    assert_eq!(push.expect_status(503).codes(), ["UNAVAILABLE"]);
    wait_until("the health check fails", SOON, || {
        registry.client().get("/readyz").status == 503
    });
    registry.client().get("/livez").expect_status(200);

    link.set(Weather::Fair);
    wait_until("pushes are taken again", SOON, || {
        let blob = &other.blobs()[0];
        repository.push_blob(&blob.bytes, &blob.digest).status == 201
    });
    repository.push("back", &other);
    repository.assert_serves("back", &other);
    repository.assert_serves("v1", &image);
    wait_until("the health check passes", SOON, || {
        registry.client().get("/readyz").status == 200
    });
}
