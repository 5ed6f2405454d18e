//! URLs that the registry itself calls, or sends clients to.

use std::fmt;

use crate::listen::ListenAddr;
use crate::scalar::Unfit;

/// An `http` or `https` URL. It may hold a password, so printing leaves user, password and query out.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    /// The whole URL, as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.find(['?', '#']).unwrap_or(self.0.len());
        let shown = self.0.get(..end).unwrap_or_default();
        let (scheme, rest) = shown.split_once("://").unwrap_or(("", shown));
        let (user, place) = without_user(rest);
        let mark = if user.is_some() { "...@" } else { "" };
        write!(f, "{scheme}://{mark}{place}")
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// For a reader.
pub(crate) fn parse(text: &str) -> Result<HttpUrl, Unfit> {
    // Nothing of a text that may hold a password is repeated.
    let careful = |unfit: Unfit| {
        if text.contains(['@', '?']) {
            return unfit.hide();
        }
        unfit
    };
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(careful(not_a_url()));
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(|| careful(not_a_url()))?;
    let (_, place) = without_user(rest);
    let end = place.find(['?', '#']).unwrap_or(place.len());
    let place = place.get(..end).unwrap_or_default();
    split(&format!("{scheme}://{place}")).map_err(careful)?;
    Ok(HttpUrl(text.to_owned()))
}

/// What follows the scheme, parted at the end of user and password.
fn without_user(rest: &str) -> (Option<&str>, &str) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    match authority
        .rfind('@')
        .and_then(|at| rest.split_at_checked(at))
    {
        Some((user, rest)) => (Some(user), rest.strip_prefix('@').unwrap_or(rest)),
        None => (None, rest),
    }
}

/// Scheme with authority, and the path after them without slashes at its ends.
pub(crate) fn split(text: &str) -> Result<(String, String), Unfit> {
    let (scheme, rest) = text.split_once("://").ok_or_else(not_a_url)?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err(Unfit::new("has a scheme other than http and https"));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port_is_there = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'));
    let with_port = if port_is_there {
        authority.to_owned()
    } else {
        format!("{authority}:0")
    };
    let listen: ListenAddr = with_port.parse().map_err(|_not_an_authority| not_a_url())?;
    if listen.host.is_none() {
        return Err(not_a_url());
    }
    let path = path.trim_matches('/').to_owned();
    Ok((format!("{scheme}://{authority}"), path))
}

fn not_a_url() -> Unfit {
    Unfit::new("is not a URL; write for example https://registry.example")
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_url_is_kept_whole_and_printed_without_what_may_be_secret() {
        let url = parse("https://me:hunter2@a.example:8443/path?token=hunter3#x").unwrap();
        assert_eq!(
            url.as_str(),
            "https://me:hunter2@a.example:8443/path?token=hunter3#x"
        );
        assert_eq!(format!("{url:?}"), "https://...@a.example:8443/path");
        let plain = parse("http://[::1]:5000").unwrap();
        assert_eq!(plain.to_string(), "http://[::1]:5000");
        let mail = parse("http://a.example/me@there").unwrap();
        assert_eq!(mail.to_string(), "http://a.example/me@there");
    }

    #[test]
    fn what_is_no_url_is_refused_and_hidden_if_it_may_hold_a_password() {
        for text in [
            "a.example",
            "ftp://a.example",
            "http://",
            "http://@",
            "http://a b",
            "http://a:x",
            "http://a\n",
            "://a",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("ftp://me:hunter2@a").unwrap_err().hidden);
        assert!(parse("https://a:x?token=hunter2").unwrap_err().hidden);
        assert!(!parse("ftp://a").unwrap_err().hidden);
    }
}
