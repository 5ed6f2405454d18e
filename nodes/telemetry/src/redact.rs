//! Request targets without what nobody may read in a log.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What stands in place of a secret.
const MASK: &str = "REDACTED";

/// A parameter whose name contains one of these, written in any way, carries a secret.
const SECRET_PARTS: &[&str] = &[
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "signature",
    "credential",
    "apikey",
    "accesskey",
    "authorization",
];

/// And one that has one of these names: `_state` lets its holder go on with an upload, the others are the names of
/// signatures and passwords elsewhere.
const SECRET_NAMES: &[&str] = &[
    "state",
    "sig",
    "key",
    "pass",
    "pwd",
    "jwt",
    "code",
    "assertion",
];

/// A request target as a log may show it: the values of parameters that carry secrets, and user information, are masked.
pub fn uri(uri: &str) -> Cow<'_, str> {
    let (target, fragment) = split_before(uri, '#');
    let (path, query) = split_before(target, '?');
    let path = without_user(path);
    let query = mask_parameters(query);
    let fragment = mask_parameters(fragment);
    if let (Cow::Borrowed(_), Cow::Borrowed(_), Cow::Borrowed(_)) = (&path, &query, &fragment) {
        return Cow::Borrowed(uri);
    }
    Cow::Owned(format!("{path}{query}{fragment}"))
}

/// The part before the first `mark`, and the rest with it.
fn split_before(text: &str, mark: char) -> (&str, &str) {
    text.split_at(text.find(mark).unwrap_or(text.len()))
}

/// `http://user:password@host/` without its user.
fn without_user(target: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = target.split_once("://") else {
        return Cow::Borrowed(target);
    };
    let (authority, path) = split_before(rest, '/');
    match authority.rsplit_once('@') {
        None => Cow::Borrowed(target),
        Some((_, host)) => Cow::Owned(format!("{scheme}://{MASK}@{host}{path}")),
    }
}

/// A query or fragment with its mark, secrets masked.
fn mask_parameters(parameters: &str) -> Cow<'_, str> {
    let is_secret = |piece: &str| {
        let piece = piece.trim_end_matches(SEPARATORS);
        piece
            .split_once('=')
            .is_some_and(|(name, value)| is_secret_name(name) || hides_secret(value))
    };
    if !parameters.split_inclusive(SEPARATORS).any(is_secret) {
        return Cow::Borrowed(parameters);
    }
    let mut masked = String::with_capacity(parameters.len());
    for piece in parameters.split_inclusive(SEPARATORS) {
        match piece.split_once('=') {
            Some((name, value)) if is_secret(piece) => {
                masked.push_str(name);
                masked.push('=');
                masked.push_str(MASK);
                let ends = value.len() - value.trim_end_matches(SEPARATORS).len();
                masked.extend(value.chars().skip(value.chars().count() - ends));
            }
            _ => masked.push_str(piece),
        }
    }
    Cow::Owned(masked)
}

/// What parts parameters, for any server's idea of it.
const SEPARATORS: [char; 4] = ['?', '#', '&', ';'];

fn is_secret_name(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy();
    let name = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| character.to_ascii_lowercase())
        .collect::<String>();
    SECRET_NAMES.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// Whether a value is itself an address, with a secret among its parameters.
fn hides_secret(value: &str) -> bool {
    let value = percent_decode_str(value).decode_utf8_lossy();
    value
        .split(SEPARATORS)
        .filter_map(|piece| piece.split_once('='))
        .any(|(name, _)| is_secret_name(name))
        || matches!(without_user(&value), Cow::Owned(_))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_masked_and_the_rest_stays() {
        for (given, expected) in [
            ("/v2/", "/v2/"),
            ("/v2/a/tags/list?n=5&last=b", "/v2/a/tags/list?n=5&last=b"),
            (
                "/v2/a/blobs/uploads/1?_state=abc==&digest=sha256:00",
                "/v2/a/blobs/uploads/1?_state=REDACTED&digest=sha256:00",
            ),
            ("/?digest=1&_state=x", "/?digest=1&_state=REDACTED"),
            ("/?access_token=x;n=1", "/?access_token=REDACTED;n=1"),
            ("/?%74oken=x", "/?%74oken=REDACTED"),
            (
                "/?PassWord=x&&token=",
                "/?PassWord=REDACTED&&token=REDACTED",
            ),
            ("/?X-Amz-Signature=x", "/?X-Amz-Signature=REDACTED"),
            ("/?a=b?token=x", "/?a=b?token=REDACTED"),
            ("/?u=https%3A%2F%2Fh%2F%3Ftoken%3Dx&n=1", "/?u=REDACTED&n=1"),
            ("/?token", "/?token"),
            ("/cb#access_token=x", "/cb#access_token=REDACTED"),
            ("http://u:p@h:1/v2/?n=1", "http://REDACTED@h:1/v2/?n=1"),
            ("/?q=http://u:p@h/", "/?q=REDACTED"),
            ("", ""),
        ] {
            assert_eq!(uri(given), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn no_masked_value_is_left(
            before in "[a-z=&;?/%]{0,20}",
            name in "(access_|%5F|x-)?(token|TOKEN|password|client-secret)",
            after in "([&;][a-z=&;]{0,10})?",
        ) {
            let given = format!("/{before}?{name}=HUSH{after}");
            let masked = uri(&given);
            prop_assert!(!masked.contains("HUSH"), "{}", masked);
        }

        #[test]
        fn any_target_can_be_masked_and_again(given in ".{0,80}") {
            let once = uri(&given).into_owned();
            prop_assert_eq!(uri(&once).into_owned(), once);
        }
    }
}
