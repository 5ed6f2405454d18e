//! The driver against stores: a strict one in this process, and a real `SeaweedFS`. The contract of all drivers, and what
//! only an object store can show.

mod cases;
mod faults;
mod insisting;
mod proxy;
mod server;
mod strict;

use server::Seaweed;

/// One test, since each would start a server of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_seaweedfs() {
    let seaweed = Seaweed::start().await;
    let options = |root: &str| seaweed.options(root);
    // It knows no conditional deletion, and lists directories for a while after their files are gone.
    cases::contract(&options, false).await;
    cases::keys(&options).await;
    cases::requests_of_a_push(&options).await;
    cases::joining(&options).await;
    cases::joining_goes_on(&options).await;
    cases::abandoned_uploads(&seaweed).await;
    cases::large_directories(&options).await;
    cases::presigned(&seaweed).await;
    cases::fences(&options).await;
    faults::downloads_go_on(&seaweed).await;
    faults::replaced_while_read(&seaweed).await;
    faults::slow_down(&seaweed).await;
    faults::refusals(&seaweed).await;
}

#[tokio::test]
async fn nobody_there() {
    faults::nobody_there().await;
}
