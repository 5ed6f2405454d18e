//! Looking for the same file in many directories, and reading many files at once.

use super::{get, path, put};
use crate::Error;
use crate::driver::{Driver, Leaf, Read};

pub(super) async fn of_directories(driver: &dyn Driver) {
    for count in 0..140 {
        let text = b"sixteen letters!";
        put(driver, &format!("/l/{count:04}/in/link"), text).await;
    }
    put(driver, "/l/other/in/else", b"x").await;
    put(driver, "/l/none/link", b"x").await;
    put(driver, "/l/long/in/link", &[b'x'; 300]).await;
    put(driver, "/l/file", b"x").await;
    put(driver, "/l/deeper/in/link/link", b"x").await;
    let directory = path("/l");
    let guess = |name: &str| (name != "0007").then(|| "sixteen letters!".into());
    for read in [Read::Nothing, Read::All(256), Read::Unless(256, &guess)] {
        let leaves = driver.leaves(&directory, "in/link", read).await;
        let mut leaves = leaves.expect("a directory is looked through");
        leaves.sort_by(|one, other| one.name.cmp(&other.name));
        let named = |name: &str| -> &Leaf {
            let at = leaves.binary_search_by(|leaf| leaf.name.as_str().cmp(name));
            &leaves[at.unwrap_or_else(|_| panic!("{name} is told with {read:?}"))]
        };
        assert_eq!(leaves.len(), 145, "each name is told once");
        assert!(!named("file").is_directory);
        for without in ["file", "other", "none", "deeper"] {
            assert_eq!(named(without).file, None, "{without} holds no such file");
        }
        let content = |name: &str| {
            let file = named(name).file.as_ref().expect("the file is told");
            (file.size, file.content.clone())
        };
        let text = (!matches!(read, Read::Nothing)).then(|| "sixteen letters!".into());
        for name in ["0000", "0007", "0139"] {
            assert_eq!(content(name), (16, text.clone()), "{name} with {read:?}");
        }
        assert_eq!(content("long"), (300, None), "what is too long is not read");
    }
    let absent = driver.leaves(&path("/absent"), "link", Read::Nothing).await;
    assert_eq!(absent.expect("nothing is there"), []);
    holding(driver).await;
    many_at_once(driver).await;
}

/// Of what [`of_directories`] has put there.
async fn holding(driver: &dyn Driver) {
    let names = ["0000", "0139", "file", "long", "none", "nowhere", "other"];
    let holds = driver.which_hold(&path("/l"), "in/link", &names).await;
    assert_eq!(
        holds.expect("asked of each"),
        [true, true, false, true, false, false, false]
    );
    let absent = driver.which_hold(&path("/absent"), "link", &["a"]).await;
    assert_eq!(absent.expect("nothing is there"), [false]);
}

/// Of what [`of_directories`] has put there.
async fn many_at_once(driver: &dyn Driver) {
    let paths = [
        path("/l/none/link"),
        path("/absent"),
        path("/l/long/in/link"),
    ];
    let got = driver.get_each(&paths, 256).await;
    assert!(
        matches!(
            got.as_slice(),
            [Ok(one), Err(Error::NotFound(_)), Err(Error::TooLarge { .. })] if one == "x"
        ),
        "each has its own answer: {got:?}"
    );
    let far = path("/absent/for/long");
    let asked = [&paths[..], &[far, path("/l/none"), path("/")]].concat();
    let there = driver.which_exist(&asked).await;
    assert_eq!(
        there.expect("a store can tell"),
        [true, false, true, false, true, true],
        "files and directories are there or not"
    );
    let below = [path("/l/file/below"), path("/l/none/link/below")];
    let below = driver.which_exist(&below);
    assert_eq!(
        below.await.expect("a file has nothing below it"),
        [false; 2]
    );
    let nothing = driver.which_exist(&[]).await;
    assert!(nothing.expect("nothing is asked").is_empty());
    let directories = [
        path("/l/none"),
        path("/absent"),
        path("/l"),
        path("/l/deeper"),
    ];
    let lists = driver.list_each(&directories, 2).await;
    let lists = lists.expect("directories are listed");
    let names: Vec<Vec<&str>> = lists
        .iter()
        .map(|list| list.iter().map(|entry| entry.name.as_str()).collect())
        .collect();
    assert_eq!(
        names,
        [vec!["link"], vec![], vec!["0000", "0001"], vec!["in"]],
        "each has its own list"
    );
    assert_eq!(get(driver, "/l/none/link").await, "x");
}
