//! What is waited for beside every request, and seldom comes.
//!
//! A connection waits for its requests, and for a drain, for a client that takes nothing, for somebody who needs its seat.
//! Whoever waits for several things polls all of them when one wakes it: the ones that are woken for each request would have
//! the others polled each time, with a lock or two in each.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// A future that is polled only when it was woken itself.
pub(super) struct Seldom<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    own: Waker,
}

#[derive(Debug)]
struct Bell {
    has_rung: AtomicBool,
    outer: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.outer.wake();
    }
}

impl<F: Future> Seldom<F> {
    pub(super) fn new(future: F) -> Self {
        let bell = Arc::new(Bell {
            // The first poll says what it waits for.
            has_rung: AtomicBool::new(true),
            outer: AtomicWaker::new(),
        });
        Self {
            future: Box::pin(future),
            own: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        // Before the bell is looked at: who rings it after that wakes this task.
        this.bell.outer.register(context.waker());
        if !this.bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        this.future
            .as_mut()
            .poll(&mut Context::from_waker(&this.own))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_is_woken_and_not_with_others() {
        let (other, wanted) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let polls = Arc::new(AtomicUsize::new(0));
        let waiting = tokio::spawn({
            let (other, wanted) = (Arc::clone(&other), Arc::clone(&wanted));
            let polls = Arc::clone(&polls);
            async move {
                let mut come = Box::pin(async move { wanted.notified().await });
                let mut seldom = Seldom::new(std::future::poll_fn(move |context| {
                    polls.fetch_add(1, Ordering::Relaxed);
                    come.as_mut().poll(context)
                }));
                let mut others = 0;
                loop {
                    tokio::select! {
                        biased;
                        () = &mut seldom => return others,
                        () = other.notified() => others += 1,
                    }
                }
            }
        });
        for _ in 0..10 {
            other.notify_one();
            tokio::task::yield_now().await;
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1, "to say what it waits for");
        wanted.notify_one();
        assert_eq!(waiting.await.unwrap(), 10);
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn one_that_is_woken_from_elsewhere_wakes_its_task() {
        let wanted = Arc::new(Notify::new());
        let waiting = tokio::spawn({
            let wanted = Arc::clone(&wanted);
            async move { Seldom::new(async move { wanted.notified().await }).await }
        });
        tokio::task::yield_now().await;
        std::thread::scope(|threads| threads.spawn(|| wanted.notify_one()).join().unwrap());
        waiting.await.unwrap();
    }
}
