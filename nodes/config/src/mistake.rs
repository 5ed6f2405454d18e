//! What is wrong or odd about a configuration, said so that an operator can mend it.
//!
//! Nothing here stops at the first finding: a configuration is read to its end, and everything found is told at once.

use std::fmt::{self, Write as _};

/// Longer values are cut in messages: the start is enough to find them again.
const SHOWN_VALUE_CHARS: usize = 80;

/// Longer names are cut too. The longest keys of the format have some hundred.
const SHOWN_NAME_CHARS: usize = 256;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Roadstead's own defaults, when it is started without a file.
    BuiltIn,
    /// This line of the file, counted from 1.
    Line(usize),
    /// The environment variable of this name.
    Variable(String),
}

/// One thing that keeps the configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key with its path (`storage.delete.enabled`), or the environment variable that names no key.
    pub key: String,
    /// Where it was written.
    pub origin: Origin,
    /// The value as written; `None` for secrets, and where the value is not what is wrong.
    pub value: Option<String>,
    /// What is wrong, and what to write instead. Follows the value in a sentence when there is one.
    pub reason: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl Mistake {
    pub(crate) fn new(key: impl Into<String>, origin: Origin, reason: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            origin,
            value: None,
            reason: reason.into(),
            suggestion: None,
        }
    }

    pub(crate) fn suggest(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    /// The line of the file, if a file is where it stands.
    pub fn line(&self) -> Option<usize> {
        match self.origin {
            Origin::Line(line) => Some(line),
            Origin::BuiltIn | Origin::Variable(_) => None,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Printable(f);
        write_place(&mut line, &self.key, &self.origin)?;
        if let Some(value) = &self.value {
            let shown: String = value.chars().take(SHOWN_VALUE_CHARS).collect();
            let cut = if shown.len() < value.len() { "..." } else { "" };
            write!(line, "{shown:?}{cut} ")?;
        }
        line.write_str(&self.reason)?;
        write_suggestion(&mut line, self.suggestion.as_deref())
    }
}

/// Lets through what shows as itself and escapes the rest. Keys are whatever the file has: they must not begin lines of their
/// own, nor command the terminal on which they are shown.
struct Printable<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Printable<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '"' | '\'' | '\\' => self.0.write_char(character)?,
                _ => write!(self.0, "{}", character.escape_debug())?,
            }
        }
        Ok(())
    }
}

/// Why a configuration cannot be used. Prints the mistakes, and after them the warnings, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// In the order of discovery. Never empty.
    pub mistakes: Vec<Mistake>,
    /// What should be known beside them: a key that is unknown is often why another is missing.
    pub warnings: Vec<Warning>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

impl From<Vec<Mistake>> for Mistakes {
    fn from(mistakes: Vec<Mistake>) -> Self {
        let warnings = Vec::new();
        Self { mistakes, warnings }
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self::from(vec![mistake])
    }
}

/// Something the operator should know although the configuration can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A key of the file that no version of the format has.
    UnknownKey {
        /// The key with its path.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
    /// A `REGISTRY_*` variable that names no key.
    UnknownVariable {
        /// The variable's name.
        variable: String,
        /// The variable that was probably meant.
        suggestion: Option<String>,
    },
    /// Keys of the format that are set but have no effect in this version.
    NotYet {
        /// The shortest paths that cover them.
        keys: Vec<String>,
    },
    /// A value that is used, though not quite as written.
    Remark {
        /// The key with its path.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// What is done about it.
        text: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let f = &mut Printable(f);
        match self {
            Self::UnknownKey {
                key,
                origin,
                suggestion,
            } => {
                write_place(f, key, origin)?;
                f.write_str("ignoring a key that the configuration format does not have")?;
                write_suggestion(f, suggestion.as_deref())
            }
            Self::UnknownVariable {
                variable,
                suggestion,
            } => {
                f.write_str("Ignoring unrecognized environment variable ")?;
                write_name(f, variable)?;
                write_suggestion(f, suggestion.as_deref())
            }
            Self::NotYet { keys } => write!(
                f,
                "these settings have no effect in this version yet: {}",
                keys.join(", ")
            ),
            Self::Remark { key, origin, text } => {
                write_place(f, key, origin)?;
                f.write_str(text)
            }
        }
    }
}

/// What has been found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) warnings: Vec<Warning>,
}

impl Findings {
    pub(crate) fn remark(&mut self, key: &str, origin: &Origin, text: impl Into<String>) {
        self.warnings.push(Warning::Remark {
            key: key.to_owned(),
            origin: origin.clone(),
            text: text.into(),
        });
    }
}

fn write_place(f: &mut Printable<'_, '_>, key: &str, origin: &Origin) -> fmt::Result {
    write_name(f, key)?;
    match origin {
        Origin::Line(line) => write!(f, " (line {line}): "),
        Origin::Variable(variable) if variable != key => {
            f.write_str(" (")?;
            write_name(f, variable)?;
            f.write_str("): ")
        }
        Origin::Variable(_) | Origin::BuiltIn => f.write_str(": "),
    }
}

/// A key or a variable: whole, unless nobody would want to read it.
fn write_name(f: &mut Printable<'_, '_>, name: &str) -> fmt::Result {
    match name.char_indices().nth(SHOWN_NAME_CHARS) {
        Some((end, _)) => write!(f, "{}...", name.split_at(end).0),
        None => f.write_str(name),
    }
}

fn write_suggestion(f: &mut Printable<'_, '_>, suggestion: Option<&str>) -> fmt::Result {
    match suggestion {
        Some(meant) => write!(f, "; did you mean {meant}?"),
        None => Ok(()),
    }
}
