//! Frozen forms of what is logged and of the whole state: a version byte, then postcard.
//!
//! A form that has been written once is read for ever: a new one gets a new version. `tests/golden` holds the bytes.

use serde::Serialize;

use crate::cluster::{ClusterCommand, Nodes};
use crate::collection::{CollectCommand, Collection};
use crate::command::{Command, Entry, Outcome};
use crate::invalidation::Invalidated;
use crate::machine::{Machine, MachineV1, MachineV2, MachineV3, MachineV4};
use crate::session::Standing;

/// The newest form of each.
const ENTRY: u8 = 5;
const MACHINE: u8 = 5;
/// Of what travels between processes.
const WIRE: u8 = 1;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("written by a newer version (format {found}, this one knows {known})")]
    Newer { found: u8, known: u8 },
    #[error("damaged: {0}")]
    Damaged(#[from] postcard::Error),
    #[error("empty")]
    Empty,
}

/// An entry in the oldest form that has its command, so that a version that knows the command can read it.
pub fn encode_entry(entry: &Entry) -> Result<Vec<u8>, FormatError> {
    let version = match entry.command {
        Command::Invalidation(_) | Command::Collect(CollectCommand::Removed { .. }) => 5,
        Command::Certificates(_)
        | Command::Cluster(
            ClusterCommand::JoinOver { .. } | ClusterCommand::ReplaceSecret { .. },
        ) => 4,
        Command::Collect(_) => 3,
        Command::Renounce { .. } | Command::Cluster(_) | Command::CancelOnce { .. } => 2,
        _ => 1,
    };
    encode(version, entry)
}

pub fn decode_entry(bytes: &[u8]) -> Result<Entry, FormatError> {
    // Later versions have more commands, at the end.
    let (_version, rest) = split(bytes, ENTRY)?;
    Ok(postcard::from_bytes(rest)?)
}

macro_rules! forms {
    ($($encode:ident $decode:ident $form:ty),*) => {$(
        #[doc = concat!("[`", stringify!($form), "`] as it travels between processes.")]
        pub fn $encode(value: &$form) -> Result<Vec<u8>, FormatError> {
            encode(WIRE, value)
        }

        #[doc = concat!("What [`", stringify!($encode), "`] has written.")]
        pub fn $decode(bytes: &[u8]) -> Result<$form, FormatError> {
            let (_version, rest) = split(bytes, WIRE)?;
            Ok(postcard::from_bytes(rest)?)
        }
    )*};
}

forms!(
    encode_command decode_command Command,
    encode_outcome decode_outcome Outcome,
    encode_standing decode_standing Standing,
    encode_nodes decode_nodes Nodes,
    encode_collection decode_collection Collection,
    encode_invalidated decode_invalidated Invalidated
);

impl Machine {
    /// In the oldest form that holds it since the fourth.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let is_older = self.invalidations().is_blank();
        encode(if is_older { 4 } else { MACHINE }, self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        match split(bytes, MACHINE)? {
            (1, rest) => Ok(postcard::from_bytes::<MachineV1>(rest)?.into()),
            (2, rest) => Ok(postcard::from_bytes::<MachineV2>(rest)?.into()),
            (3, rest) => Ok(postcard::from_bytes::<MachineV3>(rest)?.into()),
            (4, rest) => Ok(postcard::from_bytes::<MachineV4>(rest)?.into()),
            (_, rest) => Ok(postcard::from_bytes(rest)?),
        }
    }
}

fn encode<T: Serialize>(version: u8, value: &T) -> Result<Vec<u8>, FormatError> {
    Ok(postcard::to_extend(value, vec![version])?)
}

fn split(bytes: &[u8], known: u8) -> Result<(u8, &[u8]), FormatError> {
    match bytes {
        [found, ..] if *found > known => Err(FormatError::Newer {
            found: *found,
            known,
        }),
        [0, ..] => Err(postcard::Error::DeserializeBadEncoding.into()),
        [version, rest @ ..] => Ok((*version, rest)),
        [] => Err(FormatError::Empty),
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
