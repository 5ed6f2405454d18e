//! Headers that are added to what is sent: a map of lists, by name.

use crate::node::Node;
use crate::reader::{self, Found, Reader};
use crate::scalar::Unfit;
use crate::secret::Secret;

/// The headers at this key, in the order of the file.
pub(crate) fn read(reader: &mut Reader<'_>, key: &str) -> Vec<(String, Vec<String>)> {
    let map = reader.below(key);
    let full = map.key().to_owned();
    let Some(map) = reader.node(key) else {
        return Vec::new();
    };
    let mut headers = Vec::with_capacity(map.entries().len());
    for (name, list) in map.entries() {
        let key = format!("{full}.{name}");
        let found = Found {
            key: key.clone(),
            origin: &list.origin,
            text: name,
        };
        let name = reader.parse(&found, header_name);
        let values = header_values(reader, &key, list);
        headers.extend(name.map(|name| (name, values)));
    }
    headers
}

/// As [`read`], for headers that are sent elsewhere, where one may be a password.
pub(crate) fn read_secret(reader: &mut Reader<'_>, key: &str) -> Vec<(String, Vec<Secret>)> {
    let hide = |values: Vec<String>| values.into_iter().map(Secret::from).collect();
    read(reader, key)
        .into_iter()
        .map(|(name, values)| (name, hide(values)))
        .collect()
}

fn header_values(reader: &mut Reader<'_>, key: &str, list: &Node) -> Vec<String> {
    reader::texts_of(key, list)
        .iter()
        .filter_map(|found| reader.parse(found, header_value))
        .collect()
}

/// RFC 9110, section 5.6.2: a token.
fn header_name(text: &str) -> Result<String, Unfit> {
    let in_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || !text.chars().all(in_token) {
        return Err(Unfit::new("is not the name of a header"));
    }
    Ok(text.to_owned())
}

/// RFC 9110, section 5.5: anything but control characters, so that no value can start another header.
fn header_value(text: &str) -> Result<String, Unfit> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Unfit::new(
            "is not the value of a header: it holds a control character",
        ));
    }
    Ok(text.to_owned())
}
