//! `storage`, key by key.

use std::path::PathBuf;
use std::time::Duration;

use super::{CacheKind, DriverKind, Storage};
use crate::{Config, Loaded, Mistakes};

fn load(yaml: &str, variables: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(&format!("version: 0.1\nstorage: {yaml}\n"), variables)
}

fn storage(yaml: &str) -> Storage {
    load(yaml, &[]).unwrap().config.storage
}

fn mistakes(yaml: &str, variables: &[(&str, &str)]) -> String {
    load(yaml, variables).unwrap_err().to_string()
}

fn filesystem(root: &str, max_threads: u32) -> DriverKind {
    let root = PathBuf::from(root);
    DriverKind::Filesystem { root, max_threads }
}

#[test]
fn a_word_names_a_driver_without_settings() {
    assert_eq!(storage("inmemory").driver, DriverKind::InMemory);
    assert_eq!(
        storage("filesystem").driver,
        filesystem("/var/lib/registry", 100)
    );
    assert_eq!(storage("{inmemory: {}}").driver, DriverKind::InMemory);
}

#[test]
fn threads_have_a_least_number() {
    assert_eq!(
        storage("{filesystem: {maxthreads: 1}}").driver,
        filesystem("/var/lib/registry", 25)
    );
    assert_eq!(
        storage("{filesystem: {maxthreads: '200'}}").driver,
        filesystem("/var/lib/registry", 200)
    );
    assert!(mistakes("{filesystem: {maxthreads: -1}}", &[]).contains("must not be negative"));
}

#[test]
fn no_driver_is_a_mistake() {
    let expected = "storage (line 2): no storage driver is configured; name one, for example storage: filesystem";
    assert_eq!(mistakes("{delete: {enabled: true}}", &[]), expected);
    assert!(Config::load("version: 0.1\n", []).is_err());
}

#[test]
fn two_drivers_are_a_mistake_that_says_how_to_replace_one() {
    let told = mistakes("{filesystem: {}}", &[("REGISTRY_STORAGE_S3_BUCKET", "b")]);
    let expected = "storage (REGISTRY_STORAGE_S3_BUCKET): multiple storage drivers specified in configuration or \
                    environment: filesystem, s3 (set REGISTRY_STORAGE=s3 to replace the driver)";
    assert!(told.lines().any(|line| line == expected), "{told}");
    assert_eq!(
        mistakes("{filesystem: {}, inmemory: {}}", &[])
            .lines()
            .count(),
        1
    );
}

#[test]
fn a_driver_that_is_not_there_yet_is_refused() {
    for driver in ["gcs", "azure", "swift", "oss"] {
        let expected = format!(
            "storage.{driver} (line 2): this storage driver is not supported by this version yet"
        );
        let told = mistakes(driver, &[]);
        let first = told.lines().next().unwrap_or_default();
        assert!(first.starts_with(&expected), "{first}");
    }
}

#[test]
fn where_clients_of_a_bucket_are_sent_is_not_left_out() {
    let text = "version: 0.1\nstorage: {s3: {bucket: b, region: r}}\nmiddleware:\n  storage:\n";
    let told = |item: &str| {
        let loaded = Config::load(&format!("{text}    - {item}\n"), []);
        loaded.map(drop).map_err(|mistakes| mistakes.to_string())
    };
    let refused = told("{name: cloudfront, options: {baseurl: 'https://a.example'}}").unwrap_err();
    assert!(
        refused.contains("middleware.storage[0].name (line 5): is not supported with a bucket"),
        "{refused}"
    );
    assert_eq!(told("{name: cloudfront, disabled: true}"), Ok(()));
}

#[test]
fn a_mistyped_driver_is_told_once() {
    let expected = "storage.filesytem (line 2): there is no such storage driver or option of storage; \
                    did you mean filesystem?";
    assert_eq!(mistakes("filesytem", &[]), expected);
    assert_eq!(
        mistakes(
            "{inmemory: ~, maintenence: {readonly: {enabled: true}}}",
            &[]
        )
        .lines()
        .count(),
        1
    );
}

#[test]
fn deletion_is_enabled_by_yaml_1_1() {
    assert!(!storage("inmemory").delete_enabled);
    for value in ["yes", "\"yes\"", "on", "true", "Y"] {
        assert!(
            storage(&format!("{{inmemory: ~, delete: {{enabled: {value}}}}}")).delete_enabled,
            "{value}"
        );
    }
    let loaded = load("filesystem", &[("REGISTRY_STORAGE_DELETE_ENABLED", "yes")]).unwrap();
    assert!(loaded.config.storage.delete_enabled);
    assert_eq!(loaded.warnings, []);
    let told = mistakes(
        "filesystem",
        &[("REGISTRY_STORAGE_DELETE_ENABLED", "maybe")],
    );
    let expected = "storage.delete.enabled (REGISTRY_STORAGE_DELETE_ENABLED): \"maybe\" is not a boolean; \
                    write true or false";
    assert_eq!(told, expected);
}

#[test]
fn purging_is_on_by_default() {
    let purging = storage("inmemory").upload_purging;
    assert!(purging.enabled && !purging.dry_run);
    assert_eq!(purging.age, Duration::from_hours(168));
    assert_eq!(purging.interval, Duration::from_hours(24));
}

#[test]
fn gaps_in_purging_are_filled_with_a_warning() {
    let loaded = load(
        "{inmemory: ~, maintenance: {uploadpurging: {enabled: true, age: 1h}}}",
        &[],
    )
    .unwrap();
    assert_eq!(
        loaded.config.storage.upload_purging.age,
        Duration::from_hours(1)
    );
    let expected = "storage.maintenance.uploadpurging (line 2): \
                    using the default of what is missing: interval, dryrun";
    assert_eq!(loaded.warnings[0].to_string(), expected);
    let off = load(
        "{inmemory: ~, maintenance: {uploadpurging: {enabled: false}}}",
        &[],
    )
    .unwrap();
    assert_eq!(off.warnings, []);
}

#[test]
fn purging_that_never_rests_is_refused() {
    let yaml = "{inmemory: ~, maintenance: {uploadpurging: {age: 1h, interval: 0s, dryrun: no}}}";
    assert!(mistakes(yaml, &[]).contains("\"0s\" must be longer than zero"));
}

#[test]
fn a_cache_is_used() {
    let loaded = load("{inmemory: ~, cache: {blobdescriptor: inmemory}}", &[]).unwrap();
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_cache_has_a_size_and_two_names() {
    let cache = |yaml: &str| storage(&format!("{{inmemory: ~, cache: {{{yaml}}}}}")).cache;
    let in_memory = |size| Some(CacheKind::InMemory { size });
    assert_eq!(cache(""), None);
    assert_eq!(cache("blobdescriptor: inmemory"), in_memory(Some(10_000)));
    assert_eq!(
        cache("layerinfo: inmemory, blobdescriptorsize: 5"),
        in_memory(Some(5))
    );
    assert_eq!(
        cache("blobdescriptor: inmemory, blobdescriptorsize: 0"),
        in_memory(None)
    );
}

#[test]
fn an_unknown_cache_is_none_with_a_warning() {
    let loaded = load("{inmemory: ~, cache: {blobdescriptor: inmemry}}", &[]).unwrap();
    assert_eq!(loaded.config.storage.cache, None);
    let expected = "storage.cache.blobdescriptor (line 2): no such cache, so there is none; did you mean inmemory?";
    assert_eq!(loaded.warnings[0].to_string(), expected);
}

#[test]
fn a_cache_in_redis_needs_redis() {
    let yaml = "{inmemory: ~, cache: {blobdescriptor: redis}}";
    let told = mistakes(yaml, &[]);
    let expected = "storage.cache.blobdescriptor (line 2): redis needs redis.addrs; write them, or inmemory here";
    assert_eq!(told.lines().next(), Some(expected));
    let loaded = load(yaml, &[("REGISTRY_REDIS_ADDRS", "['a:6379']")]).unwrap();
    assert_eq!(loaded.config.storage.cache, Some(CacheKind::Redis));
}

#[test]
fn redirects_are_disabled_by_what_go_calls_true() {
    for value in ["true", "\"true\"", "1", "yes"] {
        let yaml = format!("{{inmemory: ~, redirect: {{disable: {value}}}}}");
        assert!(storage(&yaml).redirect_disabled, "{value}");
    }
    assert!(mistakes("{inmemory: ~, redirect: {disable: 2}}", &[]).contains("is not a boolean"));
}
