//! Versions of a file, good and bad.

use std::fs;

use super::*;

fn parse(content: &[u8]) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let text = str::from_utf8(content)?.to_owned();
    if text == "bad" {
        return Err("it is bad".into());
    }
    Ok(text)
}

fn open(path: &Path) -> Result<Watched<String>, FileError> {
    Watched::open(path.to_owned(), parse)
}

#[tokio::test]
async fn a_change_is_seen_and_a_bad_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "one").unwrap();
    let watched = open(&path).unwrap();
    assert_eq!(*watched.current().await, "one");
    // In place, of the same length, within the same tick of the file system's clock as likely as not.
    fs::write(&path, "two").unwrap();
    assert_eq!(*watched.current().await, "two");
    fs::write(&path, "bad").unwrap();
    assert_eq!(*watched.current().await, "two");
    assert_eq!(*watched.current().await, "two");
    let renamed = directory.path().join("renamed");
    fs::write(&renamed, "three").unwrap();
    fs::rename(&renamed, &path).unwrap();
    assert_eq!(*watched.current().await, "three");
    fs::remove_file(&path).unwrap();
    assert_eq!(*watched.current().await, "three");
    fs::create_dir(&path).unwrap();
    assert_eq!(*watched.current().await, "three");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "four").unwrap();
    assert_eq!(*watched.current().await, "four");
}

#[test]
fn the_first_version_must_be_good() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    assert!(matches!(open(&path), Err(FileError::Read { .. })));
    fs::write(&path, "bad").unwrap();
    let told = open(&path).unwrap_err().to_string();
    assert!(told.ends_with("file: it is bad"), "{told}");
    assert!(matches!(
        open(directory.path()),
        Err(FileError::NotAFile { .. })
    ));
    let large = File::create(directory.path().join("large")).unwrap();
    large.set_len(MAX_FILE + 1).unwrap();
    assert!(matches!(
        open(&directory.path().join("large")),
        Err(FileError::TooLarge { .. })
    ));
}

#[test]
fn a_version_is_settled_when_the_next_would_show() {
    let stamp = Stamp {
        device: 1,
        inode: 1,
        size: 1,
        modified: (0, 0),
        changed: (1000, 0),
    };
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert!(stamp.settled(at(1001)).is_none() && stamp.settled(at(999)).is_none());
    assert!(stamp.settled(at(1003)).is_some() && stamp.settled(at(900)).is_some());
}
