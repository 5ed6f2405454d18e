//! Endpoints are told what was collected.

use std::collections::BTreeSet;

use roadstead_tests::{Image, Options, Registry};

use super::GC;
use crate::operations::Receiver;

#[test]
fn endpoints_are_told_what_a_repository_has_no_more() {
    let receiver = Receiver::start();
    let yaml = format!("{GC}{}", receiver.is_told());
    let registry = Registry::roadstead(Options::default().yaml(&yaml));
    let repository = registry.repository("told/of");
    let image = Image::new(75).layers(2).build();
    repository.push("v1", &image);
    repository.delete_manifest("v1").expect_status(202);
    let mut left: BTreeSet<String> = image.documents().map(|it| it.digest.to_string()).collect();
    let mut of_requests = 0;
    while !left.is_empty() {
        let event = receiver.next();
        let (target, request) = (&event["target"], &event["request"]);
        if request["id"] != "" {
            of_requests += 1;
            continue;
        }
        assert_eq!(event["action"], "delete", "{event:#}");
        assert_eq!(target["repository"], "told/of", "{event:#}");
        let digest = target["digest"].as_str().expect("a digest");
        assert!(left.remove(digest), "once: {event:#}");
    }
    assert!(of_requests > 0, "pushes are told as ever");
}
