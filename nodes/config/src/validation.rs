//! `validation`: what a manifest must fulfil to be accepted.

use regex::Regex;

use crate::reader::{Found, Reader};
use crate::scalar::{self, Unfit};

/// Settings under `validation`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    /// None of the rules below is applied. Default: false. The old `enabled: true` beats `disabled: true`.
    pub disabled: bool,
    /// Which URLs a layer may name as its place.
    pub manifest_urls: ManifestUrls,
    /// Which of the manifests that an index lists must be there.
    pub indexes: Platforms,
}

/// Settings under `validation.manifests.urls`: regular expressions, found anywhere in the URL, that do compile.
///
/// With both lists empty no URL is allowed; with only `deny`, all but those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestUrls {
    /// A URL must match one of these.
    pub allow: Vec<String>,
    /// A URL must match none of these.
    pub deny: Vec<String>,
}

/// Settings under `validation.manifests.indexes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Platforms {
    /// Every manifest that an index lists must be there, so that no pull of it can fail.
    #[default]
    All,
    /// None need be there.
    None,
    /// Those for these platforms must be there.
    List(Vec<Platform>),
}

/// A platform as an index describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// As in `amd64`.
    pub architecture: String,
    /// As in `linux`.
    pub os: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    All,
    None,
    List,
}

const CHOICES: &[(&str, Choice)] = &[
    ("all", Choice::All),
    ("none", Choice::None),
    ("list", Choice::List),
];

/// What an image is for: `policy.repository.classes`. Has no effect yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryClass {
    /// To run containers from.
    Image,
    /// To extend Docker with.
    Plugin,
}

const CLASSES: &[(&str, RepositoryClass)] = &[
    ("image", RepositoryClass::Image),
    ("plugin", RepositoryClass::Plugin),
];

/// `policy.repository.classes`: what may be pushed; all when empty.
pub(crate) fn repository_classes(reader: &mut Reader<'_>) -> Vec<RepositoryClass> {
    let class = |text: &str| scalar::one_of(text, CLASSES);
    reader.list("policy.repository.classes", class)
}

const PLATFORM_LIST: &str = "validation.manifests.indexes.platformlist";

impl Validation {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let enabled = reader.read("validation.enabled", scalar::boolean);
        let disabled = reader.read("validation.disabled", scalar::boolean);
        Self {
            disabled: disabled == Some(true) && enabled != Some(true),
            manifest_urls: ManifestUrls {
                allow: expressions(reader, "validation.manifests.urls.allow"),
                deny: expressions(reader, "validation.manifests.urls.deny"),
            },
            indexes: platforms(reader),
        }
    }
}

fn expressions(reader: &mut Reader<'_>, key: &'static str) -> Vec<String> {
    reader.list(key, expression)
}

fn expression(text: &str) -> Result<String, Unfit> {
    let compiled = Regex::new(text).map_err(|error| {
        // The last line says what is wrong; those before draw where.
        let error = error.to_string();
        let cause = error.lines().last().unwrap_or_default();
        let cause = cause.trim_start_matches("error: ");
        Unfit::new(format!("is not a regular expression: {cause}"))
    })?;
    Ok(compiled.as_str().to_owned())
}

fn platforms(reader: &mut Reader<'_>) -> Platforms {
    let choice = |text: &str| scalar::one_of(text, CHOICES);
    let chosen = reader.read("validation.manifests.indexes.platforms", choice);
    let listed = listed(reader);
    match chosen {
        Some(Choice::List) => return Platforms::List(listed),
        Some(Choice::None) if listed.is_empty() => return Platforms::None,
        Some(Choice::All) | None if listed.is_empty() => return Platforms::All,
        _ => {}
    }
    let text = "has no effect unless platforms beside it is list";
    reader.remark(PLATFORM_LIST, text);
    match chosen {
        Some(Choice::None) => Platforms::None,
        _ => Platforms::All,
    }
}

fn listed(reader: &mut Reader<'_>) -> Vec<Platform> {
    let Some(list) = reader.node(PLATFORM_LIST) else {
        return Vec::new();
    };
    let mut platforms = Vec::with_capacity(list.items().len());
    for (index, item) in list.items().iter().enumerate() {
        let mut field = |name: &str| {
            let found = Found {
                key: format!("{PLATFORM_LIST}[{index}]"),
                origin: &item.origin,
                text: item
                    .get(name)
                    .and_then(|value| value.text())
                    .unwrap_or_default(),
            };
            reader.parse(&found, |text| match text {
                "" => Err(Unfit::new(format!(
                    "is no {name}; name both architecture and os"
                ))),
                text => Ok(text.to_owned()),
            })
        };
        if let (Some(architecture), Some(os)) = (field("architecture"), field("os")) {
            platforms.push(Platform { architecture, os });
        }
    }
    platforms
}

#[cfg(test)]
mod tests;
