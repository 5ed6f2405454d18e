//! The driver against a real SeaweedFS: the contract of all drivers, and what only an object store can show.

mod cases;
mod server;

use server::Seaweed;

/// One test, since each would start a server of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_seaweedfs() {
    let store = Seaweed::start().await;
    cases::contract(&store).await;
}
