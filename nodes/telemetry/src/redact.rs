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

/// How often a text is decoded to see what is in it: what is encoded more often than that is taken for a secret.
const ROUNDS: usize = 5;

/// A request target as a log may show it: the values of parameters that carry secrets, and user information, are masked.
pub fn uri(uri: &str) -> Cow<'_, str> {
    let (target, fragment) = split_before(uri, '#');
    let (path, query) = split_before(target, '?');
    let path = mask_path(path);
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

/// A path, or a URL up to its parameters, or what a `CONNECT` names. Whoever encodes the mark of the parameters, or uses
/// another, still has them in the path.
fn mask_path(path: &str) -> Cow<'_, str> {
    let without = without_user(path);
    let named = if path.starts_with('/') || path.contains("://") {
        without
    } else {
        without_user_in(path, "", path)
    };
    if !hides_secret(&named) {
        return named;
    }
    let shown = split_before_any(&named, &['%', ';', '&', '=']);
    Cow::Owned(format!("{shown}{MASK}"))
}

fn split_before_any<'a>(text: &'a str, marks: &[char]) -> &'a str {
    text.split(marks).next().unwrap_or_default()
}

/// `http://user:password@host/` without its user.
fn without_user(target: &str) -> Cow<'_, str> {
    match target.split_once("://") {
        None => Cow::Borrowed(target),
        Some((scheme, rest)) => without_user_in(target, scheme, rest),
    }
}

/// `rest` begins with the authority; `scheme` is empty where there is none.
fn without_user_in<'a>(target: &'a str, scheme: &str, rest: &str) -> Cow<'a, str> {
    let (authority, path) = split_before(rest, '/');
    match authority.rsplit_once('@') {
        None | Some((MASK, _)) => Cow::Borrowed(target),
        Some((_, host)) if scheme.is_empty() => Cow::Owned(format!("{MASK}@{host}{path}")),
        Some((_, host)) => Cow::Owned(format!("{scheme}://{MASK}@{host}{path}")),
    }
}

/// A query or fragment with its mark, secrets masked.
fn mask_parameters(parameters: &str) -> Cow<'_, str> {
    let pieces = || parameters.split_inclusive(SEPARATORS);
    if pieces().all(|piece| matches!(mask_piece(piece), Cow::Borrowed(_))) {
        return Cow::Borrowed(parameters);
    }
    Cow::Owned(pieces().map(mask_piece).collect())
}

/// One parameter, with the separator after it.
fn mask_piece(piece: &str) -> Cow<'_, str> {
    let parameter = piece.trim_end_matches(SEPARATORS);
    let (_, end) = piece.split_at(parameter.len());
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    if hides_secret(name) {
        Cow::Owned(format!("{MASK}{end}"))
    } else if parameter.contains('=') && (is_secret_name(name) || hides_secret(value)) {
        Cow::Owned(format!("{name}={MASK}{end}"))
    } else {
        Cow::Borrowed(piece)
    }
}

/// What parts parameters, for any server's idea of it.
const SEPARATORS: [char; 4] = ['?', '#', '&', ';'];

fn is_secret_name(name: &str) -> bool {
    let Some(name) = decoded(name).pop() else {
        return true;
    };
    let name = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| character.to_ascii_lowercase())
        .collect::<String>();
    SECRET_NAMES.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// Whether a text is itself an address with a user or with a secret among its parameters, however often it is encoded.
fn hides_secret(text: &str) -> bool {
    let has_secret = |text: &Cow<'_, str>| {
        text.split(SEPARATORS)
            .filter_map(|piece| piece.split_once('='))
            .any(|(name, _)| is_secret_name(name))
            || matches!(without_user(text), Cow::Owned(_))
    };
    let forms = decoded(text);
    forms.is_empty() || forms.iter().any(has_secret)
}

/// The text, and what comes of it decoded once, twice ... until nothing is encoded any more. Nothing at all where that has
/// no end.
fn decoded(text: &str) -> Vec<Cow<'_, str>> {
    let mut forms = vec![Cow::Borrowed(text)];
    for _ in 0..ROUNDS {
        let Some(last) = forms.last().filter(|last| last.contains('%')) else {
            return forms;
        };
        let next = percent_decode_str(last).decode_utf8_lossy().into_owned();
        if next == **last {
            return forms;
        }
        forms.push(Cow::Owned(next));
    }
    Vec::new()
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
            ("/?http://u:p@h/", "/?REDACTED"),
            ("/?n=1%26token%3Dx&m=2", "/?n=REDACTED&m=2"),
            ("/?n%26token%3Dx&m=2", "/?REDACTED&m=2"),
            ("/?%2574oken=x", "/?%2574oken=REDACTED"),
            (
                "/v2/x?a=http%253A%252F%252Fu%253Ap%2540h",
                "/v2/x?a=REDACTED",
            ),
            ("/?a=%25252525252541", "/?a=REDACTED"),
            ("/?a=100%", "/?a=100%"),
            ("/?a=100%25", "/?a=100%25"),
            ("u:p@h:1", "REDACTED@h:1"),
            ("h:1", "h:1"),
            ("/a@b", "/a@b"),
            ("/%3Ftoken=x", "/REDACTED"),
            ("/%253Ftoken%253Dx?n=1", "/REDACTED?n=1"),
            ("/v2/;token=x", "/v2/REDACTED"),
            ("/v2/%61/tags/list", "/v2/%61/tags/list"),
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
            for mark in ["?", "%3F", ";", "%253f"] {
                let given = format!("/{before}{mark}{name}=HUSH{after}");
                let masked = uri(&given);
                prop_assert!(!masked.contains("HUSH"), "{}", masked);
            }
        }

        #[test]
        fn any_target_can_be_masked_and_again(given in ".{0,80}") {
            let once = uri(&given).into_owned();
            prop_assert_eq!(uri(&once).into_owned(), once);
        }
    }
}
