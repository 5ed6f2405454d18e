//! The tries of one request: each at a node that was not tried before, if there is one, and not too many.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response, StatusCode};
use roadstead_serve::{RECEIPT, Received};

use crate::Gateway;
use crate::answer;
use crate::call::Call;
use crate::exchange::{Fault, NodeBody, exchange};
use crate::node::{Node, Picked};
use crate::pool::Want;

/// Tries without a pause between them: the nodes that are left have not been asked yet. The pause after that, which doubles,
/// and its most: a node that was lost may be back.
const AT_ONCE: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// No transfer lasts longer.
const AS_LONG_AS_IT_TAKES: Duration = Duration::from_hours(24 * 365);

#[derive(Debug)]
pub(crate) struct Tries<'c> {
    gateway: Arc<Gateway>,
    call: &'c Call,
    want: Want,
    tried: Vec<Arc<Node>>,
    /// Since there was progress.
    in_vain: u32,
}

impl<'c> Tries<'c> {
    pub(crate) fn of(gateway: &Arc<Gateway>, call: &'c Call) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            call,
            want: Want {
                writes: call.writes(),
                session: call.route.session.clone(),
            },
            tried: Vec::new(),
            in_vain: 0,
        }
    }

    /// Whether this try comes after one in vain, of which nobody knows what it did.
    pub(crate) fn is_retry(&self) -> bool {
        self.in_vain > 1
    }

    /// What was tried helped: the next failure is the first one again.
    pub(crate) fn made_progress(&mut self) {
        self.in_vain = 0;
        self.tried.clear();
    }

    /// The next node, or what the client is told.
    pub(crate) async fn next(&mut self) -> Result<Picked, Response<Body>> {
        if self.in_vain > 0 {
            let is_last = self.in_vain >= self.gateway.options.retries.tries;
            if is_last || !self.gateway.retries.may_retry() {
                return Err(answer::given_up());
            }
            self.gateway.telling.metrics.retried();
            tokio::time::sleep(pause_after(self.in_vain)).await;
        }
        self.in_vain += 1;
        let picked = self.gateway.pool.pick(&self.want, &self.tried).await;
        let picked = picked.map_err(|why| {
            self.gateway.telling.metrics.shed();
            answer::no_node(why)
        })?;
        self.tried.push(Arc::clone(picked.node()));
        self.call.learnt.tries_at(picked.node().name());
        Ok(picked)
    }

    /// Asks the node. If it goes down, another can be asked instead.
    pub(crate) async fn exchange(
        &self,
        picked: Picked,
        request: Request<Body>,
    ) -> Result<Response<NodeBody>, Fault> {
        let timeouts = &self.gateway.options.timeouts;
        let answers_within = if self.want.writes {
            timeouts.commit
        } else {
            timeouts.answer
        };
        let (dial, request) = (&self.gateway.pool.dial, self.vouched_for(request));
        exchange(dial, picked, request, self.call, answers_within).await
    }

    /// Asks the node with a body that is fed: how long that takes is the client's affair, and the feeder looks after both.
    pub(crate) async fn exchange_fed(
        &self,
        picked: Picked,
        request: Request<Body>,
    ) -> Result<Response<NodeBody>, Fault> {
        let (dial, request) = (&self.gateway.pool.dial, self.vouched_for(request));
        exchange(dial, picked, request, self.call, AS_LONG_AS_IT_TAKES).await
    }

    /// With a word on when the client asked, unless that was just now: what it showed may have run out since.
    fn vouched_for(&self, mut request: Request<Body>) -> Request<Body> {
        let receipts = self.gateway.options.receipts.as_ref();
        if let Some(receipts) = receipts.filter(|_| self.call.learnt.is_tried_again()) {
            let target = request.uri().path_and_query();
            let received = Received {
                method: request.method(),
                target: target.map_or("/", http::uri::PathAndQuery::as_str),
                headers: request.headers(),
            };
            let now = roadstead_telemetry::system_clock()();
            if let Some(receipt) = receipts.write(received, self.call.came, now) {
                request.headers_mut().insert(RECEIPT, receipt);
            }
        }
        request
    }
}

fn pause_after(in_vain: u32) -> Duration {
    match in_vain.checked_sub(AT_ONCE) {
        None => Duration::ZERO,
        Some(more) => PAUSE.saturating_mul(1 << more.min(8)).min(LONGEST_PAUSE),
    }
}

/// What another node may answer better.
pub(crate) fn is_worth_another_try(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_when_others_were_asked_and_grow_to_a_second() {
        let pauses: Vec<u128> = (1..=9).map(|n| pause_after(n).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }
}
