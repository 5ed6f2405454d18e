//! `auth`: who is let in.

use std::path::PathBuf;

use crate::listen::Listen;
use crate::mistake::{Mistake, Origin};
use crate::node::Node;
use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::{Http, schema, url};

/// Where the reference sends clients for a token when it says only that it redirects.
const REDIRECT_PATH: &str = "/auth/token";

/// Every algorithm that a token may be signed with, by its name in RFC 7518 and RFC 8037.
const ALGORITHMS: [&str; 13] = [
    "EdDSA", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
    "PS256", "PS384", "PS512",
];

/// Settings under `auth`: the one access controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Everybody may do everything.
    #[default]
    None,
    /// Whoever sends an `Authorization` header, whatever it says: for trying clients out.
    Silly {
        /// Named in the challenge: `realm`.
        realm: String,
        /// Named in the challenge: `service`.
        service: String,
    },
    /// Users with passwords, in a file.
    Htpasswd {
        /// Named in the challenge: `realm`.
        realm: String,
        /// The file, of bcrypt hashes: `path`.
        path: PathBuf,
    },
    /// Tokens that somebody else issues.
    Token(Box<Token>),
}

/// Settings under `auth.token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The URL where clients get a token: `realm`.
    pub realm: String,
    /// Who a token must be for: `service`.
    pub service: String,
    /// Who must have issued it: `issuer`.
    pub issuer: String,
    /// Certificates in PEM of those who may sign: `rootcertbundle`. It or `jwks` is there.
    pub root_cert_bundle: Option<PathBuf>,
    /// Keys of those who may sign, a JSON web key set: `jwks`. It or `rootcertbundle` is there.
    pub jwks: Option<Jwks>,
    /// What a token may be signed with: `signingalgorithms`. Names of RFC 7518; never empty. Default: all thirteen.
    pub signing_algorithms: Vec<String>,
    /// The realm is on the host that the client asked, under this path: `autoredirect`, `autoredirectpath`. Default:
    /// not so; the path is `/auth/token` when only the first is set.
    pub auto_redirect: Option<String>,
}

/// Where a JSON web key set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jwks {
    /// In a file.
    File(PathBuf),
    /// Behind a URL. Over `http`, whoever is on the way can forge tokens.
    Url(url::HttpUrl),
}

impl Auth {
    /// The one controller that is named. Where there is a mistake about it, nothing of this is used.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let named = named(reader);
        if let [.., (before, _), (last, place)] = &named[..] {
            let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
            let reason = format!(
                "multiple access controllers: {}; keep {before} or {last} \
                 (REGISTRY_AUTH={last} replaces what the file says)",
                names.join(", ")
            );
            reader.note(Mistake::new("auth", (*place).clone(), reason));
        }
        let mut read = None;
        for (name, _) in named {
            let controller = &mut reader.below(&format!("auth.{name}"));
            read = match name {
                "silly" => silly(controller),
                "htpasswd" => htpasswd(controller),
                "token" => Token::read(controller).map(|token| Self::Token(Box::new(token))),
                _ => None,
            };
        }
        read.unwrap_or_default()
    }
}

/// The controllers that are named, in order, each with its place. Names that none has are already reported.
fn named<'a>(reader: &Reader<'a>) -> Vec<(&'a str, &'a Origin)> {
    let entries = reader.node("auth").map_or(&[][..], Node::entries);
    entries
        .iter()
        .map(|(name, value)| (name.as_str(), &value.origin))
        .filter(|(name, _)| schema::is_known(&format!("auth.{name}")))
        .collect()
}

const SHOWN_REALM: &str = "write the name that clients show to their users";

fn silly(silly: &mut Reader<'_>) -> Option<Auth> {
    let realm = silly.required("realm", SHOWN_REALM, in_a_header);
    let service = silly.required("service", "write the name of this registry", in_a_header);
    Some(Auth::Silly {
        realm: realm?,
        service: service?,
    })
}

fn htpasswd(htpasswd: &mut Reader<'_>) -> Option<Auth> {
    let realm = htpasswd.required("realm", SHOWN_REALM, in_a_header);
    let path = htpasswd.required_path("path", "write the path of the file with users and hashes");
    Some(Auth::Htpasswd {
        realm: realm?,
        path: path?,
    })
}

impl Token {
    fn read(token: &mut Reader<'_>) -> Option<Self> {
        let realm = token.required(
            "realm",
            "write the URL where clients get a token",
            in_a_header,
        );
        let service = token.required("service", "write whom tokens are for", in_a_header);
        let issuer = token.required("issuer", "write who issues tokens", |text| {
            Ok(text.to_owned())
        });
        let root_cert_bundle = token.path("rootcertbundle");
        let jwks = token.read("jwks", jwks);
        if root_cert_bundle.is_none() && !token.below("jwks").is_set() {
            let reason = "no token could be verified; name the keys in rootcertbundle or jwks";
            token.mistake("", reason);
        }
        if let Some(Jwks::Url(url)) = &jwks
            && url.as_str().starts_with("http:")
        {
            let text = "whoever is on the way to this URL can forge tokens; use https";
            token.remark("jwks", text);
        }
        let signing_algorithms = algorithms(token);
        let auto_redirect = auto_redirect(token);
        Some(Self {
            realm: realm?,
            service: service?,
            issuer: issuer?,
            root_cert_bundle,
            jwks,
            signing_algorithms,
            auto_redirect,
        })
    }
}

fn jwks(text: &str) -> Result<Jwks, Unfit> {
    if text.contains("://") {
        url::parse(text).map(Jwks::Url)
    } else {
        Ok(Jwks::File(text.into()))
    }
}

fn algorithms(token: &mut Reader<'_>) -> Vec<String> {
    let known = ALGORITHMS.map(|name| (name, name));
    let listed = token.list("signingalgorithms", |text| scalar::one_of(text, &known));
    let names = if listed.is_empty() {
        ALGORITHMS.to_vec()
    } else {
        listed
    };
    names.into_iter().map(str::to_owned).collect()
}

fn auto_redirect(token: &mut Reader<'_>) -> Option<String> {
    let path = token.read("autoredirectpath", |text| match text.strip_prefix('/') {
        Some(_) => in_a_header(text),
        None => Err(Unfit::new("is not a path; write for example /auth/token")),
    });
    let on = token.read("autoredirect", scalar::boolean) == Some(true);
    on.then(|| path.unwrap_or_else(|| REDIRECT_PATH.to_owned()))
}

/// A text for the challenge: no control character, so that it cannot start another header.
fn in_a_header(text: &str) -> Result<String, Unfit> {
    if text.chars().any(char::is_control) {
        return Err(Unfit::new("holds a control character"));
    }
    Ok(text.to_owned())
}

/// Why an operator's users cannot log in, or why they should not: passwords that cross the network in the clear.
pub(crate) fn remark_on_plain_passwords(reader: &mut Reader<'_>, auth: &Auth, http: &Http) {
    let by_proxy = http
        .host
        .as_ref()
        .is_some_and(|host| host.starts_with("https:"));
    let nearby = match &http.addr {
        Listen::Unix(_) => true,
        Listen::Tcp(addr) => addr.is_loopback(),
    };
    let safe = by_proxy || nearby || reader.below("http.tls").is_set();
    if matches!(auth, Auth::Htpasswd { .. }) && !safe {
        let text = "without http.tls passwords cross the network in the clear, and docker login refuses; \
                    behind a proxy that speaks TLS set http.host to its https URL";
        reader.remark("auth.htpasswd", text);
    }
}

#[cfg(test)]
mod tests;
