//! Where the configuration is.

use std::path::{Path, PathBuf};

use crate::environment::PATH_VARIABLE;

/// Where the images of the reference have it, the second release and the third, each with the copy that Roadstead's image
/// keeps of the file that it comes with.
const OF_IMAGES: [(&str, &str); 2] = [
    (
        "/etc/docker/registry/config.yml",
        "/usr/share/roadstead/config.yml",
    ),
    (
        "/etc/distribution/config.yml",
        "/usr/share/roadstead/config-v3.yml",
    ),
];

/// What lies where an image has its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// No file.
    Nothing,
    /// The file that the image came with.
    AsShipped,
    /// The operator's; one that cannot be looked at, too, so that it is named when reading it fails.
    Own,
}

/// There are two files of the operator's, and none was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are two configurations, {} and {}: name one, as an argument or in REGISTRY_CONFIGURATION_PATH",
    OF_IMAGES[0].0,
    OF_IMAGES[1].0
)]
pub struct TwoConfigurations;

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
/// `registry`, where images have it, else nowhere.
///
/// An image comes with both of that one's files. The operator's own counts; untouched ones mean what the image starts with
/// when nothing is said, the second release's, which allows less. `look` is given a file and what it may be a copy of.
pub fn config_path(
    argument: Option<PathBuf>,
    env: impl IntoIterator<Item = (String, String)>,
    called: CalledAs,
    look: impl Fn(&Path, &Path) -> Lies,
) -> Result<Option<PathBuf>, TwoConfigurations> {
    let variable = || {
        env.into_iter()
            .find(|(name, value)| name == PATH_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    };
    match argument.or_else(variable) {
        Some(named) => Ok(Some(named)),
        None if called == CalledAs::Registry => of_image(look),
        None => Ok(None),
    }
}

fn of_image(look: impl Fn(&Path, &Path) -> Lies) -> Result<Option<PathBuf>, TwoConfigurations> {
    let looked = OF_IMAGES.map(|(path, shipped)| (path, look(path.as_ref(), shipped.as_ref())));
    let those = |wanted| looked.iter().filter(move |(_, lies)| *lies == wanted);
    if those(Lies::Own).count() > 1 {
        return Err(TwoConfigurations);
    }
    let chosen = those(Lies::Own).chain(those(Lies::AsShipped)).next();
    Ok(chosen.map(|(path, _)| PathBuf::from(path)))
}
