//! What a directory is filled with before it changes hands, and that it is all there afterwards.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_tests::{Client, Content, Document, Family, Image, Kind, Registry};

/// Images by repository and tag.
pub(super) struct Stock {
    tagged: BTreeMap<(&'static str, &'static str), Content>,
    referrers: Vec<(&'static str, Content)>,
}

impl Stock {
    /// Images of one and of many layers in both families, indexes, an index of indexes, and referrers; repositories
    /// that lie inside others, and tags that share an image. `seed` keeps one stock's bytes from another's.
    pub(super) fn new(seed: u64) -> Self {
        let image = |n: u64| Image::new(seed + n);
        let platforms = |n: u64, family: Family| {
            let child = |a: &str| image(n).family(family).architecture(a).build();
            Content::index(family, &[child("amd64"), child("arm64")])
        };
        let plain = image(0).layers(4).build();
        let index = platforms(1, Family::Oci);
        let nested = Content::index(Family::Oci, &[platforms(2, Family::Oci), image(3).build()]);
        let signature = |subject: &Document| {
            image(4)
                .layers(1)
                .layer_size(500)
                .artifact_type("application/vnd.example.signature")
                .annotation("org.example.signer", "someone")
                .subject(subject)
                .build()
        };
        let referrers = vec![
            ("library", signature(plain.root())),
            ("library/multi", signature(index.root())),
        ];
        let docker = image(5).family(Family::Docker).layers(3).build();
        let tagged = BTreeMap::from([
            (("library", "v1"), plain.clone()),
            (("library", "latest"), plain),
            (("library/multi", "v1"), index),
            (("library/multi/nested", "v1"), nested),
            (("a.b/c_d/e__f/g--h/0", "V_1.0-x"), docker),
            (("docker/list", "v1"), platforms(6, Family::Docker)),
            (("no/layers", "v1"), image(7).layers(0).build()),
        ]);
        Self { tagged, referrers }
    }

    pub(super) fn none() -> Self {
        Self {
            tagged: BTreeMap::new(),
            referrers: Vec::new(),
        }
    }

    pub(super) fn push(&self, registry: &Registry) {
        for ((name, tag), content) in &self.tagged {
            registry.repository(name).push(tag, content);
        }
        for (name, referrer) in &self.referrers {
            let digest = referrer.root().digest.to_string();
            registry.repository(name).push(&digest, referrer);
        }
    }

    /// Also served: `content`, pushed by the case itself.
    pub(super) fn add(&mut self, name: &'static str, tag: &'static str, content: Content) {
        self.tagged.insert((name, tag), content);
    }

    /// No longer served: the case deleted it.
    pub(super) fn remove(&mut self, name: &'static str, tag: &'static str) -> Content {
        self.tagged.remove(&(name, tag)).expect("what was added")
    }

    pub(super) fn get(&self, name: &'static str, tag: &'static str) -> &Content {
        &self.tagged[&(name, tag)]
    }

    /// Every manifest by tag and by digest, every blob, the tags of each repository and the catalog: all of it, byte
    /// for byte, and no tag or repository more.
    #[track_caller]
    pub(super) fn assert_served_by(&self, registry: &Registry) {
        for ((name, tag), content) in &self.tagged {
            registry.repository(name).assert_serves(tag, content);
        }
        for (name, referrer) in &self.referrers {
            let digest = referrer.root().digest.to_string();
            registry.repository(name).assert_serves(&digest, referrer);
        }
        let mut tags: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (name, tag) in self.tagged.keys() {
            tags.entry(name).or_default().insert((*tag).to_owned());
        }
        for (name, tags) in &tags {
            let listed: BTreeSet<String> = registry.repository(name).tags().into_iter().collect();
            assert_eq!(&listed, tags, "the tags of {name}");
        }
        let repositories: BTreeSet<String> = tags.keys().map(|&name| name.to_owned()).collect();
        assert_eq!(catalog(&registry.client()), repositories, "the catalog");
    }

    /// Each referrer is found through its subject, with its type and annotations.
    #[track_caller]
    pub(super) fn assert_referrers_are_found(&self, registry: &Registry) {
        if registry.kind() == Kind::Reference {
            return; // It has no referrers API.
        }
        for (name, referrer) in &self.referrers {
            let manifest: serde_json::Value =
                serde_json::from_slice(&referrer.root().bytes).expect("JSON");
            let subject = manifest["subject"]["digest"].as_str().expect("a digest");
            let subject = subject.parse().expect("a digest");
            let mut expected = referrer.root().descriptor();
            expected["artifactType"] = manifest["artifactType"].clone();
            expected["annotations"] = manifest["annotations"].clone();
            let found = registry.repository(name).referrers(&subject);
            assert_eq!(found, [expected], "the referrers of {subject} in {name}");
        }
    }
}

/// The reference lists directory by directory, Roadstead in the order of bytes: what counts here is the set.
fn catalog(client: &Client) -> BTreeSet<String> {
    client.catalog().into_iter().collect()
}
