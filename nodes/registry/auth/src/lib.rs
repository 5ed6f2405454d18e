//! Who is asking, and may they?
//!
//! [`Authenticator::authorize`] takes what a request shows of itself and what it wants, and answers with what was
//! [`Granted`] or why it was [`Denied`]. No HTTP library, no configuration file: the rooms above know those.

mod access;
mod authenticator;
mod basic;
mod challenge;
mod clock;
mod granted;
mod htpasswd;
mod identity;
mod login;
mod options;
mod rules;
mod token;
mod watched;

pub use access::{Access, Action, Detail, Resource, Wanted};
pub use authenticator::{Asked, Authenticator, BuildError, Denied, Reason, Unavailable};
pub use clock::{Clock, system_clock};
pub use granted::Granted;
pub use htpasswd::{
    EditError, FileMistakes, Htpasswd as HtpasswdFile, LineMistake, PASSWORD_BYTES, PasswordError,
};
pub use identity::IssuedToken;
pub use login::{Login, TokenService};
pub use options::{
    GuessLimits, HtpasswdOptions, Jwks, Options, Realm, Rule, Rules, TokenKey, TokenKeys,
    TokenOptions, VerifyLimits,
};
pub use rules::RuleMistake;
pub use token::TokenMistake;
pub use watched::FileError;

/// Bytes of an `Authorization` header at most: longer ones are refused unread. A token with a chain of three
/// certificates has about six thousand.
pub const MAX_HEADER: usize = 16 << 10;
