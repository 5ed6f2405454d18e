//! What an answered request may do, besides what it asked for.

use std::sync::Arc;

use roadstead_oci::Name;

use crate::access::{Action, Resource, Wanted};
use crate::rules::RuleBook;
use crate::token::TokenAccess;

/// Somebody, and what they may do.
#[derive(Debug, Clone)]
pub struct Granted {
    user: Option<String>,
    held: Held,
}

#[derive(Debug, Clone)]
pub(crate) enum Held {
    Everything,
    Rules(Arc<RuleBook>),
    Token(Arc<TokenAccess>),
}

impl Granted {
    pub(crate) fn new(user: Option<String>, held: Held) -> Self {
        Self { user, held }
    }

    /// Who it is, where that is known.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether all of this is allowed too: the source of a mount, a subject, a page of the catalogue.
    pub fn may(&self, wanted: &Wanted) -> bool {
        wanted
            .pairs()
            .all(|(resource, action)| self.allows(resource, action))
    }

    /// Whether the catalogue shows this repository. Rules show what may be pulled, or where they allow
    /// [`Action::Catalog`]; a token that allows the catalogue allows all of it, as in the reference.
    pub fn lists(&self, name: &Name) -> bool {
        match &self.held {
            Held::Everything => true,
            Held::Rules(book) => book.lists(self.user(), name),
            Held::Token(access) => access.allows(&Resource::Catalog, Action::Catalog),
        }
    }

    /// Whether everything is allowed, everywhere: what a mount from wherever the blob happens to be needs.
    pub fn may_everything(&self) -> bool {
        matches!(self.held, Held::Everything)
    }

    fn allows(&self, resource: &Resource, action: Action) -> bool {
        match &self.held {
            Held::Everything => true,
            Held::Rules(book) => book.allows(self.user(), resource, action),
            Held::Token(access) => access.allows(resource, action),
        }
    }
}
