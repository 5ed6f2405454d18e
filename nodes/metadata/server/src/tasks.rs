//! What a member does beside answering.

use tokio::task::JoinHandle;

/// Starts a task. In the simulation it stands still while its process is paused.
pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    #[cfg(test)]
    let task = crate::simulation::of_this_process(task);
    tokio::spawn(task)
}
