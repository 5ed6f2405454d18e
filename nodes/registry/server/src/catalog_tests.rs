//! One order, and pages that add up, whatever the names.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use roadstead_metadata::{Home, Local, system_clock};
use roadstead_storage::{Driver as _, Memory, Put};

use super::*;
use crate::Options;

async fn registry_with(names: &BTreeSet<Name>) -> Registry {
    let store = Memory::new();
    let links = names.iter().map(|name| Put {
        path: layout::revisions(name).join("x").unwrap(),
        content: "".into(),
    });
    store.put(links.collect()).await.unwrap();
    let metadata = Arc::new(Local::open(Home::Memory, system_clock()).unwrap());
    Registry::build(Arc::new(store), metadata, Options::default())
        .await
        .unwrap()
}

fn any_name() -> impl Strategy<Value = Name> {
    "[ab0]([-._]?[ab]){0,2}(/[ab]([-.]?[b])?){0,2}".prop_map(|name| name.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_of_any_size_hold_every_repository_once_and_in_order(
        names in prop::collection::btree_set(any_name(), 0..25),
        limit in 1..8_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let registry = registry_with(&names).await;
            let (mut all, mut last) = (Vec::new(), String::new());
            loop {
                let page = registry.catalog(&last, limit, &|_| true).await.unwrap();
                all.extend(page.items.iter().cloned());
                let Some(end) = page.items.last() else { break };
                last = end.to_string();
                if !page.more {
                    break;
                }
                assert_eq!(page.items.len(), limit);
            }
            assert_eq!(all, names.into_iter().collect::<Vec<_>>());
        });
    }
}
