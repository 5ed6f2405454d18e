//! `WWW-Authenticate` (RFC 7235, RFC 6750 section 3, RFC 7617).

use crate::access::Wanted;

/// `Basic realm="…"`
pub(crate) fn basic(realm: &str) -> String {
    format!("Basic realm={}", quoted(realm))
}

/// `Bearer realm="…",service="…",scope="…",error="…"`
pub(crate) fn bearer(realm: &str, service: &str, scope: &str, error: Option<&str>) -> String {
    let mut text = format!("Bearer realm={},service={}", quoted(realm), quoted(service));
    if !scope.is_empty() {
        text.push_str(",scope=");
        text.push_str(&quoted(scope));
    }
    if let Some(error) = error {
        text.push_str(",error=");
        text.push_str(&quoted(error));
    }
    text
}

/// The scope as the reference's `silly` writes it: each action alone.
pub(crate) fn silly_scope(wanted: &Wanted) -> String {
    let each = wanted.pairs().map(|(resource, action)| {
        format!(
            "{}:{}:{}",
            resource.kind(),
            resource.name(),
            action.as_str()
        )
    });
    each.collect::<Vec<_>>().join(" ")
}

/// Whether a text may stand in a header.
pub(crate) fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_quoted() {
        assert_eq!(basic("Registry Realm"), r#"Basic realm="Registry Realm""#);
        assert_eq!(basic(r#"a"b\c"#), r#"Basic realm="a\"b\\c""#);
        assert_eq!(
            bearer(
                "https://auth",
                "reg",
                "repository:a:pull,push",
                Some("invalid_token")
            ),
            r#"Bearer realm="https://auth",service="reg",scope="repository:a:pull,push",error="invalid_token""#
        );
        assert_eq!(
            bearer("r", "s", "", None),
            r#"Bearer realm="r",service="s""#
        );
    }

    #[test]
    fn silly_names_each_action_alone() {
        let wanted = Wanted::push(&"a".parse().unwrap());
        assert_eq!(silly_scope(&wanted), "repository:a:pull repository:a:push");
    }
}
