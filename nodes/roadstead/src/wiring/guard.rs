//! `auth` and `access`.

use roadstead_auth::{
    Action, HtpasswdOptions, Jwks, Options, Realm, Rule, Rules, TokenKey, TokenKeys, TokenOptions,
};
use roadstead_config::{Access, AccessAction, AccessRule, Auth, Jwks as ConfigJwks, Token};
use roadstead_registry::Keys;

/// What the key of this registry's own tokens is derived under.
const TOKEN_KEY: &str = "tokens that say who somebody is, 1";

pub(super) fn options(auth: &Auth, access: Option<&Access>, keys: &Keys) -> Options {
    match auth {
        Auth::None => Options::None,
        Auth::Silly { realm, service } => Options::Silly {
            realm: realm.clone(),
            service: service.clone(),
        },
        Auth::Htpasswd { realm, path } => Options::Htpasswd(HtpasswdOptions {
            rules: access.map(rules),
            token_keys: Some(token_keys(keys.clone())),
            ..HtpasswdOptions::new(realm, path)
        }),
        Auth::Token(token) => Options::Token(token_options(token)),
    }
}

fn token_keys(keys: Keys) -> TokenKeys {
    TokenKeys::new(move || {
        let keys = keys.keys_for(TOKEN_KEY);
        keys.into_iter().map(TokenKey::from).collect()
    })
}

fn rules(access: &Access) -> Rules {
    Rules {
        groups: access.groups.clone(),
        rules: access.rules.iter().map(rule).collect(),
    }
}

fn rule(rule: &AccessRule) -> Rule {
    let action = |action: &AccessAction| match action {
        AccessAction::Pull => Action::Pull,
        AccessAction::Push => Action::Push,
        AccessAction::Delete => Action::Delete,
        AccessAction::Catalog => Action::Catalog,
    };
    Rule {
        repositories: rule.repositories.clone(),
        users: rule.users.clone(),
        groups: rule.groups.clone(),
        anonymous: rule.anonymous,
        actions: rule.actions.iter().map(action).collect(),
    }
}

fn token_options(token: &Token) -> TokenOptions {
    TokenOptions {
        realm: match &token.auto_redirect {
            None => Realm::Fixed(token.realm.clone()),
            Some(path) => Realm::SameHost {
                path: path.clone(),
                otherwise: token.realm.clone(),
            },
        },
        service: token.service.clone(),
        issuer: token.issuer.clone(),
        rootcertbundle: token.root_cert_bundle.clone(),
        jwks: token.jwks.as_ref().map(|jwks| match jwks {
            ConfigJwks::File(path) => Jwks::File(path.clone()),
            ConfigJwks::Url(url) => Jwks::Url(url.as_str().to_owned()),
        }),
        signingalgorithms: token.signing_algorithms.clone(),
    }
}
