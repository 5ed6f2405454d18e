//! Several certificates, chosen by the name that a client asks for (RFC 6066, section 3).

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::Identity;

/// The first, if there is one, is for whoever asks for no name that another has.
#[derive(Debug)]
pub(super) struct ByName {
    first: Option<Arc<CertifiedKey>>,
    others: Vec<(Vec<String>, Arc<CertifiedKey>)>,
}

impl ByName {
    pub(super) fn of(first: Option<Identity>, others: Vec<Identity>) -> Self {
        let first = first.map(|first| (first.names, Arc::new(first.certified)));
        let others = others
            .into_iter()
            .map(|other| (other.names, Arc::new(other.certified)));
        Self {
            // Where two are for a name, the first is shown.
            others: first.clone().into_iter().chain(others).collect(),
            first: first.map(|(_, certified)| certified),
        }
    }

    fn named(&self, asked: &str) -> Option<&Arc<CertifiedKey>> {
        let asked = asked.to_ascii_lowercase();
        let has = |fits: fn(&str, &str) -> bool| {
            self.others
                .iter()
                .find(|(names, _)| names.iter().any(|name| fits(name, &asked)))
        };
        // To the letter first: a certificate for all names of a domain may lie beside one for a single name of it.
        let found = has(|name, asked| name == asked).or_else(|| has(covers));
        found.map_or(self.first.as_ref(), |(_, certified)| Some(certified))
    }
}

/// `*` stands for one label, the first (RFC 9525, section 6.3).
fn covers(name: &str, asked: &str) -> bool {
    let domain = name.strip_prefix("*.");
    let rest = asked.split_once('.').map(|(_, rest)| rest);
    domain.is_some() && domain == rest
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = hello
            .server_name()
            .map_or(self.first.as_ref(), |asked| self.named(asked));
        chosen.map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_star_is_one_label() {
        assert!(covers("*.example.com", "a.example.com"));
        for other in ["example.com", "a.b.example.com", "com", "a.example.org"] {
            assert!(!covers("*.example.com", other), "{other}");
        }
        assert!(!covers("a.example.com", "a.example.com"));
    }
}
