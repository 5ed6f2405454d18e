//! Who may do what, beside htpasswd: rules that allow, and nothing else does.

use std::collections::BTreeSet;

use roadstead_oci::Name;

use crate::access::{Action, Resource};
use crate::options::{Rule, Rules};

mod glob;

use glob::Glob;

/// A rule that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleMistake {
    /// Nobody can benefit from it.
    #[error(
        "rule {rule} is for nobody: name users, groups or anonymous (users: [\"*\"] is everyone with a password)"
    )]
    Nobody {
        /// Counted from 1.
        rule: usize,
    },
    /// It allows nothing.
    #[error("rule {rule} allows nothing: name actions")]
    Nothing {
        /// Counted from 1.
        rule: usize,
    },
    /// There is no such group.
    #[error("rule {rule} names the group {group:?}, which is not there")]
    NoGroup {
        /// Counted from 1.
        rule: usize,
        /// As it was written.
        group: String,
    },
    /// No repository's name can match.
    #[error(
        "rule {rule}: no repository can be called {glob:?}: names have lower-case letters, digits and . _ - /, with * and ** for any"
    )]
    Glob {
        /// Counted from 1.
        rule: usize,
        /// As it was written.
        glob: String,
    },
}

/// Rules, ready to be asked.
#[derive(Debug)]
pub(crate) struct RuleBook(Vec<Line>);

#[derive(Debug)]
struct Line {
    /// None at all is every repository.
    repositories: Vec<Glob>,
    users: BTreeSet<String>,
    /// All with a valid password.
    every_user: bool,
    anonymous: bool,
    actions: BTreeSet<Action>,
}

impl RuleBook {
    pub(crate) fn build(rules: &Rules) -> Result<Self, Vec<RuleMistake>> {
        let mut mistakes = Vec::new();
        let lines = (1..).zip(&rules.rules);
        let book = lines
            .map(|(number, rule)| Line::build(number, rule, rules, &mut mistakes))
            .collect();
        if mistakes.is_empty() {
            Ok(Self(book))
        } else {
            Err(mistakes)
        }
    }

    /// `None` is somebody without a password.
    pub(crate) fn allows(&self, user: Option<&str>, resource: &Resource, action: Action) -> bool {
        match resource {
            Resource::Repository(name) => self.allows_on(user, name, action),
            // What is listed is filtered: see `lists`.
            Resource::Catalog => self.0.iter().any(|line| {
                line.is_for(user)
                    && (line.actions.contains(&Action::Catalog)
                        || line.actions.contains(&Action::Pull))
            }),
        }
    }

    /// Whether anything is allowed without a password.
    pub(crate) fn is_for_anybody(&self) -> bool {
        self.0.iter().any(|line| line.anonymous)
    }

    pub(crate) fn lists(&self, user: Option<&str>, name: &Name) -> bool {
        self.allows_on(user, name, Action::Pull) || self.allows_on(user, name, Action::Catalog)
    }

    fn allows_on(&self, user: Option<&str>, name: &Name, action: Action) -> bool {
        self.0
            .iter()
            .any(|line| line.actions.contains(&action) && line.is_for(user) && line.is_about(name))
    }
}

impl Line {
    fn build(number: usize, rule: &Rule, all: &Rules, mistakes: &mut Vec<RuleMistake>) -> Self {
        if rule.users.is_empty() && rule.groups.is_empty() && !rule.anonymous {
            mistakes.push(RuleMistake::Nobody { rule: number });
        }
        if rule.actions.is_empty() {
            mistakes.push(RuleMistake::Nothing { rule: number });
        }
        let mut users: BTreeSet<String> = rule.users.iter().cloned().collect();
        for group in &rule.groups {
            match all.groups.get(group) {
                Some(members) => users.extend(members.iter().cloned()),
                None => mistakes.push(RuleMistake::NoGroup {
                    rule: number,
                    group: group.clone(),
                }),
            }
        }
        let mut repositories = Vec::new();
        for text in &rule.repositories {
            match Glob::parse(text) {
                Some(glob) => repositories.push(glob),
                None => mistakes.push(RuleMistake::Glob {
                    rule: number,
                    glob: text.clone(),
                }),
            }
        }
        Self {
            repositories,
            every_user: users.contains("*"),
            users,
            anonymous: rule.anonymous,
            actions: rule.actions.iter().copied().collect(),
        }
    }

    fn is_for(&self, user: Option<&str>) -> bool {
        self.anonymous || user.is_some_and(|user| self.every_user || self.users.contains(user))
    }

    fn is_about(&self, name: &Name) -> bool {
        self.repositories.is_empty()
            || self
                .repositories
                .iter()
                .any(|glob| glob.matches(name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(repositories: &[&str], users: &[&str], actions: &[Action]) -> Rule {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Rule {
            repositories: own(repositories),
            users: own(users),
            actions: actions.to_vec(),
            ..Rule::default()
        }
    }

    fn book(rules: Vec<Rule>) -> RuleBook {
        let groups = [("team".to_owned(), vec!["ann".to_owned(), "bob".to_owned()])].into();
        RuleBook::build(&Rules { groups, rules }).unwrap()
    }

    fn allows(book: &RuleBook, user: Option<&str>, name: &str, action: Action) -> bool {
        let name = Resource::Repository(name.parse().unwrap());
        book.allows(user, &name, action)
    }

    #[test]
    fn what_no_rule_allows_is_denied() {
        let book = book(vec![
            rule(&["ann/**"], &["ann"], &[Action::Pull, Action::Push]),
            rule(&["ann/open"], &["*"], &[Action::Pull]),
            Rule {
                groups: vec!["team".to_owned()],
                ..rule(&["team/*"], &[], &[Action::Pull])
            },
            Rule {
                anonymous: true,
                ..rule(&["public/**"], &[], &[Action::Pull])
            },
        ]);
        let cases = [
            (Some("ann"), "ann/x/y", Action::Push, true),
            (Some("ann"), "ann/x/y", Action::Delete, false),
            (Some("bob"), "ann/x/y", Action::Pull, false),
            (Some("bob"), "ann/open", Action::Pull, true),
            (Some("bob"), "ann/open", Action::Push, false),
            (None, "ann/open", Action::Pull, false),
            (Some("bob"), "team/x", Action::Pull, true),
            (Some("bob"), "team/x/y", Action::Pull, false),
            (Some("eve"), "team/x", Action::Pull, false),
            (None, "public/a/b", Action::Pull, true),
            (Some("eve"), "public/a/b", Action::Pull, true),
            (None, "public/a/b", Action::Push, false),
            (Some("*"), "team/x", Action::Pull, false),
        ];
        for (user, name, action, expected) in cases {
            assert_eq!(
                allows(&book, user, name, action),
                expected,
                "{user:?} {name} {action:?}"
            );
        }
        let none = RuleBook::build(&Rules::default()).unwrap();
        assert!(!allows(&none, Some("ann"), "a", Action::Pull));
        assert!(!none.allows(Some("ann"), &Resource::Catalog, Action::Catalog));
    }

    #[test]
    fn a_rule_without_repositories_means_all() {
        let book = book(vec![rule(&[], &["root"], &[Action::Delete])]);
        assert!(allows(&book, Some("root"), "a/b", Action::Delete));
        assert!(!allows(&book, Some("ann"), "a/b", Action::Delete));
    }

    #[test]
    fn the_catalogue_lists_what_may_be_pulled_or_listed() {
        let book = book(vec![
            rule(&["a/*"], &["ann"], &[Action::Pull]),
            rule(&["b/*"], &["ann"], &[Action::Catalog]),
            rule(&["c/*"], &["bob"], &[Action::Push]),
        ]);
        let lists = |user, name: &str| book.lists(user, &name.parse().unwrap());
        assert!(lists(Some("ann"), "a/x") && lists(Some("ann"), "b/x"));
        assert!(!lists(Some("ann"), "c/x") && !lists(Some("bob"), "c/x") && !lists(None, "a/x"));
        let may = |user| book.allows(user, &Resource::Catalog, Action::Catalog);
        assert!(may(Some("ann")) && !may(Some("bob")) && !may(None));
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let rules = Rules {
            groups: [].into(),
            rules: vec![
                rule(&[], &[], &[Action::Pull]),
                rule(&["Team/*", "a/***", ""], &["ann"], &[]),
                Rule {
                    groups: vec!["gone".to_owned()],
                    ..rule(&[], &[], &[Action::Pull])
                },
            ],
        };
        let mistakes = RuleBook::build(&rules).unwrap_err();
        let glob = |glob: &str| RuleMistake::Glob {
            rule: 2,
            glob: glob.to_owned(),
        };
        let expected = vec![
            RuleMistake::Nobody { rule: 1 },
            RuleMistake::Nothing { rule: 2 },
            glob("Team/*"),
            glob("a/***"),
            glob(""),
            RuleMistake::NoGroup {
                rule: 3,
                group: "gone".to_owned(),
            },
        ];
        assert_eq!(mistakes, expected);
    }
}
