//! The rows of the table: what is done, in which unit it is counted, and against whom.

use crate::seeds::Needed;
use crate::work::Flow;

/// One kind of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// What it is chosen by.
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    pub(crate) work: Work,
    pub(crate) place: Place,
}

/// Where the images are, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Directory,
    /// In a store that speaks S3.
    Bucket,
    /// In a directory, which the nodes of a cluster share.
    Cluster,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Gibibyte,
    Request,
    Image,
    /// Told in milliseconds each.
    Answer,
    Start,
}

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Pull {
        streams: usize,
    },
    Push {
        streams: usize,
    },
    Ask {
        method: &'static str,
        what: Asked,
        connections: usize,
    },
    Images(Flow),
    Start,
    /// The member of the cluster that leads is killed, and a push to each node is waited for.
    Failover,
    ProxiedPull {
        tls: bool,
    },
    ProxiedManifest {
        tls: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Base,
    ManifestByTag,
    ManifestByDigest,
    SmallBlob,
    TagsPage,
    AllTags,
    CatalogPage,
}

/// Whom a row is run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Registries,
    /// And nginx, which gives out the same file.
    RegistriesAndFiles,
    /// Those that are configured here, over a bucket.
    Buckets,
    /// A cluster, beside single registries.
    Clusters,
    /// A cluster: nobody else has one.
    ClusterAlone,
    Proxies,
}

/// Connections of those who ask for small things.
const MANY: usize = 32;

const fn ask(name: &'static str, what: &'static str, method: &'static str, asked: Asked) -> Row {
    Row {
        name,
        what,
        unit: Unit::Request,
        work: Work::Ask {
            method,
            what: asked,
            connections: MANY,
        },
        place: Place::Directory,
    }
}

const fn list(name: &'static str, what: &'static str, asked: Asked) -> Row {
    Row {
        name,
        what,
        unit: Unit::Answer,
        work: Work::Ask {
            method: "GET",
            what: asked,
            connections: 1,
        },
        place: Place::Directory,
    }
}

const fn large(name: &'static str, what: &'static str, work: Work) -> Row {
    Row {
        name,
        what,
        unit: Unit::Gibibyte,
        work,
        place: Place::Directory,
    }
}

const fn images(name: &'static str, what: &'static str, flow: Flow) -> Row {
    Row {
        name,
        what,
        unit: Unit::Image,
        work: Work::Images(flow),
        place: Place::Directory,
    }
}

const fn proxied(name: &'static str, what: &'static str, tls: bool) -> Row {
    Row {
        name,
        what,
        unit: Unit::Request,
        work: Work::ProxiedManifest { tls },
        place: Place::Directory,
    }
}

pub(crate) const ROWS: &[Row] = &[
    large(
        "pull-1",
        "a large blob pulled, 1 stream",
        Work::Pull { streams: 1 },
    ),
    large(
        "pull-8",
        "a large blob pulled, 8 streams",
        Work::Pull { streams: 8 },
    ),
    large(
        "push-1",
        "a large blob pushed, 1 stream",
        Work::Push { streams: 1 },
    ),
    large(
        "push-8",
        "large blobs pushed, 8 streams",
        Work::Push { streams: 8 },
    ),
    ask("base", "GET /v2/", "GET", Asked::Base),
    ask(
        "manifest-tag",
        "a manifest by tag, GET",
        "GET",
        Asked::ManifestByTag,
    ),
    ask(
        "manifest-digest",
        "a manifest by digest, GET",
        "GET",
        Asked::ManifestByDigest,
    ),
    ask(
        "manifest-tag-head",
        "a manifest by tag, HEAD",
        "HEAD",
        Asked::ManifestByTag,
    ),
    ask(
        "manifest-digest-head",
        "a manifest by digest, HEAD",
        "HEAD",
        Asked::ManifestByDigest,
    ),
    ask("blob-head", "a blob, HEAD", "HEAD", Asked::SmallBlob),
    ask("blob-1k", "a blob of 1 KiB, GET", "GET", Asked::SmallBlob),
    images(
        "images-docker",
        "small images pushed as docker does, 16 clients",
        Flow::Docker,
    ),
    images(
        "images-whole",
        "small images pushed with POST and PUT, 16 clients",
        Flow::Whole,
    ),
    list("tags-page", "100 tags", Asked::TagsPage),
    list("tags-all", "all tags", Asked::AllTags),
    list("catalog-page", "100 repositories", Asked::CatalogPage),
    Row {
        name: "start",
        what: "start-up; memory when idle",
        unit: Unit::Start,
        work: Work::Start,
        place: Place::Directory,
    },
    large(
        "proxy-pull",
        "a large blob through a proxy",
        Work::ProxiedPull { tls: false },
    ),
    large(
        "proxy-pull-tls",
        "a large blob through a proxy, TLS",
        Work::ProxiedPull { tls: true },
    ),
    proxied("proxy-manifest", "a manifest through a proxy", false),
    proxied(
        "proxy-manifest-tls",
        "a manifest through a proxy, TLS",
        true,
    ),
    large(
        "s3-pull",
        "a large blob pulled, from a bucket through the registry",
        Work::Pull { streams: 1 },
    )
    .on(Place::Bucket),
    large(
        "s3-push",
        "a large blob pushed, to a bucket",
        Work::Push { streams: 1 },
    )
    .on(Place::Bucket),
    ask(
        "s3-manifest",
        "a manifest by tag, GET, from a bucket",
        "GET",
        Asked::ManifestByTag,
    )
    .on(Place::Bucket),
    images(
        "s3-images",
        "small images pushed with POST and PUT, 16 clients, to a bucket",
        Flow::Whole,
    )
    .on(Place::Bucket),
    images(
        "cluster-images",
        "small images pushed with POST and PUT, 16 clients, 3 nodes",
        Flow::Whole,
    )
    .on(Place::Cluster),
    ask(
        "cluster-manifest",
        "a manifest by tag, GET, 3 nodes",
        "GET",
        Asked::ManifestByTag,
    )
    .on(Place::Cluster),
    Row {
        name: "cluster-failover",
        what: "the leader killed: until all 3 nodes have acknowledged a push",
        unit: Unit::Answer,
        work: Work::Failover,
        place: Place::Cluster,
    },
];

impl Row {
    /// The same work elsewhere.
    const fn on(self, place: Place) -> Self {
        Self { place, ..self }
    }

    pub(crate) fn field(&self) -> Field {
        match self.work {
            Work::Failover => Field::ClusterAlone,
            _ if self.place == Place::Bucket => Field::Buckets,
            _ if self.place == Place::Cluster => Field::Clusters,
            Work::Pull { .. }
            | Work::Ask {
                what: Asked::ManifestByDigest | Asked::SmallBlob,
                method: "GET",
                ..
            } => Field::RegistriesAndFiles,
            Work::ProxiedPull { .. } | Work::ProxiedManifest { .. } => Field::Proxies,
            _ => Field::Registries,
        }
    }

    pub(crate) fn needed(&self) -> Needed {
        let asked = |wanted: &[Asked]| matches!(self.work, Work::Ask { what, .. } if wanted.contains(&what));
        Needed {
            large: matches!(self.work, Work::Pull { .. } | Work::ProxiedPull { .. }),
            tags: asked(&[Asked::TagsPage, Asked::AllTags]),
            repositories: asked(&[Asked::CatalogPage]),
        }
    }

    pub(crate) fn writes(&self) -> bool {
        matches!(
            self.work,
            Work::Push { .. } | Work::Images(_) | Work::Failover
        )
    }

    /// Whether it begins with nothing stored: buckets and clusters do also where they read. What is read is then pushed
    /// first.
    pub(crate) fn begins_empty(&self) -> bool {
        self.writes() || self.place != Place::Directory
    }

    pub(crate) fn tls(&self) -> bool {
        matches!(
            self.work,
            Work::ProxiedPull { tls: true } | Work::ProxiedManifest { tls: true }
        )
    }
}

impl Unit {
    /// What the rate is, of units and seconds; whether more is better.
    pub(crate) fn rate(self, units: f64, seconds: f64) -> f64 {
        match self {
            Self::Gibibyte => units * 1024.0 * 1.048_576 / seconds,
            Self::Request | Self::Image => units / seconds,
            Self::Answer | Self::Start => seconds * 1e3 / units,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gibibyte => "GiB",
            Self::Request => "request",
            Self::Image => "image",
            Self::Answer => "answer",
            Self::Start => "start",
        }
    }

    pub(crate) fn more_is_better(self) -> bool {
        !matches!(self, Self::Answer | Self::Start)
    }

    pub(crate) fn rate_name(self) -> &'static str {
        match self {
            Self::Gibibyte => "MB/s",
            Self::Request => "requests/s",
            Self::Image => "images/s",
            Self::Answer | Self::Start => "ms",
        }
    }

    /// Processor time of one unit.
    pub(crate) fn cost(self, cpu: f64, units: f64) -> f64 {
        match self {
            Self::Gibibyte => cpu / units,
            Self::Request | Self::Answer => cpu * 1e6 / units,
            Self::Image | Self::Start => cpu * 1e3 / units,
        }
    }

    pub(crate) fn cost_name(self) -> &'static str {
        match self {
            Self::Gibibyte => "s/GiB",
            Self::Request | Self::Answer => "us",
            Self::Image | Self::Start => "ms",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_row_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn a_gibibyte_in_a_second_is_1074_megabytes() {
        assert!((Unit::Gibibyte.rate(1.0, 1.0) - 1073.74).abs() < 0.01);
        assert!((Unit::Answer.rate(1000.0, 1.0) - 1.0).abs() < 1e-9);
        assert!((Unit::Request.cost(0.5, 1e6) - 0.5).abs() < 1e-9);
    }
}
