//! `storage.s3`, key by key.

use super::{S3, S3Encryption, S3LogLevel, S3Parts, S3Variants};
use crate::mistake::{Findings, Origin};
use crate::{Config, Reader, node};

/// What is read of the parameters, and the mistakes, without the driver's refusal.
fn read(name: &str, yaml: &str) -> (Option<S3>, Vec<String>) {
    let text = format!("storage: {{{name}: {{{yaml}}}}}");
    let tree = node::parse(&text, &Origin::Line).unwrap().root;
    let mut findings = Findings::default();
    let mut root = Reader::new(&tree, &mut findings);
    let s3 = S3::read(&mut root.below(&format!("storage.{name}")));
    (
        s3,
        findings.mistakes.iter().map(ToString::to_string).collect(),
    )
}

fn mistakes(yaml: &str) -> Vec<String> {
    read("s3", &format!("bucket: b, region: r, {yaml}")).1
}

#[test]
fn defaults_are_the_references() {
    for name in ["s3", "s3aws"] {
        let (s3, mistakes) = read(name, "bucket: b, region: r");
        assert_eq!(mistakes, Vec::<String>::new());
        let expected = S3 {
            bucket: "b".to_owned(),
            region: Some("r".to_owned()),
            endpoint: None,
            force_path_style: false,
            root: String::new(),
            credentials: None,
            skip_verify: false,
            encryption: S3Encryption::None,
            storage_class: Some("STANDARD".to_owned()),
            object_acl: "private".to_owned(),
            parts: S3Parts {
                chunk: 10 << 20,
                copy_chunk: 32 << 20,
                copy_concurrency: 100,
                copy_threshold: 32 << 20,
            },
            variants: S3Variants::default(),
            redirect_endpoint: None,
            user_agent: None,
            log_level: S3LogLevel::Off,
        };
        assert_eq!(s3, Some(expected));
    }
}

#[test]
fn it_needs_a_bucket_and_a_place() {
    let expected = [
        "storage.s3.bucket (line 1): is missing; write the name of a bucket that exists",
        "storage.s3.region (line 1): is missing; write it, or regionendpoint for a store that is not Amazon's",
    ];
    assert_eq!(read("s3", ""), (None, expected.map(str::to_owned).to_vec()));
    let (s3, mistakes) = read("s3", "bucket: b, regionendpoint: objects.example:9000");
    assert_eq!(mistakes, Vec::<String>::new());
    assert_eq!(
        s3.unwrap().endpoint.as_deref(),
        Some("https://objects.example:9000")
    );
}

#[test]
fn sizes_have_bounds() {
    for (yaml, bounds) in [
        ("chunksize: 5242879", "must be from 5242880 to 5368709120"),
        (
            "chunksize: 5368709121",
            "must be from 5242880 to 5368709120",
        ),
        (
            "multipartcopychunksize: 1",
            "must be from 5242880 to 5368709120",
        ),
        (
            "multipartcopymaxconcurrency: 0",
            "must be from 1 to 4294967295",
        ),
        (
            "multipartcopythresholdsize: 5368709121",
            "must be from 0 to 5368709120",
        ),
        ("chunksize: -1", "must not be negative"),
        ("chunksize: 10M", "is not a whole number"),
    ] {
        assert!(mistakes(yaml)[0].ends_with(bounds), "{yaml}");
    }
    assert_eq!(
        mistakes("chunksize: '5242880', multipartcopythresholdsize: 0"),
        Vec::<String>::new()
    );
}

#[test]
fn words_are_checked() {
    for (yaml, key) in [
        ("storageclass: GLACIER", "storage.s3.storageclass"),
        ("objectacl: publik-read", "storage.s3.objectacl"),
        ("loglevel: loud", "storage.s3.loglevel"),
        ("secure: maybe", "storage.s3.secure"),
        ("redirectendpoint: a.example", "storage.s3.redirectendpoint"),
        (
            "redirectendpoint: 'https://a.example/path'",
            "storage.s3.redirectendpoint",
        ),
    ] {
        assert!(
            mistakes(yaml)[0].starts_with(&format!("{key} (line 1): ")),
            "{yaml}"
        );
    }
    let class = |yaml: &str| {
        read("s3", &format!("bucket: b, region: r, {yaml}"))
            .0
            .unwrap()
            .storage_class
    };
    assert_eq!(class("storageclass: none"), None);
    assert_eq!(
        class("storageclass: glacier_ir").as_deref(),
        Some("GLACIER_IR")
    );
}

#[test]
fn booleans_may_be_what_go_parses() {
    let (s3, mistakes) = read(
        "s3",
        "bucket: b, regionendpoint: a.amazonaws.com, forcepathstyle: '1', secure: f, v4auth: 'TRUE'",
    );
    assert_eq!(mistakes, Vec::<String>::new());
    let s3 = s3.unwrap();
    assert!(s3.force_path_style);
    assert_eq!(s3.endpoint.as_deref(), Some("http://a.amazonaws.com"));
}

#[test]
fn an_endpoint_becomes_a_url_and_says_where_the_bucket_stands() {
    for (yaml, url, in_the_path) in [
        ("regionendpoint: minio:9000", "https://minio:9000", true),
        (
            "regionendpoint: 'minio:9000', secure: false",
            "http://minio:9000",
            true,
        ),
        (
            "regionendpoint: 'http://minio:9000/', secure: true",
            "http://minio:9000",
            true,
        ),
        (
            "regionendpoint: 'https://objects.example/s3', forcepathstyle: false",
            "https://objects.example/s3",
            false,
        ),
        (
            "regionendpoint: s3.eu-west-1.amazonaws.com",
            "https://s3.eu-west-1.amazonaws.com",
            false,
        ),
        (
            "regionendpoint: 'https://oss-cn-beijing.aliyuncs.com:443'",
            "https://oss-cn-beijing.aliyuncs.com:443",
            false,
        ),
    ] {
        let (s3, mistakes) = read("s3", &format!("bucket: b, {yaml}"));
        assert_eq!(mistakes, Vec::<String>::new(), "{yaml}");
        let s3 = s3.unwrap();
        assert_eq!(s3.endpoint.as_deref(), Some(url), "{yaml}");
        assert_eq!(s3.force_path_style, in_the_path, "{yaml}");
    }
    for wrong in ["ftp://a", "'a b'", "'http://'", "':80'"] {
        let told = mistakes(&format!("regionendpoint: {wrong}"));
        assert!(
            told[0].starts_with("storage.s3.regionendpoint (line 1): "),
            "{told:?}"
        );
    }
}

#[test]
fn signatures_of_version_2_are_refused_by_name() {
    let told = mistakes("v4auth: 'false'");
    assert!(
        told[0].starts_with("storage.s3.v4auth (line 1): only version 4"),
        "{told:?}"
    );
}

#[test]
fn half_a_login_is_a_mistake() {
    for (yaml, missing) in [
        ("accesskey: a", "secretkey"),
        ("secretkey: hunter2", "accesskey"),
        ("sessiontoken: hunter2", "accesskey"),
    ] {
        let told = mistakes(yaml);
        assert!(
            told[0].starts_with(&format!("storage.s3.{missing} (line 1): is missing")),
            "{told:?}"
        );
        assert!(!told.concat().contains("hunter2"));
    }
}

#[test]
fn a_key_that_would_not_encrypt_is_a_mistake() {
    let told = mistakes("keyid: k");
    assert!(
        told[0].starts_with("storage.s3.keyid (line 1): nothing would be encrypted"),
        "{told:?}"
    );
    let encryption = |yaml: &str| {
        read("s3", &format!("bucket: b, region: r, {yaml}"))
            .0
            .unwrap()
            .encryption
    };
    assert_eq!(encryption("encrypt: true"), S3Encryption::Aes256);
    assert_eq!(
        encryption("encrypt: true, keyid: k"),
        S3Encryption::Kms("k".to_owned())
    );
}

#[test]
fn variables_configure_it_whole() {
    let variables = [
        ("REGISTRY_STORAGE", "s3"),
        ("REGISTRY_STORAGE_S3_BUCKET", "b"),
        ("REGISTRY_STORAGE_S3_REGION", "r"),
        ("REGISTRY_STORAGE_S3_CHUNKSIZE", "1"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let told = Config::load("version: 0.1\nstorage: filesystem\n", variables).unwrap_err();
    let told: Vec<&str> = told
        .mistakes
        .iter()
        .map(|mistake| mistake.key.as_str())
        .collect();
    assert_eq!(told, ["storage.s3.chunksize"]);
}
