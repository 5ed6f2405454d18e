//! A node that sleeps while it pushes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use roadstead_metadata::{
    Elapsed, Fingerprint, Hearing, Home, Joining, LEASE, Local, Membership, Metadata, NodeId,
    system_clock,
};
use roadstead_storage::{Driver, Memory, Metered};

use super::*;
use crate::Options;

/// A node whose every call to the store takes longer than a lease, once it sleeps.
async fn node(sleeps: &Arc<AtomicBool>) -> Registry {
    let seconds = Arc::new(AtomicU64::new(100));
    let (clock, sleeping) = (Arc::clone(&seconds), Arc::clone(sleeps));
    let meter = Arc::new(move |_driver, _action, _took| {
        if sleeping.load(Ordering::Relaxed) {
            clock.fetch_add(LEASE.as_secs(), Ordering::Relaxed);
        }
    });
    let elapsed: Elapsed = Arc::new(move || Duration::from_secs(seconds.load(Ordering::Relaxed)));
    let driver: Arc<dyn Driver> = Arc::new(Metered::new(Arc::new(Memory::new()), meter));
    let metadata: Arc<dyn Metadata> = Arc::new(Local::open(Home::Memory, system_clock()).unwrap());
    let joining = Joining {
        address: "a:1".to_owned(),
        version: "1".to_owned(),
        fingerprint: Fingerprint {
            store: "memory".to_owned(),
            secret: None,
            authentication: "none".to_owned(),
            redis: None,
        },
    };
    let joined = Membership::join(
        Arc::clone(&metadata),
        NodeId([1; 16]),
        joining,
        elapsed,
        Hearing::default(),
    );
    let lease = joined.await.unwrap().lease();
    driver.begin_epoch(lease.epoch().unwrap()).await.unwrap();
    let registry = Registry::build(driver, metadata, Options::default()).await;
    registry.unwrap().with_lease(lease)
}

#[tokio::test]
async fn a_node_that_slept_moves_no_tag() {
    let sleeps = Arc::new(AtomicBool::new(false));
    let registry = node(&sleeps).await;
    let (name, tag): (Name, Tag) = ("team/app".parse().unwrap(), "v1".parse().unwrap());
    let reference = Reference::Tag(tag.clone());
    let push = |annotation: &str| {
        let bytes = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{{"a":"{annotation}"}}}}"#
        );
        registry.put_manifest(Push {
            name: &name,
            reference: &reference,
            tags: Vec::new(),
            content_type: None,
            bytes: Bytes::from(bytes),
        })
    };
    let first = push("first").await.unwrap().digest;
    sleeps.store(true, Ordering::Relaxed);
    let refused = push("late").await.unwrap_err();
    assert!(matches!(refused, Error::Metadata(_)), "{refused}");
    let current = registry.follow(&layout::tag_current(&name, &tag)).await;
    assert_eq!(current.unwrap(), Some(first));
}
