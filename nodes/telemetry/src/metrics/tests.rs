//! What is rendered, read back by a parser of the text format; and against what the reference serves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

use ::http::StatusCode;
use proptest::prelude::*;

use super::*;

fn metrics() -> Metrics {
    Metrics::new("1.2.3", UNIX_EPOCH + Duration::from_secs(1_795_257_174))
}

/// Everything is observed once, so that every series is there.
fn all_observed() -> Metrics {
    let metrics = metrics();
    drop(metrics.http_started(Handler::Base));
    let finished = Finished {
        status: 200,
        took: Duration::from_millis(7),
        received: 0,
        sent: 3_000_000,
    };
    metrics.http_finished(Handler::Blob, "GET", &finished);
    metrics.storage_action("filesystem", "GetContent", Duration::from_micros(29));
    for event in [CacheEvent::Hit, CacheEvent::Miss, CacheEvent::Error] {
        metrics.cache_asked(event);
    }
    metrics.cache_took(Cache::Redis, "Stat", Duration::from_micros(300));
    metrics.cache_took(Cache::Memory, "Stat", Duration::from_micros(1));
    let endpoint = metrics.endpoint("alice");
    endpoint.event();
    endpoint.pending(3);
    endpoint.answered(StatusCode::OK);
    endpoint.failed();
    metrics.proxy_pulled(Proxied::Blob, 10);
    metrics.proxy_pushed(Proxied::Blob, 10, true);
    metrics.upload_sessions(2);
    metrics.proposed("append", "appended", Duration::from_millis(3));
    metrics.decided("purge", 2);
    metrics.decided("append", 0);
    metrics.stands(Place {
        is_held: true,
        epoch: 7,
        renewed: Some(Duration::from_millis(1500)),
        is_draining: false,
        retries: 2,
        leader_changes: 1,
    });
    metrics.certificate_expires("/certs/a.pem", UNIX_EPOCH + Duration::from_secs(4));
    metrics.watch_access_log(&AccessLog::to_standard_output().unwrap());
    metrics
}

/// Samples by name and labels, and families by name; every rule of the format that is broken fails the test.
struct Exposition {
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
    families: BTreeMap<String, String>,
}

impl Exposition {
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut samples = BTreeMap::new();
        let mut families = BTreeMap::new();
        let mut described = None;
        let mut family = (String::new(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                described = help.split_once(' ').map(|(name, _)| name.to_owned());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert_eq!(
                    described.take().as_deref(),
                    Some(name),
                    "help comes before the type"
                );
                let again = families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(again, None, "{name} is described once");
                family = (name.to_owned(), kind.to_owned());
            } else {
                let (name, labels, value) = sample(line).unwrap_or_else(|| panic!("{line}"));
                let suffixes: &[&str] = match family.1.as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                assert!(
                    suffixes
                        .iter()
                        .any(|suffix| name == format!("{}{suffix}", family.0)),
                    "{line} is not of {family:?}"
                );
                assert!(
                    samples.insert((name, labels), value).is_none(),
                    "{line} comes twice"
                );
            }
        }
        Self { samples, families }
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        self.samples
            .get(&(name.to_owned(), labels.collect()))
            .copied()
    }
}

/// `name{label="value",…} number`.
fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let mut labels = BTreeMap::new();
    let name = line.split(['{', ' ']).next()?;
    let mut rest = line.strip_prefix(name)?;
    if let Some(listed) = rest.strip_prefix('{') {
        rest = listed;
        loop {
            let (label, quoted) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut characters = quoted.chars();
            loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => value.push(match characters.next()? {
                        'n' => '\n',
                        escaped @ ('\\' | '"') => escaped,
                        _ => return None,
                    }),
                    other => value.push(other),
                }
            }
            if labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            rest = characters.as_str();
            match rest.strip_prefix(',') {
                Some(after) => rest = after,
                None => break,
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest
        .strip_prefix(' ')?
        .replace("+Inf", "inf")
        .parse()
        .ok()?;
    Some((name.to_owned(), labels, value))
}

/// Each family with its type and its labels.
const FAMILIES: &[(&str, &str, &str)] = &[
    ("registry_http_in_flight_requests", "gauge", "handler"),
    (
        "registry_http_request_duration_seconds",
        "histogram",
        "handler method",
    ),
    ("registry_http_request_size_bytes", "histogram", "handler"),
    (
        "registry_http_requests_total",
        "counter",
        "code handler method",
    ),
    ("registry_http_response_size_bytes", "histogram", "handler"),
    (
        "registry_notifications_events_total",
        "counter",
        "endpoint type",
    ),
    ("registry_notifications_pending_total", "gauge", "endpoint"),
    (
        "registry_notifications_status_total",
        "counter",
        "code endpoint",
    ),
    ("registry_proxy_hits_total", "counter", "type"),
    ("registry_proxy_misses_total", "counter", "type"),
    ("registry_proxy_pulled_bytes_total", "counter", "type"),
    ("registry_proxy_pushed_bytes_total", "counter", "type"),
    ("registry_proxy_requests_total", "counter", "type"),
    (
        "registry_storage_action_seconds",
        "histogram",
        "action driver",
    ),
    ("registry_storage_cache_errors_total", "counter", ""),
    ("registry_storage_cache_hits_total", "counter", ""),
    (
        "registry_storage_cache_memory_seconds",
        "histogram",
        "operation",
    ),
    (
        "registry_storage_cache_redis_seconds",
        "histogram",
        "operation",
    ),
    ("registry_storage_cache_requests_total", "counter", ""),
    ("registry_storage_cache_total", "counter", "type"),
    ("process_cpu_seconds_total", "counter", ""),
    ("process_max_fds", "gauge", ""),
    ("process_open_fds", "gauge", ""),
    ("process_resident_memory_bytes", "gauge", ""),
    ("process_start_time_seconds", "gauge", ""),
    ("process_virtual_memory_bytes", "gauge", ""),
    ("roadstead_access_log_dropped_lines_total", "counter", ""),
    ("roadstead_build_info", "gauge", "version"),
    ("roadstead_cache_bytes", "gauge", ""),
    ("roadstead_cache_evictions", "gauge", ""),
    ("roadstead_cache_redis_up", "gauge", ""),
    (
        "roadstead_certificate_expiry_timestamp_seconds",
        "gauge",
        "certificate",
    ),
    ("roadstead_certificate_failures_total", "counter", ""),
    ("roadstead_certificate_issued_total", "counter", ""),
    ("roadstead_lease_age_seconds", "gauge", ""),
    ("roadstead_lease_draining", "gauge", ""),
    ("roadstead_lease_epoch", "gauge", ""),
    ("roadstead_lease_held", "gauge", ""),
    ("roadstead_metadata_leader_changes_total", "counter", ""),
    (
        "roadstead_metadata_proposal_seconds",
        "histogram",
        "command outcome",
    ),
    ("roadstead_metadata_retries_total", "counter", ""),
    ("roadstead_open_connections", "gauge", ""),
    ("roadstead_upload_sessions", "gauge", ""),
    (
        "roadstead_upload_sessions_decided_total",
        "counter",
        "command",
    ),
];

#[test]
fn names_types_and_labels_are_the_references() {
    let text = all_observed().render();
    let exposition = Exposition::read(&text);
    for &(name, kind, labels) in FAMILIES {
        assert_eq!(
            exposition.families.get(name).map(String::as_str),
            Some(kind),
            "{name}"
        );
        let suffix = if kind == "histogram" { "_count" } else { "" };
        let of_family = exposition
            .samples
            .keys()
            .filter(|(sample, _)| *sample == format!("{name}{suffix}"))
            .map(|(_, labels)| labels.keys().cloned().collect::<Vec<_>>().join(" "))
            .collect::<BTreeSet<_>>();
        assert_eq!(of_family, BTreeSet::from([labels.to_owned()]), "{name}");
    }
}

#[test]
fn lines_are_the_references_to_the_letter() {
    let text = all_observed().render();
    for line in [
        "# HELP registry_http_requests_total Total number of HTTP requests made.",
        "# TYPE registry_http_requests_total counter",
        "registry_http_requests_total{code=\"200\",handler=\"blob\",method=\"get\"} 1",
        "# HELP registry_storage_action_seconds The number of seconds that the storage action takes",
        "# HELP registry_http_in_flight_requests The in-flight HTTP requests",
        "registry_http_in_flight_requests{handler=\"blob_upload_chunk\"} 0",
        "registry_storage_cache_total{type=\"Request\"} 3",
        "registry_notifications_status_total{code=\"200 OK\",endpoint=\"alice\"} 1",
        "registry_notifications_pending_total{endpoint=\"alice\"} 3",
    ] {
        assert!(
            text.lines().any(|present| present == line),
            "{line}\n{text}"
        );
    }
    assert!(!text.contains("# EOF"), "that is OpenMetrics");
}

/// The bounds of a histogram of `handler="blob"`, as they are written.
fn bounds(text: &str, name: &str) -> String {
    let mut bounds = Vec::new();
    for line in text.lines().filter(|line| line.starts_with(name)) {
        if let Some((_, labels, _)) = sample(line)
            && labels
                .get("handler")
                .is_some_and(|handler| handler == "blob")
        {
            bounds.extend(labels.get("le").cloned());
        }
    }
    bounds.join(" ")
}

#[test]
fn bounds_are_the_references() {
    let text = all_observed().render();
    assert_eq!(
        bounds(&text, "registry_http_request_duration_seconds_bucket"),
        "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 25 60 +Inf"
    );
    let sizes = "1024 2048 4096 8192 16384 32768 65536 131072 262144 524288 1.048576e+06 2.097152e+06 4.194304e+06 \
        8.388608e+06 1.6777216e+07 3.3554432e+07 6.7108864e+07 1.34217728e+08 2.68435456e+08 5.36870912e+08 \
        1.073741824e+09 2.147483648e+09 +Inf";
    assert_eq!(
        bounds(&text, "registry_http_request_size_bytes_bucket"),
        sizes
    );
    assert_eq!(
        bounds(&text, "registry_http_response_size_bytes_bucket"),
        sizes
    );
}

#[test]
fn histograms_add_up() {
    let exposition = Exposition::read(&all_observed().render());
    let sent = |suffix: &str, labels: &[(&str, &str)]| {
        exposition.value(
            &format!("registry_http_response_size_bytes{suffix}"),
            labels,
        )
    };
    let blob = ("handler", "blob");
    assert_eq!(sent("_sum", &[blob]), Some(3_000_000.0));
    assert_eq!(sent("_count", &[blob]), Some(1.0));
    assert_eq!(sent("_bucket", &[blob, ("le", "2.097152e+06")]), Some(0.0));
    assert_eq!(sent("_bucket", &[blob, ("le", "4.194304e+06")]), Some(1.0));
    assert_eq!(sent("_bucket", &[blob, ("le", "+Inf")]), Some(1.0));
}

#[test]
fn a_request_is_in_flight_until_its_guard_goes() {
    let metrics = metrics();
    let tags = || {
        Exposition::read(&metrics.render())
            .value("registry_http_in_flight_requests", &[("handler", "tags")])
    };
    let connections =
        || Exposition::read(&metrics.render()).value("roadstead_open_connections", &[]);
    assert_eq!((tags(), connections()), (Some(0.0), Some(0.0)));
    let guards = [metrics.http_started(Handler::Tags), metrics.connected()];
    assert_eq!((tags(), connections()), (Some(1.0), Some(1.0)));
    drop(guards);
    assert_eq!((tags(), connections()), (Some(0.0), Some(0.0)));
}

#[test]
fn this_process_is_measured() {
    let exposition = Exposition::read(&metrics().render());
    let value = |name| exposition.value(name, &[]).expect(name);
    assert!(value("process_resident_memory_bytes") > 1e5);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_open_fds") >= 1.0);
    assert!(value("process_open_fds") <= value("process_max_fds"));
    let started = value("process_start_time_seconds");
    assert!((started - 1_795_257_174.0).abs() < 0.5, "{started}");
}

/// What a stranger can choose makes no series.
#[test]
fn methods_of_strangers_are_one_series() {
    let metrics = metrics();
    let finished = Finished {
        status: 405,
        took: Duration::ZERO,
        received: 0,
        sent: 0,
    };
    for method in ["FOO", "get", "GET\n", "unknown", "\"} 1", ""] {
        metrics.http_finished(Handler::Manifest, method, &finished);
    }
    let exposition = Exposition::read(&metrics.render());
    let labels = [
        ("code", "405"),
        ("handler", "manifest"),
        ("method", "unknown"),
    ];
    assert_eq!(
        exposition.value("registry_http_requests_total", &labels),
        Some(6.0)
    );
}

proptest! {
    #[test]
    fn any_configured_name_is_one_label(name in prop_oneof![any::<String>(), "(\"|\\\\|\n|,le=\"1|\\}| ){0,8}"]) {
        let metrics = metrics();
        metrics.endpoint(&name).answered(StatusCode::IM_A_TEAPOT);
        metrics.certificate_expires(&name, UNIX_EPOCH);
        // A carriage return is no end of a line in this format; `lines` would eat one before a newline.
        let exposition = Exposition::read(&metrics.render().replace('\r', "\u{1}"));
        let name = name.replace('\r', "\u{1}");
        let labels = [("code", "418 I'm a teapot"), ("endpoint", name.as_str())];
        prop_assert_eq!(exposition.value("registry_notifications_status_total", &labels), Some(1.0));
        let labels = [("certificate", name.as_str())];
        prop_assert_eq!(exposition.value("roadstead_certificate_expiry_timestamp_seconds", &labels), Some(0.0));
    }
}

/// What a request costs: `cargo test --release -p roadstead-telemetry -- --ignored --nocapture cost`.
#[test]
#[ignore = "measures, asserts nothing"]
fn cost_of_a_request() {
    const REQUESTS: u32 = 200_000;
    for threads in [1, 2] {
        let metrics = metrics();
        let begun = tokio::time::Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..REQUESTS {
                        let guard = metrics.http_started(Handler::Blob);
                        for action in ["Stat", "GetContent", "Reader"] {
                            metrics.storage_action("filesystem", action, Duration::from_micros(20));
                        }
                        metrics.http_finished(
                            Handler::Blob,
                            "GET",
                            &Finished {
                                status: 200,
                                took: Duration::from_millis(1),
                                received: 0,
                                sent: 4096,
                            },
                        );
                        drop(guard);
                    }
                });
            }
        });
        println!(
            "{threads} threads: {:?} a request",
            begun.elapsed() / REQUESTS
        );
    }
}
