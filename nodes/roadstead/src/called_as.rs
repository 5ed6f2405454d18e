//! One program under three names: `roadstead`, `registry` with the CNCF registry's command line, and `htpasswd` with
//! Apache's. Images have it under all of them.

pub(crate) mod registry;

use std::ffi::OsString;
use std::path::Path;

/// Whose command line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Roadstead,
    Registry,
    Htpasswd,
}

impl Name {
    /// By the first argument, which is the path that the program was started by; any other name is ours.
    pub(crate) fn of(program: Option<OsString>) -> Self {
        let program = program.unwrap_or_default();
        let name = Path::new(&program)
            .file_name()
            .and_then(|name| name.to_str());
        match name {
            Some("registry") => Self::Registry,
            Some("htpasswd") => Self::Htpasswd,
            _ => Self::Roadstead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_the_path_decides() {
        let of = |program: &str| Name::of(Some(program.into()));
        assert_eq!(of("/bin/registry"), Name::Registry);
        assert_eq!(of("docker-registry"), Name::Roadstead);
        assert_eq!(of("/usr/bin/htpasswd"), Name::Htpasswd);
        assert_eq!(of("/registry/roadstead"), Name::Roadstead);
        assert_eq!(of("roadstead-1.2"), Name::Roadstead);
        assert_eq!(Name::of(None), Name::Roadstead);
    }
}
