//! Small files that may be there already, and what another request may have just written.

use super::{is_absent, path, put};
use crate::Error;
use crate::driver::{Driver, Put};

pub(super) async fn small_files(driver: &dyn Driver) {
    let write = |at: &str, content: &'static [u8]| Put {
        path: path(at),
        content: content.into(),
    };
    put(driver, "/there/same", b"same").await;
    put(driver, "/there/longer", b"longer than it should be").await;
    put(driver, "/there/other", b"other").await;
    let writes = [
        ("/there/same", b"same"),
        ("/there/longer", b"1234"),
        ("/there/other", b"5678"),
        ("/absent", b"9abc"),
    ];
    let all = writes.iter().map(|(at, content)| write(at, *content));
    let ensured = driver.ensure(all.collect()).await;
    ensured.expect("small files are ensured");
    for (at, content) in writes {
        let settled = driver.get_settled(&path(at), 4).await;
        assert_eq!(settled.expect("a file"), content.as_slice(), "{at}");
    }
    is_absent(driver.get_settled(&path("/nowhere"), 4)).await;
    let limited = driver.get_settled(&path("/absent"), 3).await;
    assert!(matches!(limited, Err(Error::TooLarge { limit: 3, .. })));
}
