//! Files before and after.

use std::os::unix::fs::PermissionsExt as _;

use super::super::file::UserFile;
use super::*;

const COST: u32 = 4;

fn with(text: &str) -> Htpasswd {
    Htpasswd {
        lines: text.lines().map(str::to_owned).collect(),
        original: None,
    }
}

#[test]
fn a_line_is_what_apache_writes() {
    let line = Htpasswd::line("testuser", "testpassword", Htpasswd::DEFAULT_COST).unwrap();
    assert!(line.starts_with("testuser:$2y$05$"), "{line}");
    assert_eq!(line.len(), "testuser:".len() + 60);
    assert!(
        UserFile::parse(line.as_bytes())
            .unwrap()
            .get("testuser")
            .is_some()
    );
}

#[test]
fn setting_keeps_all_other_lines() {
    let mut file = with("# people\nann:$apr1$x\n\nbob:$apr1$y\nann:$apr1$z\n");
    assert!(file.set("ann", "secret", COST).unwrap());
    assert!(!file.set("eve", "other", COST).unwrap());
    assert_eq!(file.lines.len(), 5);
    assert_eq!(file.lines[0], "# people");
    assert!(file.lines[1].starts_with("ann:$2y$04$"));
    assert_eq!(file.lines[2..4], ["", "bob:$apr1$y"]);
    assert_eq!(format!("{file:?}"), "Htpasswd(5 lines)");
    assert_eq!(file.verify("ann", "secret"), Some(true));
    assert_eq!(file.verify("ann", "Secret"), Some(false));
    assert_eq!(file.verify("bob", "y"), Some(false));
    assert_eq!(file.verify("nobody", "y"), None);
    assert!(file.delete("ann") && !file.delete("ann") && !file.delete("# people"));
    assert_eq!(file.lines.len(), 4);
}

#[test]
fn a_name_that_no_line_can_hold_is_refused() {
    let long = "a".repeat(USER_BYTES + 1);
    for user in ["", "a:b", "a\nb", " a", "a ", "#a", "\u{feff}a", &long] {
        let told = with("").set(user, "secret", COST);
        assert!(matches!(told, Err(EditError::User)), "{user:?}");
    }
    let told = with("").set("a", "", COST);
    assert!(matches!(
        told,
        Err(EditError::Password(PasswordError::Empty))
    ));
}

#[test]
fn saving_keeps_mode_and_link() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    let link = directory.path().join("link");
    fs::write(&path, "ann:x\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("htpasswd", &link).unwrap();
    let mut file = Htpasswd::open(&link).unwrap();
    file.set("bob", "secret", COST).unwrap();
    file.save(&link).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("ann:x\nbob:$2y$04$") && text.ends_with('\n'));
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn a_new_file_is_its_owner_s_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    assert!(matches!(Htpasswd::open(&path), Err(EditError::File { .. })));
    let mut file = Htpasswd::empty();
    file.set("ann", "secret", COST).unwrap();
    file.save(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let read = Htpasswd::open(&path).unwrap();
    assert_eq!(read.verify("ann", "secret"), Some(true));
}

#[test]
fn another_s_change_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    fs::write(&path, "ann:x\n").unwrap();
    let mut file = Htpasswd::open(&path).unwrap();
    fs::write(&path, "ann:y\n").unwrap();
    file.set("bob", "secret", COST).unwrap();
    assert!(matches!(file.save(&path), Err(EditError::Changed { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "ann:y\n");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
