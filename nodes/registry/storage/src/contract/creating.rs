//! Writing what nobody has written.

use futures::future::join_all;

use super::{get, path, put};
use crate::driver::{Driver, Put};

const RACES: usize = 20;
const WRITERS: usize = 8;

pub(super) async fn small_files(driver: &dyn Driver) {
    let write = |content: &'static [u8]| Put {
        path: path("/new/in/a/directory"),
        content: content.into(),
    };
    let made = driver.put_new(write(b"first")).await;
    assert!(made.expect("it is written"), "nothing was there");
    let made = driver.put_new(write(b"second")).await;
    assert!(!made.expect("it is looked at"), "the first one is there");
    assert_eq!(get(driver, "/new/in/a/directory").await, "first");
    put(driver, "/new/in/a/directory", b"third").await;
    assert_eq!(get(driver, "/new/in/a/directory").await, "third");
}

pub(super) async fn races(driver: &dyn Driver) {
    for race in 0..RACES {
        let at = format!("/races/{race}");
        let write = |writer: usize| {
            let write = Put {
                path: path(&at),
                content: format!("writer {writer}").into(),
            };
            async move {
                let made = driver.put_new(write).await;
                made.expect("it is tried").then_some(writer)
            }
        };
        let made = join_all((0..WRITERS).map(write)).await;
        let made: Vec<usize> = made.into_iter().flatten().collect();
        let [winner] = made.as_slice() else {
            panic!("race {race}: {made:?} each made it");
        };
        assert_eq!(get(driver, &at).await, format!("writer {winner}"), "{at}");
    }
}
