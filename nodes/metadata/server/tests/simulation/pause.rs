//! A process that stands still for a while, as SIGSTOP makes it: none of its tasks goes on, and its clocks do.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

thread_local! {
    /// Of the process whose task is polled.
    static POLLED: RefCell<Option<Pause>> = const { RefCell::new(None) };
}

/// Until when a process stands still.
#[derive(Debug, Clone, Default)]
pub(super) struct Pause(Arc<Mutex<Option<Instant>>>);

impl Pause {
    pub(super) fn begin(&self, period: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + period);
    }

    fn is_over(&self) -> Result<(), Instant> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until
            .filter(|until| Instant::now() < *until)
            .map_or(Ok(()), Err)
    }

    /// Makes a task one of this process; so are those that it starts.
    pub(super) fn over<F: Future>(&self, future: F) -> Paused<F> {
        Paused {
            pause: Some(self.clone()),
            wakes: None,
            future: Box::pin(future),
        }
    }
}

/// Makes a task one of the process that starts it.
pub(crate) fn of_this_process<F: Future>(future: F) -> Paused<F> {
    Paused {
        pause: POLLED.with_borrow(Clone::clone),
        wakes: None,
        future: Box::pin(future),
    }
}

pub(crate) struct Paused<F> {
    pause: Option<Pause>,
    wakes: Option<Pin<Box<Sleep>>>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Paused<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        while let Some(Err(until)) = self.pause.as_ref().map(Pause::is_over) {
            let mut wakes = Box::pin(sleep_until(until));
            if wakes.as_mut().poll(context).is_pending() {
                self.wakes = Some(wakes);
                return Poll::Pending;
            }
        }
        self.wakes = None;
        let before = POLLED.replace(self.pause.clone());
        let polled = self.future.as_mut().poll(context);
        POLLED.set(before);
        polled
    }
}
