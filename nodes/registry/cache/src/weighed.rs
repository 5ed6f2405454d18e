//! A map that is bounded in bytes, and forgets what was not used for longest.

use std::hash::Hash;

use lru::LruCache;

/// What an entry costs beside its content: its place in the table, two links, the heads of its allocations.
const OVERHEAD: usize = 192;

#[derive(Debug)]
pub(crate) struct Weighed<K: Hash + Eq, V> {
    entries: LruCache<K, (V, usize)>,
    weight: usize,
    limit: usize,
    count: usize,
    evicted: u64,
}

impl<K: Hash + Eq, V> Weighed<K, V> {
    /// At most this many bytes, and this many entries.
    pub(crate) fn new(limit: usize, count: Option<usize>) -> Self {
        Self {
            entries: LruCache::unbounded(),
            weight: 0,
            limit,
            count: count.unwrap_or(usize::MAX),
            evicted: 0,
        }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    /// `weight` is that of key and value. What is heavier than a quarter of the limit is not taken: it would drive out
    /// too much.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: usize) {
        let weight = weight.saturating_add(OVERHEAD);
        self.remove(&key);
        if weight > self.limit / 4 {
            return;
        }
        self.entries.put(key, (value, weight));
        self.weight += weight;
        while self.weight > self.limit || self.entries.len() > self.count {
            let Some((_, (_, weight))) = self.entries.pop_lru() else {
                return;
            };
            self.weight -= weight;
            self.evicted += 1;
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((_, weight)) = self.entries.pop(key) {
            self.weight -= weight;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.weight = 0;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.weight
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut map = Weighed::new(4 * (OVERHEAD + 10), None);
        for key in 0..4 {
            map.insert(key, "v", 10);
        }
        assert_eq!(map.get(&0), Some(&"v"));
        map.insert(4, "v", 10);
        assert_eq!(map.get(&1), None, "the one that nobody used");
        assert_eq!(map.get(&0), Some(&"v"));
        assert_eq!(map.evicted(), 1);
    }

    #[test]
    fn what_is_too_heavy_is_not_taken_and_its_predecessor_goes() {
        let mut map = Weighed::new(4 * (OVERHEAD + 10), None);
        map.insert(1, "light", 10);
        map.insert(1, "heavy", 11);
        assert_eq!(map.get(&1), None);
        assert_eq!(map.bytes(), 0);
    }

    #[test]
    fn entries_can_be_counted_too() {
        let mut map = Weighed::new(usize::MAX, Some(2));
        for key in 0..3 {
            map.insert(key, (), 0);
        }
        assert_eq!(map.get(&0), None);
        assert_eq!(map.len(), 2);
    }

    proptest! {
        #[test]
        fn the_weight_is_that_of_what_is_there(
            steps in proptest::collection::vec((0_u8..20, 0_usize..400, any::<bool>()), 0..200)
        ) {
            let mut map = Weighed::new(8 * OVERHEAD, None);
            for (key, weight, put) in steps {
                if put {
                    map.insert(key, weight, weight);
                } else {
                    map.remove(&key);
                }
                let held: usize = map.entries.iter().map(|(_, (_, weight))| *weight).sum();
                prop_assert_eq!(held, map.bytes());
                prop_assert!(map.bytes() <= 8 * OVERHEAD);
            }
        }
    }
}
