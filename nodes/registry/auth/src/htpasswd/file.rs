//! What stands in an htpasswd file.

use std::collections::HashMap;
use std::fmt;

use super::password::{COSTS, Hash, NoHash};

/// Mistakes that are named at most: a file of another kind has one in every line.
const NAMED: usize = 10;

/// The users of one version of the file.
#[derive(Debug, Default)]
pub(crate) struct UserFile {
    users: HashMap<String, Hash>,
    /// Of all users, in no order that means anything.
    costs: Vec<u32>,
}

/// What is wrong with one line. Never says what the line holds of a password or hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineMistake {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and how to make it right.
    pub told: String,
}

/// What is wrong with a file: the first ten mistakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMistakes {
    /// In the order of their lines.
    pub mistakes: Vec<LineMistake>,
    /// How many more there are.
    pub more: usize,
}

impl std::error::Error for FileMistakes {}

impl fmt::Display for FileMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.mistakes.iter().enumerate() {
            let between = if at == 0 { "" } else { "; " };
            write!(f, "{between}line {}: {}", mistake.line, mistake.told)?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl UserFile {
    pub(crate) fn parse(content: &[u8]) -> Result<Self, FileMistakes> {
        let text = as_text(content).map_err(|told| FileMistakes {
            mistakes: vec![LineMistake {
                line: 1,
                told: told.to_owned(),
            }],
            more: 0,
        })?;
        let mut users = HashMap::new();
        let mut mistakes = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            match entry(line) {
                Ok(None) => {}
                Ok(Some((user, hash))) => {
                    // The last one counts, as in the reference.
                    if users.insert(user.to_owned(), hash).is_some() {
                        tracing::warn!(line = number, user = %shown(user), "the user stands in the file twice; this line counts");
                    }
                }
                Err(told) => mistakes.push(LineMistake { line: number, told }),
            }
        }
        if mistakes.is_empty() {
            let costs = users.values().map(Hash::cost).collect();
            return Ok(Self { users, costs });
        }
        let more = mistakes.len().saturating_sub(NAMED);
        mistakes.truncate(NAMED);
        Err(FileMistakes { mistakes, more })
    }

    pub(crate) fn get(&self, user: &str) -> Option<&Hash> {
        self.users.get(user)
    }

    /// A hash that costs a stranger as much as some user's: the same one each time for the same `pick`, and over all
    /// strangers as often each cost as users have it. So the time that a name takes does not tell whether it is a user's.
    pub(crate) fn dummy(&self, pick: usize) -> Hash {
        let at = pick.checked_rem(self.costs.len()).unwrap_or(0);
        let cost = self.costs.get(at).copied();
        Hash::dummy(cost.unwrap_or(super::password::APACHE_COST))
    }
}

/// The user and hash of a line; neither in a comment or an empty line.
fn entry(line: &str) -> Result<Option<(&str, Hash)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let Some((user, hash)) = line.split_once(':') else {
        return Err("there is no colon: lines are USER:HASH".to_owned());
    };
    if user.is_empty() {
        return Err("there is no user before the colon".to_owned());
    }
    match Hash::parse(hash.trim()) {
        Ok(hash) => Ok(Some((user, hash))),
        Err(reason) => Err(told(user, reason)),
    }
}

fn told(user: &str, reason: NoHash) -> String {
    let user = shown(user);
    let remedy = format!("make the line anew with: htpasswd -nB {user}");
    match reason {
        NoHash::Other(kind) => format!(
            "the password of {user} is hashed with {kind}, and only bcrypt is accepted; {remedy}"
        ),
        NoHash::Malformed => {
            format!("the bcrypt hash of {user} is malformed, perhaps cut off; {remedy}")
        }
        NoHash::Cost(cost) => format!(
            "the bcrypt hash of {user} has cost {cost}, and {} to {} are accepted; {remedy}",
            COSTS.start(),
            COSTS.end()
        ),
    }
}

/// A user's name as it may stand in a log.
fn shown(user: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    if user.chars().all(plain) && user.len() <= 64 {
        user.to_owned()
    } else {
        let start: String = user.chars().take(64).collect();
        format!("{start:?}")
    }
}

fn as_text(content: &[u8]) -> Result<&str, &'static str> {
    if content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]) {
        return Err(
            "the file is UTF-16, which PowerShell's > writes; write it with: | Out-File -Encoding ascii",
        );
    }
    let content = content
        .strip_prefix(b"\xef\xbb\xbf".as_slice())
        .unwrap_or(content);
    str::from_utf8(content).map_err(|_other| "the file is not UTF-8")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "$2y$05$P82Zkl3AzqP8Rx.AhAh4uuGqZvnXZNtoxI69SKqXqZm91hiUFbeIa";

    #[test]
    fn comments_blank_lines_and_line_ends_of_every_kind() {
        let text = format!(
            "\u{feff}# users\r\n\r\nann:{HASH}\r\n  bob:{HASH} \n\n#eve:{HASH}\nzoë:{HASH}"
        );
        let file = UserFile::parse(text.as_bytes()).unwrap();
        assert!(["ann", "bob", "zoë"].iter().all(|u| file.get(u).is_some()));
        assert!(
            ["eve", "#eve", "Ann", ""]
                .iter()
                .all(|u| file.get(u).is_none())
        );
        assert!(UserFile::parse(b"").unwrap().costs.is_empty());
    }

    #[test]
    fn of_two_lines_for_a_user_the_last_counts() {
        let other = HASH.replace("$05$", "$06$");
        let file = UserFile::parse(format!("a:{HASH}\na:{other}\n").as_bytes()).unwrap();
        assert_eq!(file.get("a").unwrap().cost(), 6);
    }

    #[test]
    fn mistakes_name_line_and_user_and_never_the_hash() {
        let text = format!(
            "ann:{HASH}\nbob:$apr1$SALTSALT$HIDDEN\nHIDDEN\n:HIDDEN\na b:HIDDEN\ncut:{}\n",
            HASH.get(..40).unwrap()
        );
        let told = UserFile::parse(text.as_bytes()).unwrap_err().to_string();
        let expected = "line 2: the password of bob is hashed with Apache's MD5, and only bcrypt is accepted; \
            make the line anew with: htpasswd -nB bob; \
            line 3: there is no colon: lines are USER:HASH; \
            line 4: there is no user before the colon; \
            line 5: the password of \"a b\" is hashed with crypt or not at all, and only bcrypt is accepted; \
            make the line anew with: htpasswd -nB \"a b\"; \
            line 6: the bcrypt hash of cut is malformed, perhaps cut off; make the line anew with: htpasswd -nB cut";
        assert_eq!(told, expected);
    }

    #[test]
    fn ten_mistakes_are_named() {
        let told = UserFile::parse("x\n".repeat(12).as_bytes()).unwrap_err();
        assert_eq!((told.mistakes.len(), told.more), (NAMED, 2));
        assert!(told.to_string().ends_with("; and 2 more"));
    }

    #[test]
    fn utf_16_is_told() {
        let utf16: Vec<u8> = [0xff, 0xfe, b'a', 0].into();
        let told = UserFile::parse(&utf16).unwrap_err().to_string();
        assert!(told.contains("Out-File -Encoding ascii"), "{told}");
    }

    #[test]
    fn strangers_cost_what_users_cost() {
        let dear = HASH.replace("$05$", "$06$");
        let file = UserFile::parse(format!("a:{HASH}\nb:{dear}\n").as_bytes()).unwrap();
        let mut costs: Vec<u32> = (0..2).map(|pick| file.dummy(pick).cost()).collect();
        costs.sort_unstable();
        assert_eq!(costs, [5, 6]);
        assert_eq!(file.dummy(7).cost(), file.dummy(7).cost());
        assert_eq!(UserFile::default().dummy(3).cost(), 5);
    }

    proptest! {
        #[test]
        fn no_file_panics(content in any::<Vec<u8>>(), text in "[a:$#2y05\n ]{0,200}") {
            drop(UserFile::parse(&content));
            drop(UserFile::parse(text.as_bytes()));
        }
    }
}
