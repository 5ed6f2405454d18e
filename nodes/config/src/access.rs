//! `access`: who may do what in which repositories, beside `auth.htpasswd`. Roadstead's own.

use std::collections::BTreeMap;

use crate::auth::Auth;
use crate::node::{Kind, Node};
use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::suggest;

/// Settings under `access`. What no rule allows is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Users by group: `groups`.
    pub groups: BTreeMap<String, Vec<String>>,
    /// What is allowed: `rules`. Never empty.
    pub rules: Vec<AccessRule>,
}

/// An item of `access.rules`. It names somebody, and an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// Globs; empty only where the one action is the catalogue: `repositories`.
    pub repositories: Vec<String>,
    /// By name: `users`.
    pub users: Vec<String>,
    /// Groups that there are: `groups`.
    pub groups: Vec<String>,
    /// Whoever does not log in, too: `anonymous`. Default: false.
    pub anonymous: bool,
    /// What they may do: `actions`, with `*` for all of them. None stands twice.
    pub actions: Vec<AccessAction>,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessAction {
    /// Read blobs, manifests and tags.
    Pull,
    /// Write them.
    Push,
    /// Delete them.
    Delete,
    /// List the repositories.
    Catalog,
}

impl AccessAction {
    const ALL: [Self; 4] = [Self::Pull, Self::Push, Self::Delete, Self::Catalog];
}

const ACTIONS: &[(&str, &[AccessAction])] = &[
    ("pull", &[AccessAction::Pull]),
    ("push", &[AccessAction::Push]),
    ("delete", &[AccessAction::Delete]),
    ("catalog", &[AccessAction::Catalog]),
    ("*", &AccessAction::ALL),
];

impl Access {
    /// `None` when the key is absent: then `auth` alone decides.
    pub(crate) fn read(reader: &mut Reader<'_>, auth: &Auth) -> Option<Self> {
        let node = reader.node("access")?;
        if node.is_blank() {
            return None;
        }
        // A controller with a mistake of its own was asked for all the same.
        let asked_for = reader
            .node("auth")
            .is_some_and(|auth| auth.get("htpasswd").is_some());
        if !asked_for && !matches!(auth, Auth::Htpasswd { .. }) {
            let reason = match auth {
                Auth::Token(_) => {
                    "a token carries its own rights; remove access, or use auth.htpasswd"
                }
                _ => "needs auth.htpasswd, which says who somebody is",
            };
            reader.mistake("access", reason);
        }
        let access = &mut reader.below("access");
        let groups = groups(access);
        let rules = access.each("rules", |rule| Some(AccessRule::read(rule, &groups)));
        if access
            .node("rules")
            .is_none_or(|rules| rules.items().is_empty())
        {
            access.missing("rules", "without a rule nobody could do anything");
        }
        Some(Self { groups, rules })
    }
}

fn groups(access: &mut Reader<'_>) -> BTreeMap<String, Vec<String>> {
    let groups = access.each_entry("groups", |name, group| {
        if name.is_empty() {
            group.mistake("", "a group needs a name");
        }
        (name.to_owned(), texts(group, "", user))
    });
    groups.into_iter().collect()
}

impl AccessRule {
    fn read(rule: &mut Reader<'_>, known: &BTreeMap<String, Vec<String>>) -> Self {
        let read = Self {
            repositories: texts(rule, "repositories", |text| Ok(text.to_owned())),
            users: texts(rule, "users", user),
            groups: texts(rule, "groups", |text| group(text, known)),
            anonymous: rule.read("anonymous", scalar::boolean) == Some(true),
            actions: actions(rule),
        };
        let names = |key: &str| rule.node(key).is_some_and(Node::is_set);
        let names_someone = names("users") || names("groups") || names("anonymous");
        let (has_repositories, has_actions) = (names("repositories"), names("actions"));
        if !names_someone {
            rule.mistake("", "names nobody; write users, groups, or anonymous: true");
        } else if !(names("users") || names("groups") || read.anonymous) {
            rule.mistake(
                "anonymous",
                "is all that this rule says about whom, and it is not true",
            );
        }
        if !has_actions {
            let what = "write some of pull, push, delete, catalog, or *";
            rule.missing("actions", what);
        } else if !has_repositories && read.actions != [AccessAction::Catalog] {
            rule.missing("repositories", "write globs, as in [\"team/**\"]");
        }
        let writes =
            |action: &AccessAction| matches!(action, AccessAction::Push | AccessAction::Delete);
        if read.anonymous && read.actions.iter().any(writes) {
            rule.remark("", "lets anybody write, without a password");
        }
        read
    }
}

fn actions(rule: &mut Reader<'_>) -> Vec<AccessAction> {
    let named = texts(rule, "actions", |text| scalar::one_of(text, ACTIONS));
    let mut actions: Vec<AccessAction> = named.into_iter().flatten().copied().collect();
    actions.sort_unstable();
    actions.dedup();
    actions
}

/// A name that a client can send: RFC 7617 ends it at the first colon.
fn user(text: &str) -> Result<String, Unfit> {
    if text.contains(':') || text.contains(char::is_control) {
        return Err(Unfit::new(
            "is not a user's name: it holds a colon or a control character",
        ));
    }
    Ok(text.to_owned())
}

fn group(text: &str, known: &BTreeMap<String, Vec<String>>) -> Result<String, Unfit> {
    if known.contains_key(text) {
        return Ok(text.to_owned());
    }
    let meant = suggest::nearest(text, known.keys().map(String::as_str)).map(str::to_owned);
    Err(Unfit::new("is not a group in access.groups").suggest(meant))
}

/// The texts of a list, where an empty one is a mistake: left out, it would change what the rule says.
fn texts<T>(
    reader: &mut Reader<'_>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, Unfit>,
) -> Vec<T> {
    let items = reader.node(key).map_or(&[][..], Node::items);
    let empty = items
        .iter()
        .any(|item| !matches!(item.kind, Kind::Map(_) | Kind::Seq(_)) && item.text().is_none());
    if empty {
        reader.mistake(key, "holds an empty text");
    }
    reader.list(key, parse)
}

#[cfg(test)]
mod tests;
