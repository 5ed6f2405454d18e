//! `htpasswd`: Apache's tool for the file of users and passwords, as the reference's image once had it, for bcrypt alone.
//!
//! Options, exit codes and the sentences on standard error are Apache's, since scripts look at them.

mod arguments;
mod terminal;

use std::ffi::OsString;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use roadstead_auth::{EditError, HtpasswdFile, PASSWORD_BYTES};

use arguments::{Arguments, Mode, Source, USAGE};

/// Of a password, as in Apache's tool.
const LONGEST: usize = 256;

/// Why it ends without having done what it was asked to.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    code: u8,
    said: String,
}

/// Apache's exit codes.
mod code {
    pub(super) const FILE: u8 = 1;
    pub(super) const SYNTAX: u8 = 2;
    pub(super) const PASSWORD: u8 = 3;
    pub(super) const INTERRUPTED: u8 = 4;
    pub(super) const TOO_LONG: u8 = 5;
    pub(super) const USER: u8 = 6;
    pub(super) const NO_PASSWORD_FILE: u8 = 7;
}

impl Refusal {
    fn new(code: u8, said: impl Into<String>) -> Self {
        let said = said.into();
        Self { code, said }
    }
}

pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<ExitCode> {
    let mut err = io::stderr();
    let refusal = match Arguments::parse(arguments) {
        Ok(arguments) => match obey(&arguments) {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal,
    };
    if !refusal.said.is_empty() {
        writeln!(err, "htpasswd: {}", refusal.said)?;
    }
    if refusal.code == code::SYNTAX {
        write!(err, "{USAGE}")?;
    }
    Ok(ExitCode::from(refusal.code))
}

fn obey(arguments: &Arguments) -> Result<(), Refusal> {
    let user = arguments.user.as_str();
    match &arguments.mode {
        Mode::Print => {
            let line = HtpasswdFile::line(user, &new_password(arguments)?, arguments.cost);
            writeln!(io::stdout(), "{}", line.map_err(|error| refused(&error))?)
                .map_err(|error| Refusal::new(code::FILE, error.to_string()))
        }
        Mode::Create(path) => {
            let mut file = HtpasswdFile::empty();
            set(&mut file, path, arguments)
        }
        Mode::Update(path) => {
            let mut file = open(path)?;
            set(&mut file, path, arguments)
        }
        Mode::Delete(path) => {
            let mut file = open(path)?;
            if !file.delete(user) {
                // Exit code 0, as Apache's: that nobody has this name was what was wanted.
                return tell(&format!("User {user} not found"));
            }
            file.save(path).map_err(|error| refused(&error))?;
            tell(&format!("Deleting password for user {user}"))
        }
        Mode::Verify(path) => verify(&open(path)?, arguments),
    }
}

fn open(path: &Path) -> Result<HtpasswdFile, Refusal> {
    if !path.try_exists().unwrap_or(true) {
        let path = path.display();
        let said = format!("cannot modify file {path}; use '-c' to create it");
        return Err(Refusal::new(code::FILE, said));
    }
    HtpasswdFile::open(path).map_err(|error| refused(&error))
}

fn set(file: &mut HtpasswdFile, path: &Path, arguments: &Arguments) -> Result<(), Refusal> {
    let user = arguments.user.as_str();
    let password = new_password(arguments)?;
    let was_there = file
        .set(user, &password, arguments.cost)
        .map_err(|error| refused(&error))?;
    file.save(path).map_err(|error| refused(&error))?;
    let doing = if was_there { "Updating" } else { "Adding" };
    tell(&format!("{doing} password for user {user}"))
}

fn verify(file: &HtpasswdFile, arguments: &Arguments) -> Result<(), Refusal> {
    let user = arguments.user.as_str();
    let password = match &arguments.source {
        Source::Terminal => ask("Enter password: ")?,
        given => without_prompt(given)?,
    };
    match file.verify(user, &password) {
        Some(true) => tell(&format!("Password for user {user} correct.")),
        Some(false) => {
            tell("password verification failed")?;
            Err(Refusal::new(code::PASSWORD, ""))
        }
        None => {
            tell(&format!("User {user} not found"))?;
            Err(Refusal::new(code::USER, ""))
        }
    }
}

/// From where the options say; from a terminal twice.
fn new_password(arguments: &Arguments) -> Result<String, Refusal> {
    let password = match &arguments.source {
        Source::Terminal => {
            let first = ask("New password: ")?;
            if ask("Re-type new password: ")? != first {
                return Err(Refusal::new(code::PASSWORD, "password verification error"));
            }
            first
        }
        given => without_prompt(given)?,
    };
    if password.len() > PASSWORD_BYTES {
        tell(&format!(
            "Warning: bcrypt sees the first {PASSWORD_BYTES} bytes of a password; the rest makes no difference."
        ))?;
    }
    Ok(password)
}

fn ask(prompt: &str) -> Result<String, Refusal> {
    let password = terminal::ask(prompt).map_err(|error| unreadable(&error))?;
    if password.contains('\u{3}') {
        return Err(Refusal::new(code::INTERRUPTED, "interrupted"));
    }
    of_bearable_length(password)
}

fn without_prompt(source: &Source) -> Result<String, Refusal> {
    let password = match source {
        Source::Argument(password) => password.clone(),
        Source::Terminal | Source::Stdin => {
            let mut line = String::new();
            let limit = u64::try_from(LONGEST + 3).unwrap_or(u64::MAX);
            let mut input = io::stdin().lock().take(limit);
            input
                .read_line(&mut line)
                .map_err(|error| unreadable(&error))?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    of_bearable_length(password)
}

fn of_bearable_length(password: String) -> Result<String, Refusal> {
    if password.len() > LONGEST {
        let said = format!("password too long (> {LONGEST})");
        return Err(Refusal::new(code::TOO_LONG, said));
    }
    Ok(password)
}

fn unreadable(error: &io::Error) -> Refusal {
    Refusal::new(
        code::PASSWORD,
        format!("the password cannot be read: {error}"),
    )
}

/// Apache's code for what the file's room says.
fn refused(error: &EditError) -> Refusal {
    let code = match error {
        EditError::User => code::USER,
        EditError::Password(_) => code::PASSWORD,
        EditError::NotText { .. } => code::NO_PASSWORD_FILE,
        EditError::File { .. } | EditError::Changed { .. } | EditError::Owner { .. } => code::FILE,
    };
    Refusal::new(code, error.to_string())
}

/// What Apache's tool says of its work, it says on standard error.
fn tell(sentence: &str) -> Result<(), Refusal> {
    writeln!(io::stderr(), "{sentence}")
        .map_err(|error| Refusal::new(code::FILE, error.to_string()))
}
