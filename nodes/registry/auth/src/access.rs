//! What a request wants: actions on resources, in the words of the token specification.

use std::fmt;

use roadstead_oci::Name;
use serde::Serialize;

/// What may be done with a resource. Their order is the order in which challenges name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Read manifests, blobs, tags and referrers.
    Pull,
    /// Write manifests and blobs.
    Push,
    /// Delete manifests, tags and blobs.
    Delete,
    /// List repositories. Tokens write it `*`.
    Catalog,
}

impl Action {
    /// The word that scopes and tokens have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Catalog => "*",
        }
    }
}

/// What actions are done to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resource {
    /// One repository.
    Repository(Name),
    /// The list of repositories.
    Catalog,
}

impl Resource {
    /// `repository` or `registry`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Repository(_) => "repository",
            Self::Catalog => "registry",
        }
    }

    /// The repository's name, or `catalog`.
    pub fn name(&self) -> &str {
        match self {
            Self::Repository(name) => name.as_str(),
            Self::Catalog => "catalog",
        }
    }
}

/// Actions on one resource, each once and in their order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Access {
    resource: Resource,
    actions: Vec<Action>,
}

impl Access {
    /// What is to be acted on.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The actions, never none.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }
}

/// `repository:library/ubuntu:pull,push`
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.resource.kind(), self.resource.name())?;
        for (at, action) in self.actions.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}", action.as_str())?;
        }
        Ok(())
    }
}

/// All that a request wants. Nothing at all still wants a valid credential.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Wanted(Vec<Access>);

impl Wanted {
    /// A valid credential and no more: what `/v2/` asks for.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// `GET` and `HEAD`.
    pub fn pull(name: &Name) -> Self {
        Self::repository(name, &[Action::Pull])
    }

    /// `POST`, `PUT` and `PATCH`: who writes reads too.
    pub fn push(name: &Name) -> Self {
        Self::repository(name, &[Action::Pull, Action::Push])
    }

    /// `DELETE`.
    pub fn delete(name: &Name) -> Self {
        Self::repository(name, &[Action::Delete])
    }

    /// `_catalog`.
    pub fn catalog() -> Self {
        Self(vec![Access {
            resource: Resource::Catalog,
            actions: vec![Action::Catalog],
        }])
    }

    /// This and `other`, as in a push to one repository that pulls from another.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for access in other.0 {
            match self.0.iter_mut().find(|a| a.resource == access.resource) {
                Some(same) => {
                    same.actions.extend(access.actions);
                    same.actions.sort_unstable();
                    same.actions.dedup();
                }
                None => self.0.push(access),
            }
        }
        self
    }

    /// Each resource once.
    pub fn accesses(&self) -> &[Access] {
        &self.0
    }

    /// Whether no resource is wanted.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// The scope that a token needs: `repository:a:pull,push repository:b:pull`.
    pub fn scope(&self) -> String {
        let scopes: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        scopes.join(" ")
    }

    /// One entry for each action: what an `UNAUTHORIZED` error has for its detail. Without entries, the reference
    /// sends `null`.
    pub fn details(&self) -> Vec<Detail> {
        self.pairs()
            .map(|(resource, action)| Detail {
                kind: resource.kind(),
                class: "",
                name: resource.name().to_owned(),
                action: action.as_str(),
            })
            .collect()
    }

    /// Each action with its resource.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Resource, Action)> {
        self.0.iter().flat_map(|access| {
            let actions = access.actions.iter();
            actions.map(|action| (&access.resource, *action))
        })
    }

    fn repository(name: &Name, actions: &[Action]) -> Self {
        Self(vec![Access {
            resource: Resource::Repository(name.clone()),
            actions: actions.to_vec(),
        }])
    }
}

/// One entry of an error's detail, as the reference writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Detail {
    /// `repository` or `registry`.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// Always empty: the registry does not tell classes apart.
    pub class: &'static str,
    /// The repository, or `catalog`.
    pub name: String,
    /// `pull`, `push`, `delete` or `*`.
    pub action: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn scopes_name_actions_in_one_order() {
        let (a, b) = (name("a/b"), name("c"));
        assert_eq!(Wanted::nothing().scope(), "");
        assert_eq!(Wanted::push(&a).scope(), "repository:a/b:pull,push");
        assert_eq!(Wanted::catalog().scope(), "registry:catalog:*");
        assert_eq!(
            Wanted::push(&a).and(Wanted::pull(&b)).scope(),
            "repository:a/b:pull,push repository:c:pull"
        );
        let all = Wanted::delete(&a).and(Wanted::push(&a));
        assert_eq!(all.scope(), "repository:a/b:pull,push,delete");
        assert_eq!(all.accesses().len(), 1);
    }

    #[test]
    fn details_are_the_reference_s() {
        let details = Wanted::push(&name("a")).details();
        assert_eq!(
            serde_json::to_string(&details).unwrap(),
            r#"[{"Type":"repository","Class":"","Name":"a","Action":"pull"},{"Type":"repository","Class":"","Name":"a","Action":"push"}]"#
        );
        assert!(Wanted::nothing().details().is_empty());
    }
}
