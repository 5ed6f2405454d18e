//! Users with passwords: the file, the work that passwords cost, and the bounds on guessing.

mod create;
mod edit;
mod file;
mod limiter;
mod password;
mod users;
mod verifier;

pub use edit::{EditError, Htpasswd};
pub use file::{FileMistakes, LineMistake};
pub use password::{PASSWORD_BYTES, PasswordError};

pub(crate) use password::Hash as StoredHash;
pub(crate) use users::{Refused, Users};
