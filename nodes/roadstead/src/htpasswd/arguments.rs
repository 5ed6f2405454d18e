//! Apache's options: letters, alone or in a cluster (`-Bbn`), then a file unless `-n`, a user, and with `-b` a password.

use std::ffi::OsString;
use std::path::PathBuf;

use roadstead_auth::HtpasswdFile;

use super::{Refusal, code};

pub(super) const USAGE: &str = "Usage:
  htpasswd [-ciBDv] [-C cost] file user            asks for the password
  htpasswd -b[cBv] [-C cost] file user password    takes it from the command line, where others may see it
  htpasswd -n[iB] [-C cost] user                   prints the line instead of writing a file
  htpasswd -nb[B] [-C cost] user password

  -B  bcrypt, which is what a registry accepts (and the default here)
  -C  bcrypt's cost, 4 to 17: each step doubles the work of guessing and of logging in (default 5)
  -c  make a new file; one of that name is replaced
  -n  print the line on standard output
  -b  take the password from the command line
  -i  take the password from standard input, without asking twice
  -D  delete the user
  -v  verify the user's password

Examples:
  htpasswd -c auth/htpasswd alice                  a file with one user, who is asked for a password
  htpasswd auth/htpasswd bob                       one more
  docker run --rm --entrypoint htpasswd registry:2 -Bbn alice secret > auth/htpasswd
";

/// Bytes of a user's name at most, as in Apache's tool.
const LONGEST_USER: usize = 255;

/// What is done with the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Print,
    Create(PathBuf),
    Update(PathBuf),
    Delete(PathBuf),
    Verify(PathBuf),
}

/// Where the password comes from.
#[derive(PartialEq, Eq)]
pub(super) enum Source {
    Terminal,
    Argument(String),
    Stdin,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Terminal => "Terminal",
            Self::Argument(_secret) => "Argument",
            Self::Stdin => "Stdin",
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) mode: Mode,
    pub(super) source: Source,
    pub(super) cost: u32,
    pub(super) user: String,
}

/// The letters given, before they are looked at together.
#[derive(Debug, Default)]
struct Letters {
    /// Of `c`, `n`, `D` and `v`, each once.
    modes: Vec<char>,
    argument: bool,
    stdin: bool,
    cost: Option<u32>,
}

impl Arguments {
    /// Options end at the first argument that does not begin with a dash, or after `--`.
    pub(super) fn parse(given: impl IntoIterator<Item = OsString>) -> Result<Self, Refusal> {
        let mut given = given.into_iter().map(text).peekable();
        let mut letters = Letters::default();
        while let Some(option) = given.next_if(|next| matches!(next, Ok(text) if is_option(text))) {
            let option = option?;
            if option == "--" {
                break;
            }
            let mut rest = option.chars().skip(1);
            while let Some(letter) = rest.next() {
                if letter == 'C' {
                    // Its value is the rest of the cluster, or the next argument.
                    let attached: String = rest.by_ref().collect();
                    let value = if attached.is_empty() {
                        given.next().unwrap_or(Ok(attached))?
                    } else {
                        attached
                    };
                    letters.cost = Some(cost(&value)?);
                } else {
                    letters.take(letter)?;
                }
            }
        }
        letters.with(given.collect::<Result<Vec<String>, Refusal>>()?)
    }
}

impl Letters {
    fn take(&mut self, letter: char) -> Result<(), Refusal> {
        match letter {
            'B' => {}
            'b' => self.argument = true,
            'i' => self.stdin = true,
            'c' | 'n' | 'D' | 'v' => {
                if !self.modes.contains(&letter) {
                    self.modes.push(letter);
                }
            }
            'm' | 'd' | 's' | 'p' | '2' | '5' | 'r' => {
                return Err(syntax(format!(
                    "-{letter}: a registry accepts bcrypt hashes alone; use -B instead"
                )));
            }
            other => return Err(syntax(format!("illegal option -- {other}"))),
        }
        Ok(())
    }

    /// The letters and what follows them.
    fn with(self, rest: Vec<String>) -> Result<Arguments, Refusal> {
        if self.modes.len() > 1 {
            return Err(syntax("only one of -c -n -v -D may be specified"));
        }
        if self.argument && self.stdin {
            return Err(syntax("only one of -b and -i may be specified"));
        }
        let mode = self.modes.first().copied();
        let mut rest = rest.into_iter();
        let mut next = || rest.next().ok_or_else(|| syntax(""));
        let mode = match mode {
            Some('n') => Mode::Print,
            Some('c') => Mode::Create(next()?.into()),
            Some('D') => Mode::Delete(next()?.into()),
            Some('v') => Mode::Verify(next()?.into()),
            _ => Mode::Update(next()?.into()),
        };
        let user = next()?;
        let source = match (self.argument, self.stdin) {
            (true, _) => Source::Argument(next()?),
            (false, true) => Source::Stdin,
            (false, false) => Source::Terminal,
        };
        if rest.next().is_some() {
            return Err(syntax(""));
        }
        if user.len() > LONGEST_USER {
            let said = format!("username too long (> {LONGEST_USER})");
            return Err(Refusal::new(code::TOO_LONG, said));
        }
        if user.contains(':') {
            let said = "username contains illegal character ':'";
            return Err(Refusal::new(code::USER, said));
        }
        Ok(Arguments {
            mode,
            source,
            cost: self.cost.unwrap_or(HtpasswdFile::DEFAULT_COST),
            user,
        })
    }
}

fn is_option(text: &str) -> bool {
    text.len() > 1 && text.starts_with('-')
}

fn cost(value: &str) -> Result<u32, Refusal> {
    value
        .parse()
        .map_err(|_no_number| syntax("argument to -C must be a positive integer"))
}

fn text(argument: OsString) -> Result<String, Refusal> {
    argument
        .into_string()
        .map_err(|_other| syntax("an argument is not UTF-8"))
}

fn syntax(said: impl Into<String>) -> Refusal {
    Refusal::new(code::SYNTAX, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, u8> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        Arguments::parse(words.map(OsString::from)).map_err(|refusal| refusal.code)
    }

    fn assert_parses(line: &str, mode: Mode, source: Source, cost: u32) {
        let user = "u".to_owned();
        let wanted = Arguments {
            mode,
            source,
            cost,
            user,
        };
        assert_eq!(parse(line), Ok(wanted), "{line}");
    }

    #[test]
    fn letters_cluster() {
        let password = || Source::Argument("p".to_owned());
        for line in ["-Bbn u p", "-B -b -n u p"] {
            assert_parses(line, Mode::Print, password(), 5);
        }
        let new = || Mode::Create("f".into());
        assert_parses("-cBb f u p", new(), password(), 5);
        assert_parses("-cBbC 10 f u p", new(), password(), 10);
        assert_parses("-cBb -C10 f u p", new(), password(), 10);
    }

    #[test]
    fn passwords_come_from_three_places() {
        let update = || Mode::Update("f".into());
        assert_parses("f u", update(), Source::Terminal, 5);
        assert_parses("-i f u", update(), Source::Stdin, 5);
        // What follows the first name is no option.
        assert_parses("-b f u --", update(), Source::Argument("--".into()), 5);
        assert_parses("-v f u", Mode::Verify("f".into()), Source::Terminal, 5);
        assert_parses("-D -- f u", Mode::Delete("f".into()), Source::Terminal, 5);
    }

    #[test]
    fn exit_codes_are_apaches() {
        for wrong in [
            "",
            "-n",
            "-Bbn u",
            "-nb u p more",
            "-cD f u",
            "-nv u",
            "-bi f u p",
            "-z f u",
            "-m f u",
            "-s f u",
            "-C",
            "-C x -n u",
            "f",
        ] {
            assert_eq!(parse(wrong), Err(code::SYNTAX), "{wrong}");
        }
        assert_eq!(parse("-nb a:b p"), Err(code::USER));
        assert_eq!(
            parse(&format!("-nb {} p", "a".repeat(256))),
            Err(code::TOO_LONG)
        );
    }

    #[test]
    fn another_hash_is_refused_with_the_right_one() {
        let words = ["-ms", "f", "u"].map(OsString::from);
        let refusal = Arguments::parse(words).expect_err("refused");
        assert_eq!(
            refusal.said,
            "-m: a registry accepts bcrypt hashes alone; use -B instead"
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", parse("-nb u secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
