//! From a password to a user.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::create;
use super::file::UserFile;
use super::limiter::{Client, Fingerprint, Limiter};
use super::password::Hash;
use super::verifier::{Answer, Check, NotDone, Secret, Task, Verifier};
use crate::authenticator::BuildError;
use crate::basic::Credentials;
use crate::options::{GuessLimits, HtpasswdOptions};
use crate::watched::Watched;

/// The users of a file.
#[derive(Debug)]
pub(crate) struct Users {
    file: Watched<UserFile>,
    secret: Secret,
    verifier: Verifier,
    limiter: Arc<Limiter>,
    guesses: GuessLimits,
}

/// Somebody whose password was right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    /// That it was right for: the file may have another by now.
    pub(crate) hash: Hash,
}

/// Why somebody is not a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Wrong,
    /// Wrong too often. Whether it was right this time was not looked at.
    TooOften {
        retry_after: Duration,
    },
    /// More passwords wait than may.
    Busy,
}

impl Users {
    pub(crate) fn open(options: &HtpasswdOptions) -> Result<Self, BuildError> {
        Self::open_with(options, Arc::new(|password, hash| hash.fits(password)))
    }

    pub(crate) fn open_with(options: &HtpasswdOptions, check: Check) -> Result<Self, BuildError> {
        let path: PathBuf = options.path.clone();
        create::if_missing(&path)?;
        Ok(Self {
            file: Watched::open(path, |content| Ok(UserFile::parse(content)?))?,
            secret: Secret::new().map_err(|_none| BuildError::NoRandomness)?,
            verifier: Verifier::new(options.verify, check),
            limiter: Arc::new(Limiter::new(options.guesses)),
            guesses: options.guesses,
        })
    }

    /// Finds whether these are a user's credentials. Strangers cost what users cost.
    pub(crate) async fn check(
        &self,
        credentials: Credentials,
        client: IpAddr,
    ) -> Result<User, Refused> {
        let client = Client::from(client);
        let name = credentials.user.clone();
        let user = self.secret.fingerprint(&[&name]);
        let task = self.task(credentials, client, user).await;
        let (fingerprint, hash) = (task.fingerprint, task.hash.clone());
        let admit = || self.limiter.take(client, user).map_err(too_often);
        let right = match self.verifier.ask(task, admit)? {
            Answer::Right => true,
            Answer::Wrong => {
                let repeat = self.limiter.repeat(client, fingerprint);
                repeat.map_err(too_often)?;
                false
            }
            Answer::Coming(coming) => coming.await.map_err(|NotDone| Refused::Busy)?,
        };
        if right {
            return Ok(User { name, hash });
        }
        tokio::time::sleep(self.guesses.delay).await;
        Err(Refused::Wrong)
    }

    /// The hash of a user's password, as the file has it now.
    pub(crate) async fn stored(&self, user: &str) -> Option<Hash> {
        self.file.current().await.get(user).cloned()
    }

    async fn task(&self, credentials: Credentials, client: Client, user: Fingerprint) -> Task {
        let file = self.file.current().await;
        let [a, b, c, d, ..] = user;
        let stranger = || file.dummy(u32::from_le_bytes([a, b, c, d]) as usize);
        let found = file.get(&credentials.user).cloned();
        let is_user = found.is_some();
        let hash: Hash = found.unwrap_or_else(stranger);
        let limiter = Arc::clone(&self.limiter);
        Task {
            // The stored hash is part of it: what is remembered ends with the password it was remembered for.
            fingerprint: self.secret.fingerprint(&[
                &credentials.user,
                &credentials.password,
                hash.as_str(),
            ]),
            credentials,
            hash,
            is_user,
            on_right: Box::new(move || limiter.give_back(client, user)),
        }
    }
}

fn too_often(retry_after: Duration) -> Refused {
    Refused::TooOften { retry_after }
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
