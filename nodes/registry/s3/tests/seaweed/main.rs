//! The driver against a real `SeaweedFS`: the contract of all drivers, and what only an object store can show.

mod cases;
mod faults;
mod proxy;
mod server;

use server::Seaweed;

/// One test, since each would start a server of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_seaweedfs() {
    let seaweed = Seaweed::start().await;
    cases::contract(&seaweed).await;
    cases::keys(&seaweed).await;
    cases::requests_of_a_push(&seaweed).await;
    cases::joining(&seaweed).await;
    cases::abandoned_uploads(&seaweed).await;
    cases::large_directories(&seaweed).await;
    cases::presigned(&seaweed).await;
    faults::downloads_go_on(&seaweed).await;
    faults::replaced_while_read(&seaweed).await;
    faults::slow_down(&seaweed).await;
    faults::refusals(&seaweed).await;
    faults::nobody_there().await;
}
