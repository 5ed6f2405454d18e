use proptest::prelude::*;
use roadstead_oci::Algorithm;

use super::*;

fn key(number: u32) -> Key {
    let name = format!("team/app-{number}").parse().expect("a name");
    Key::blob(&name, &Digest::of(Algorithm::CANONICAL, b"a blob"))
}

fn memory() -> Memory {
    Memory::new(Some(Descriptors::default()), 1 << 20, true)
}

fn seven() -> Descriptor {
    Descriptor::of_blob(7)
}

#[test]
fn what_was_learnt_is_known() {
    let (memory, key) = (memory(), key(1));
    assert_eq!(memory.get(&key), None);
    assert!(memory.learn(memory.begin(), &key, &seven()));
    assert_eq!(memory.get(&key), Some(seven()));
    let stats = memory.stats();
    assert_eq!((stats.hits, stats.misses, stats.descriptors), (1, 1, 1));
}

#[test]
fn a_blob_and_a_manifest_of_one_digest_are_two_things() {
    let (memory, blob) = (memory(), key(1));
    assert!(memory.learn(memory.begin(), &blob, &seven()));
    assert_eq!(memory.get(&Key::manifest(&blob.name, &blob.digest)), None);
}

#[test]
fn an_answer_from_before_a_removal_is_not_believed() {
    let (memory, key) = (memory(), key(1));
    let before = memory.begin();
    memory.begin_removal(&key);
    let during = memory.begin();
    assert!(!memory.learn(during, &key, &seven()), "while it is removed");
    memory.end_removal(&key);
    assert!(!memory.learn(before, &key, &seven()));
    assert!(!memory.learn(during, &key, &seven()));
    assert_eq!(memory.get(&key), None);
    assert!(memory.learn(memory.begin(), &key, &seven()), "pushed again");
}

#[test]
fn of_two_removals_the_last_one_ends_it() {
    let (memory, key) = (memory(), key(1));
    memory.begin_removal(&key);
    memory.begin_removal(&key);
    memory.end_removal(&key);
    assert!(!memory.may_learn(memory.begin(), &key));
    memory.end_removal(&key);
    assert!(memory.may_learn(memory.begin(), &key));
}

#[test]
fn without_trust_nothing_is_known_and_nothing_is_kept_for_later() {
    let (memory, key) = (memory(), key(1));
    let ticket = memory.begin();
    assert!(memory.learn(ticket, &key, &seven()));
    memory.trust(false);
    assert_eq!(memory.get(&key), None);
    let untrusted = memory.begin();
    assert!(!memory.learn(untrusted, &key, &seven()));
    memory.trust(true);
    assert_eq!(memory.get(&key), None, "from before");
    assert!(!memory.learn(ticket, &key, &seven()));
    assert!(!memory.learn(untrusted, &key, &seven()));
    assert!(memory.learn(memory.begin(), &key, &seven()));
}

#[test]
fn forgetting_all_makes_every_older_answer_void() {
    let (memory, key) = (memory(), key(1));
    let before = memory.begin();
    memory.forget_all();
    assert!(!memory.learn(before, &key, &seven()));
}

#[test]
fn manifests_are_bounded_in_bytes_and_need_no_trust() {
    let memory = Memory::new(None, 64 << 10, false);
    let manifests: Vec<Bytes> = (0..100_u8).map(|n| vec![n; 4000].into()).collect();
    let digest = |bytes: &Bytes| Digest::of(Algorithm::CANONICAL, bytes);
    for bytes in &manifests {
        memory.keep_manifest(&digest(bytes), bytes);
        let stats = memory.stats();
        assert!(stats.manifest_bytes <= 64 << 10, "{stats:?}");
    }
    assert_eq!(memory.manifest(&digest(&manifests[0])), None);
    assert_eq!(
        memory.manifest(&digest(&manifests[99])).as_ref(),
        Some(&manifests[99])
    );
    assert!(memory.stats().evictions > 80);
}

#[test]
fn without_descriptors_none_is_kept() {
    let (memory, key) = (Memory::new(None, 0, true), key(1));
    assert!(memory.learn(memory.begin(), &key, &seven()));
    assert_eq!(memory.get(&key), None);
}

/// One step of several requests that go on at the same time.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A reader takes a ticket and asks the store.
    Ask {
        reader: usize,
        key: u32,
    },
    /// It tells what the store said.
    Learn {
        reader: usize,
    },
    BeginRemoval {
        key: u32,
    },
    /// The store removes it.
    Remove {
        key: u32,
    },
    EndRemoval {
        key: u32,
    },
    Push {
        key: u32,
    },
    Trust(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (key, reader) = (0_u32..3, 0_usize..3);
    let step = prop_oneof![
        (reader.clone(), key.clone()).prop_map(|(reader, key)| Step::Ask { reader, key }),
        reader.prop_map(|reader| Step::Learn { reader }),
        key.clone().prop_map(|key| Step::BeginRemoval { key }),
        key.clone().prop_map(|key| Step::Remove { key }),
        key.clone().prop_map(|key| Step::EndRemoval { key }),
        key.prop_map(|key| Step::Push { key }),
        any::<bool>().prop_map(Step::Trust),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Readers, pushes and removals in any order: whatever is known while nothing is being removed is in the store.
    #[test]
    fn what_is_known_is_there(steps in steps()) {
        let memory = memory();
        let mut stored = [false; 3];
        let mut removing = [0_u32; 3];
        let mut asked: [Option<(Ticket, u32, bool)>; 3] = [None; 3];
        let at = |key: u32| key as usize;
        for step in steps {
            match step {
                Step::Ask { reader, key } => {
                    asked[reader] = Some((memory.begin(), key, stored[at(key)]));
                }
                Step::Learn { reader } => {
                    if let Some((ticket, number, true)) = asked[reader].take() {
                        memory.learn(ticket, &key(number), &seven());
                    }
                }
                Step::BeginRemoval { key: number } => {
                    removing[at(number)] += 1;
                    memory.begin_removal(&key(number));
                }
                // Only whoever announced it removes.
                Step::Remove { key } if removing[at(key)] > 0 => stored[at(key)] = false,
                Step::EndRemoval { key: number } if removing[at(number)] > 0 => {
                    removing[at(number)] -= 1;
                    memory.end_removal(&key(number));
                }
                Step::Remove { .. } | Step::EndRemoval { .. } => {}
                Step::Push { key } => stored[at(key)] = true,
                Step::Trust(trusted) => memory.trust(trusted),
            }
            for number in 0..3 {
                if memory.get(&key(number)).is_some() {
                    prop_assert!(stored[at(number)], "{number} is known and not there");
                }
            }
        }
    }
}
