//! Passwords and their bcrypt hashes.

use std::fmt;

use bcrypt::{HashParts, Version};

/// bcrypt sees no more of a password than this: what follows makes no difference, here as with Apache's tools. Whoever
/// sets a longer one should be told.
pub const PASSWORD_BYTES: usize = 72;

/// What `htpasswd -B` uses, and what the reference's documentation shows.
pub(crate) const APACHE_COST: u32 = 5;

/// At cost 17 a login takes ten seconds of a processor; a file with more would stop everybody's.
pub(crate) const COSTS: std::ops::RangeInclusive<u32> = 4..=17;

/// A password that cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Other programs end it there.
    #[error("the password contains a NUL byte")]
    Nul,
    /// Anybody would be let in who leaves it away.
    #[error("the password is empty")]
    Empty,
    /// Too cheap to be safe, or too dear to be checked.
    #[error("the cost {0} is not between {min} and {max}", min = COSTS.start(), max = COSTS.end())]
    Cost(u32),
    /// The system gave no salt.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// A bcrypt hash that this program verifies.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hash {
    text: String,
    cost: u32,
}

/// Why a text is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHash {
    /// Hashed with another function, by its name.
    Other(&'static str),
    /// bcrypt, but broken or cut.
    Malformed,
    /// More work than this program does.
    Cost(u32),
}

impl Hash {
    pub(crate) fn parse(text: &str) -> Result<Self, NoHash> {
        if !["$2y$", "$2a$", "$2b$"].iter().any(|v| text.starts_with(v)) {
            return Err(NoHash::Other(kind_of(text)));
        }
        let parts: HashParts = text.parse().map_err(|_broken| NoHash::Malformed)?;
        let cost = parts.get_cost();
        if !COSTS.contains(&cost) {
            return Err(NoHash::Cost(cost));
        }
        Ok(Self {
            text: text.to_owned(),
            cost,
        })
    }

    /// Costs as much as another of this cost, and no password fits.
    pub(crate) fn dummy(cost: u32) -> Self {
        let text = format!("$2y${cost:02}${}", ".".repeat(53));
        Self { text, cost }
    }

    /// Hashes a password, as `htpasswd -B` does. Takes as long as the cost says.
    pub(crate) fn of(password: &str, cost: u32) -> Result<Self, PasswordError> {
        if password.is_empty() {
            return Err(PasswordError::Empty);
        }
        if password.contains('\0') {
            return Err(PasswordError::Nul);
        }
        if !COSTS.contains(&cost) {
            return Err(PasswordError::Cost(cost));
        }
        let parts = bcrypt::hash_with_result(password, cost)
            .map_err(|_no_salt| PasswordError::NoRandomness)?;
        Ok(Self {
            text: parts.format_for_version(Version::TwoY),
            cost,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn cost(&self) -> u32 {
        self.cost
    }

    /// Takes as long as the cost says, whatever the password.
    pub(crate) fn fits(&self, password: &str) -> bool {
        // A C program would end the password at a NUL byte; nobody can have set one that has it.
        let clean = !password.contains('\0');
        bcrypt::verify(password, &self.text).unwrap_or(false) && clean
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash(bcrypt, cost {})", self.cost)
    }
}

fn kind_of(text: &str) -> &'static str {
    let kinds = [
        ("$apr1$", "Apache's MD5"),
        ("{SHA}", "SHA-1"),
        ("$1$", "MD5"),
        ("$5$", "SHA-256"),
        ("$6$", "SHA-512"),
        ("$2x$", "the broken bcrypt of before 2011 ($2x$)"),
        ("$argon2", "Argon2"),
        ("$y$", "yescrypt"),
        ("$7$", "scrypt"),
    ];
    let found = kinds.iter().find(|(prefix, _)| text.starts_with(prefix));
    found.map_or("crypt or not at all", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_all_three_spellings_fit() {
        let hash = Hash::of("secret", 4).unwrap();
        assert!(hash.as_str().starts_with("$2y$04$"));
        for version in ["$2y$", "$2a$", "$2b$"] {
            let text = hash.as_str().replacen("$2y$", version, 1);
            let hash = Hash::parse(&text).unwrap();
            assert!(hash.fits("secret") && !hash.fits("Secret") && !hash.fits(""));
        }
    }

    /// Made with `htpasswd -nbB` of apache2-utils 2.4.
    #[test]
    fn a_hash_that_apache_made_fits() {
        let hash =
            Hash::parse("$2y$05$P82Zkl3AzqP8Rx.AhAh4uuGqZvnXZNtoxI69SKqXqZm91hiUFbeIa").unwrap();
        assert_eq!(hash.cost(), 5);
        assert!(hash.fits("testpassword") && !hash.fits("testpasswore"));
        // Of eighty times x.
        let long =
            Hash::parse("$2y$05$xBTIPt2kKWe0sxlH1vAChemKFPLAosqxsHtCogpK/cGCOD8sZnUXS").unwrap();
        assert!(long.fits(&"x".repeat(80)) && long.fits(&"x".repeat(72)));
        assert!(!long.fits(&"x".repeat(71)));
    }

    #[test]
    fn passwords_end_after_72_bytes() {
        let long = "x".repeat(PASSWORD_BYTES);
        let hash = Hash::of(&format!("{long}abc"), 4).unwrap();
        assert!(hash.fits(&long) && hash.fits(&format!("{long}def")));
        assert!(!hash.fits(&"x".repeat(PASSWORD_BYTES - 1)));
    }

    #[test]
    fn what_cannot_be_set_is_told() {
        assert_eq!(Hash::of("", 5).unwrap_err(), PasswordError::Empty);
        assert_eq!(Hash::of("a\0b", 5).unwrap_err(), PasswordError::Nul);
        assert_eq!(Hash::of("a", 18).unwrap_err(), PasswordError::Cost(18));
        assert_eq!(
            Hash::of("a", 3).unwrap_err().to_string(),
            "the cost 3 is not between 4 and 17"
        );
        assert!(!Hash::of("a", 4).unwrap().fits("a\0b"));
    }

    #[test]
    fn a_dummy_is_a_hash_that_nothing_fits() {
        let dummy = Hash::dummy(4);
        assert_eq!(Hash::parse(dummy.as_str()), Ok(dummy.clone()));
        assert!(!dummy.fits("") && !dummy.fits("secret"));
    }

    #[test]
    fn other_hashes_are_named() {
        let kind = |text| match Hash::parse(text) {
            Err(NoHash::Other(kind)) => kind,
            other => panic!("{other:?}"),
        };
        assert_eq!(kind("$apr1$x$y"), "Apache's MD5");
        assert_eq!(kind("{SHA}x"), "SHA-1");
        assert_eq!(kind("$6$x"), "SHA-512");
        assert_eq!(kind("secret"), "crypt or not at all");
        let dear = Hash::dummy(31);
        assert_eq!(Hash::parse(dear.as_str()), Err(NoHash::Cost(31)));
        assert_eq!(Hash::parse("$2y$05$short"), Err(NoHash::Malformed));
        assert_eq!(format!("{dear:?}"), "Hash(bcrypt, cost 31)");
    }
}
