//! What a stored manifest names, read as widely as any reader could.
//!
//! Other registries read keys in whatever case, take the last of two, and do not look at sizes. So all that is written
//! under `digest` or `blobSum`, wherever it stands, counts as named: too much is kept rather than too little. Only what
//! annotations say names nothing.

use roadstead_oci::{Digest, MediaType};

use super::json::Json;

/// docker's first schema, which is served as it was stored.
const SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// What a manifest names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Layers, configs, and what else is no manifest.
    pub(super) blobs: Vec<Digest>,
    pub(super) manifests: Vec<Digest>,
    /// What it refers to, and does not keep.
    pub(super) subjects: Vec<Digest>,
}

impl Named {
    /// An error for what is no manifest that any registry took: what that means is not known.
    pub(super) fn by(bytes: &[u8]) -> Result<Self, String> {
        let document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let Json::Object(members) = document else {
            return Err("it is not a JSON object".to_owned());
        };
        let (mut named, mut version, mut has_content) = (Self::default(), false, false);
        for (key, value) in &members {
            let into = match folded(key).as_str() {
                "schemaversion" => {
                    version |= matches!(value, Json::Whole(1 | 2));
                    continue;
                }
                "mediatype" => {
                    check_media_type(value)?;
                    continue;
                }
                "annotations" => continue,
                "subject" => &mut named.subjects,
                "manifests" => {
                    has_content = true;
                    &mut named.manifests
                }
                "config" | "layers" | "fslayers" => {
                    has_content = true;
                    &mut named.blobs
                }
                _ => &mut named.blobs,
            };
            gather(value, into)?;
        }
        match (version, has_content) {
            (false, _) => Err("its schemaVersion is neither 1 nor 2".to_owned()),
            (_, false) => Err("it has neither config nor layers nor manifests".to_owned()),
            (true, true) => Ok(named),
        }
    }
}

/// As Go compares keys, where a long s is an s, and the Kelvin sign a k.
fn folded(key: &str) -> String {
    key.to_uppercase().to_lowercase()
}

fn check_media_type(value: &Json) -> Result<(), String> {
    let Json::Text(text) = value else {
        return Ok(());
    };
    if text.is_empty() || MediaType::of_manifest(text).is_some() || SCHEMA1.contains(&text.as_str())
    {
        return Ok(());
    }
    Err(format!("its media type is {text:?}"))
}

/// All digests below a value.
fn gather(value: &Json, into: &mut Vec<Digest>) -> Result<(), String> {
    match value {
        Json::Object(members) => {
            for (key, value) in members {
                match folded(key).as_str() {
                    "annotations" => {}
                    "digest" | "blobsum" => into.push(digest(value)?),
                    _ => gather(value, into)?,
                }
            }
            Ok(())
        }
        Json::Array(items) => items.iter().try_for_each(|item| gather(item, into)),
        Json::Text(_) | Json::Whole(_) | Json::Other => Ok(()),
    }
}

fn digest(value: &Json) -> Result<Digest, String> {
    let Json::Text(text) = value else {
        return Err("it names a digest that is no text".to_owned());
    };
    text.parse()
        .map_err(|error| format!("it names {text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_oci::Algorithm;

    fn digests() -> [Digest; 3] {
        ["a", "b", "c"].map(|text| Digest::of(Algorithm::Sha256, text.as_bytes()))
    }

    #[test]
    fn keys_count_in_any_case_and_as_often_as_they_come() {
        let [a, b, c] = digests();
        let image = format!(
            r#"{{"SCHEMAVERSION":2,"Config":{{"Digest":"{a}","size":-1}},
                "Layers":[{{"digest":"{b}"}}],"layers":[{{"digeſt":"{c}"}}]}}"#
        );
        assert_eq!(Named::by(image.as_bytes()).unwrap().blobs, [a, b, c]);
    }

    #[test]
    fn subjects_are_not_kept_and_annotations_name_nothing() {
        let [a, b, c] = digests();
        let index = format!(
            r#"{{"schemaVersion":2,"Manifests":[{{"digest":"{a}","annotations":{{"digest":"none"}}}}],
                "Subject":{{"digest":"{b}"}},"annotations":{{"digest":"{c}"}}}}"#
        );
        let named = Named::by(index.as_bytes()).unwrap();
        assert_eq!((named.manifests, named.subjects), (vec![a], vec![b]));
        assert!(named.blobs.is_empty());
    }

    #[test]
    fn what_nobody_knows_may_still_name_blobs() {
        let [a, b, _] = digests();
        let odd = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{a}"}},"blobs":[{{"x":{{"digest":"{b}"}}}}]}}"#
        );
        assert_eq!(Named::by(odd.as_bytes()).unwrap().blobs, [a, b]);
    }

    #[test]
    fn the_first_schema_names_its_layers() {
        let [a, _, _] = digests();
        let old = format!(
            r#"{{"schemaVersion":1,"name":"a","fsLayers":[{{"blobSum":"{a}"}}],"history":[{{"v1Compatibility":"x"}}]}}"#
        );
        assert_eq!(Named::by(old.as_bytes()).unwrap().blobs, [a]);
    }

    #[test]
    fn what_is_no_manifest_is_not_understood() {
        let deep = format!(r#"{{"schemaVersion":2,"config":{}"#, "[".repeat(100_000));
        for wrong in [
            "",
            "{",
            "null",
            "[]",
            "{}",
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":3,"config":{}}"#,
            r#"{"config":{}}"#,
            r#"{"schemaVersion":2,"layers":[],"mediaType":"text/plain"}"#,
            r#"{"schemaVersion":2,"config":{"digest":"sha384:00"}}"#,
            r#"{"schemaVersion":2,"config":{"digest":null}}"#,
            &deep,
        ] {
            assert!(Named::by(wrong.as_bytes()).is_err(), "{wrong:.60}");
        }
    }
}
