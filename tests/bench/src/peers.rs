//! Further registries to be held against, from a small file.
//!
//! ```toml
//! [[peer]]
//! name = "registry 3"
//! command = ["/opt/registry", "serve", "{config}"]
//! # Written to a file of which `{config}` is the path.
//! config = """
//! version: 0.1
//! storage: {filesystem: {rootdirectory: {root}}, delete: {enabled: true}}
//! http: {addr: '127.0.0.1:{port}'}
//! """
//! # It reads the reference's layout, so that one set of images serves all.
//! shares_root = true
//! ```

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// A registry that somebody else brings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    #[serde(default)]
    config: String,
    #[serde(default)]
    pub(crate) shares_root: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peers {
    #[serde(default)]
    peer: Vec<Peer>,
}

/// Those that a file lists.
pub(crate) fn read(file: &Path) -> Result<Vec<Peer>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let peers: Peers = toml::from_str(&text).with_context(|| file.display().to_string())?;
    Ok(peers.peer)
}

impl Peer {
    pub(crate) fn configuration(&self, root: &Path, port: u16) -> String {
        filled(&self.config, root, port)
    }

    pub(crate) fn arguments(&self, config: &str, root: &Path, port: u16) -> Vec<String> {
        let arguments = self.command.iter().skip(1);
        arguments
            .map(|word| filled(word, root, port).replace("{config}", config))
            .collect()
    }
}

fn filled(text: &str, root: &Path, port: u16) -> String {
    text.replace("{root}", &root.display().to_string())
        .replace("{port}", &port.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in() {
        let text = "[[peer]]\nname = 'x'\ncommand = ['x', '--port={port}', '{config}']\nconfig = 'at {root}'";
        let peers: Peers = toml::from_str(text).unwrap();
        let peer = peers.peer.first().unwrap();
        assert_eq!(peer.arguments("/c", Path::new("/r"), 7), ["--port=7", "/c"]);
        assert_eq!(peer.configuration(Path::new("/r"), 7), "at /r");
        assert!(!peer.shares_root);
        assert!(toml::from_str::<Peers>("[[peer]]\nnome = 'x'").is_err());
    }
}
