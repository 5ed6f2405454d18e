//! Where the configuration is.

use std::path::{Path, PathBuf};

use crate::environment::PATH_VARIABLE;

/// Where the images of the reference have it: the third release, and the second.
const IMAGE_PATHS: [&str; 2] = [
    "/etc/distribution/config.yml",
    "/etc/docker/registry/config.yml",
];

/// The name that the program was started by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalledAs {
    /// Its own: without a configuration it serves with defaults of its own.
    Roadstead,
    /// `registry`, the reference's: it looks where that one's images have their configuration.
    Registry,
}

impl CalledAs {
    /// By the path that a program is started by.
    pub fn of(program: &Path) -> Self {
        match program.file_name() {
            Some(name) if name == "registry" => Self::Registry,
            _ => Self::Roadstead,
        }
    }
}

/// Where the configuration is: as the argument says, else as `REGISTRY_CONFIGURATION_PATH` says, else, called as
/// `registry`, the first of that one's files for which `exists` says yes, else nowhere.
pub fn config_path(
    argument: Option<PathBuf>,
    env: impl IntoIterator<Item = (String, String)>,
    called: CalledAs,
    exists: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let variable = || {
        env.into_iter()
            .find(|(name, value)| name == PATH_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    };
    let of_image = || {
        let mut paths = IMAGE_PATHS.iter().map(PathBuf::from);
        paths.find(|path| exists(path))
    };
    let named = argument.or_else(variable);
    match called {
        CalledAs::Roadstead => named,
        CalledAs::Registry => named.or_else(of_image),
    }
}
