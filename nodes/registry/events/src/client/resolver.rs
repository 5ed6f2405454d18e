//! Name resolution that cannot take all the threads: one look-up of an endpoint at a time.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tower::Service;

type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The operating system's resolver blocks its thread, for as long as dead name servers make it, and cannot be given up
/// half way. Attempts time out before: without a bound, each would leave a thread behind, and the storage driver's
/// reads and writes come from the same pool of threads.
#[derive(Clone)]
pub(crate) struct Resolver {
    gate: Arc<Semaphore>,
    look_up: Arc<LookUp>,
}

impl Resolver {
    /// As the operating system does it.
    pub(crate) fn system() -> Self {
        Self::by(|host| Ok((host, 0).to_socket_addrs()?.collect()))
    }

    fn by(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self {
            gate: Arc::new(Semaphore::new(1)),
            look_up: Arc::new(look_up),
        }
    }

    async fn resolve(self, name: Name) -> io::Result<std::vec::IntoIter<SocketAddr>> {
        let permit = self.gate.acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let look_up = self.look_up;
        let blocking = tokio::task::spawn_blocking(move || {
            let found = look_up(name.as_str());
            drop(permit);
            found
        });
        Ok(blocking.await.map_err(io::Error::other)??.into_iter())
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn look_ups_that_were_given_up_take_one_thread_in_all() {
        let (began, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let ended = std::sync::Mutex::new(ended);
        let mut resolver = Resolver::by(move |_host| {
            began.send(()).unwrap();
            ended.lock().unwrap().recv().unwrap();
            Ok(vec!["127.0.0.1:0".parse().unwrap()])
        });
        let name: Name = "example.com".parse().unwrap();
        for _ in 0..5 {
            let attempt = resolver.call(name.clone());
            let gave_up = tokio::time::timeout(Duration::from_millis(20), attempt).await;
            assert!(gave_up.is_err());
        }
        let (_, last) = tokio::join!(
            tokio::task::spawn_blocking(move || {
                begun.recv().unwrap();
                assert!(
                    begun.try_recv().is_err(),
                    "a second look-up ran beside the first"
                );
                end.send(()).unwrap();
                begun.recv().unwrap();
                end.send(()).unwrap();
            }),
            resolver.call(name.clone()),
        );
        assert_eq!(last.unwrap().count(), 1);
    }
}
