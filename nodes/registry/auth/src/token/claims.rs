//! What a token claims.

use std::time::SystemTime;

use serde::Deserialize;

use super::header::object;
use crate::access::{Action, Resource};

/// How far the clocks of the token server and this machine may be apart, in seconds. As in the reference.
const LEEWAY: f64 = 60.0;

/// Why what a token claims does not hold here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimsMistake {
    #[error("its claims are not what RFC 7519 says")]
    Malformed,
    #[error("another issuer made it")]
    Issuer,
    #[error("it is for another service")]
    Audience,
    #[error("its time is over")]
    Expired,
    #[error("its time has not come")]
    NotYet,
}

/// A claim that is there twice is an error, so no two readers can understand it differently.
#[derive(Deserialize)]
pub(crate) struct Claims {
    iss: String,
    sub: Option<String>,
    aud: Audience,
    /// Seconds since 1970, which may have fractions (RFC 7519 section 2).
    exp: f64,
    nbf: Option<f64>,
    access: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Option<Vec<String>>,
}

/// Claims that hold here and now.
pub(crate) struct Verified {
    pub(crate) user: Option<String>,
    pub(crate) access: TokenAccess,
}

/// What a token allows.
#[derive(Debug)]
pub(crate) struct TokenAccess(Vec<Entry>);

impl Claims {
    pub(crate) fn parse(encoded: &str) -> Result<Self, ClaimsMistake> {
        let json = object(encoded).map_err(|_other| ClaimsMistake::Malformed)?;
        serde_json::from_slice(&json).map_err(|_other| ClaimsMistake::Malformed)
    }

    pub(crate) fn verify(
        self,
        issuer: &str,
        service: &str,
        now: SystemTime,
    ) -> Result<Verified, ClaimsMistake> {
        if self.iss != issuer {
            return Err(ClaimsMistake::Issuer);
        }
        let is_for_this = match &self.aud {
            Audience::One(one) => one == service,
            Audience::Several(all) => all.iter().any(|one| one == service),
        };
        if !is_for_this {
            return Err(ClaimsMistake::Audience);
        }
        let now = seconds(now);
        if now > self.exp + LEEWAY {
            return Err(ClaimsMistake::Expired);
        }
        if self.nbf.is_some_and(|nbf| now < nbf - LEEWAY) {
            return Err(ClaimsMistake::NotYet);
        }
        Ok(Verified {
            // A token server that lets everybody pull gives tokens to nobody in particular.
            user: self.sub.filter(|user| !user.is_empty()),
            access: TokenAccess(self.access.unwrap_or_default()),
        })
    }
}

impl TokenAccess {
    pub(crate) fn allows(&self, resource: &Resource, action: Action) -> bool {
        self.0.iter().any(|entry| {
            entry.kind() == resource.kind()
                && entry.name == resource.name()
                && entry.actions.iter().flatten().any(|allowed| {
                    // `*` is every action, as in the reference.
                    allowed == action.as_str() || allowed == "*"
                })
        })
    }
}

impl Entry {
    /// The type without its class, which older token servers write into it: `repository(plugin)`.
    fn kind(&self) -> &str {
        match self.kind.split_once('(') {
            Some((kind, class)) if class.ends_with(')') => kind,
            _ => &self.kind,
        }
    }
}

fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    fn check(json: &str, now: u64) -> Result<Verified, ClaimsMistake> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        Claims::parse(&URL_SAFE_NO_PAD.encode(json))?.verify("auth", "reg", now)
    }

    fn mistake(json: &str, now: u64) -> ClaimsMistake {
        check(json, now).err().unwrap()
    }

    #[test]
    fn issuer_audience_and_times() {
        let good = r#"{"iss":"auth","aud":"reg","exp":1000,"nbf":500}"#;
        assert!(check(good, 700).is_ok() && check(good, 1060).is_ok() && check(good, 440).is_ok());
        assert_eq!(mistake(good, 1061), ClaimsMistake::Expired);
        assert_eq!(mistake(good, 439), ClaimsMistake::NotYet);
        let listed = r#"{"iss":"auth","aud":["other","reg"],"exp":1000.5}"#;
        assert!(check(listed, 700).is_ok());
        let mistakes = [
            (
                r#"{"iss":"auth","aud":"other","exp":1000}"#,
                ClaimsMistake::Audience,
            ),
            (
                r#"{"iss":"auth","aud":[],"exp":1000}"#,
                ClaimsMistake::Audience,
            ),
            (
                r#"{"iss":"Auth","aud":"reg","exp":1000}"#,
                ClaimsMistake::Issuer,
            ),
            (
                r#"{"iss":"auth","aud":"reg","exp":-1e300}"#,
                ClaimsMistake::Expired,
            ),
        ];
        for (json, expected) in mistakes {
            assert_eq!(mistake(json, 700), expected, "{json}");
        }
    }

    #[test]
    fn claims_of_another_shape_are_refused() {
        let malformed = [
            r#"{"iss":"auth","aud":"reg"}"#,
            r#"{"iss":"auth","exp":1000}"#,
            r#"{"aud":"reg","exp":1000}"#,
            r#"{"iss":"auth","aud":"reg","exp":"1000"}"#,
            r#"{"iss":"auth","aud":"reg","exp":null}"#,
            r#"{"iss":"auth","aud":"reg","exp":1000,"exp":2000}"#,
            r#"{"iss":"auth","aud":"x","exp":1000,"aud":"reg"}"#,
            r#"{"iss":["auth"],"aud":"reg","exp":1000}"#,
            r#"{"iss":"auth","aud":"reg","exp":1000,"access":{"type":"repository"}}"#,
            r#"{"iss":"auth","aud":"reg","exp":1000,"access":"all"}"#,
            r#"{"iss":"auth","aud":"reg","exp":1000,"access":[{"type":"repository","name":"a","name":"b"}]}"#,
            r#"["auth","u","reg",1000]"#,
        ];
        for json in malformed {
            assert_eq!(mistake(json, 700), ClaimsMistake::Malformed, "{json}");
        }
    }

    #[test]
    fn access_is_by_type_name_and_action() {
        let json = r#"{"iss":"auth","aud":"reg","exp":1000,"sub":"ann","jti":"x","iat":1,"access":[
            {"type":"repository","name":"a","actions":["pull"]},
            {"type":"repository","class":"plugin","name":"a","actions":["push"]},
            {"type":"repository(plugin)","name":"p","actions":["pull"]},
            {"type":"repository","name":"all","actions":["*"]},
            {"type":"repository","name":"none"},
            {"type":"repository","name":"catalog","actions":["*"]}]}"#;
        let verified = check(json, 700).unwrap();
        assert_eq!(verified.user.as_deref(), Some("ann"));
        let allows = |name: &str, action| {
            let resource = Resource::Repository(name.parse().unwrap());
            verified.access.allows(&resource, action)
        };
        assert!(
            allows("a", Action::Pull) && allows("a", Action::Push) && allows("p", Action::Pull)
        );
        assert!(allows("all", Action::Delete) && !allows("a", Action::Delete));
        assert!(!allows("none", Action::Pull) && !allows("b", Action::Pull));
        assert!(!verified.access.allows(&Resource::Catalog, Action::Catalog));
    }

    #[test]
    fn a_token_may_be_nobody_s() {
        for json in [
            r#"{"iss":"auth","aud":"reg","exp":1000,"sub":"","access":null}"#,
            r#"{"iss":"auth","aud":"reg","exp":1000}"#,
        ] {
            assert_eq!(check(json, 700).unwrap().user, None);
        }
    }

    proptest! {
        #[test]
        fn no_claims_panic(json in any::<String>(), number in any::<f64>(), now in any::<u32>()) {
            drop(check(&json, 700));
            let json = format!(r#"{{"iss":"auth","aud":"reg","exp":{number},"nbf":{number}}}"#);
            drop(check(&json, now.into()));
        }
    }
}
