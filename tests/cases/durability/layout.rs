//! Whether what lies in the layout is whole.

use std::fs;
use std::path::Path;

use roadstead_oci::{Algorithm, Digest};

/// Every blob is what its path says, every link holds a digest, and nothing else is there.
#[track_caller]
pub(crate) fn assert_whole(root: &Path) {
    visit(&root.join("docker"), &mut |file| {
        let (name, content) = (
            file.file_name().and_then(|name| name.to_str()),
            fs::read(file).expect("readable"),
        );
        match name {
            Some("data") => {
                let hex = file
                    .parent()
                    .and_then(|parent| parent.file_name())
                    .and_then(|hex| hex.to_str());
                let is = Digest::of(Algorithm::Sha256, &content);
                assert_eq!(
                    hex,
                    Some(is.hex()),
                    "{} is half-written: {} bytes",
                    file.display(),
                    content.len()
                );
            }
            Some("link") => {
                let digest = std::str::from_utf8(&content)
                    .ok()
                    .and_then(|text| text.parse::<Digest>().ok());
                assert!(
                    digest.is_some(),
                    "{} is half-written: {content:?}",
                    file.display()
                );
            }
            other => assert_eq!(
                other,
                Some("data or link"),
                "{} does not belong there",
                file.display()
            ),
        }
    });
}

fn visit(directory: &Path, look: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            visit(&path, look);
        } else {
            look(&path);
        }
    }
}
