//! What nodes do for clients: the admission of what promises or references a digest.

use roadstead_machine::{CollectCommand, CollectOutcome};

use super::Flaw;
use super::world::{Ack, Kind, LAYER, Request, Set, Step, World, children, units};

/// How long a promise is good, in ticks. The machine waits for one tick more.
pub(crate) const WINDOW: u64 = 1;

impl World {
    /// A client sends its next request.
    pub(crate) fn start(&mut self, client: usize, node: usize, flaw: Option<Flaw>) {
        let server = &self.nodes[node];
        let request = Request {
            kind: self.clients[client].todo.remove(0),
            node,
            epoch: server.epoch,
            version: 0,
            step: Step::Check,
            verified: None,
            may_learn: false,
        };
        if request.kind == Kind::Untag {
            self.tag = None;
            return;
        }
        self.clients[client].request = Some(request);
        self.check(client, flaw);
    }

    /// Whether a request waits for something else than its own next step.
    pub(crate) fn waits(&self, request: &Request, flaw: Option<Flaw>) -> bool {
        let server = &self.nodes[request.node];
        match request.step {
            Step::Check => server.view.reaping & request.names() != 0,
            Step::Verify if self.is_told_without_a_lease(request, flaw) => false,
            Step::Verify | Step::VerifyTag | Step::Rescue => !server.holds_lease,
            _ => false,
        }
    }

    fn is_told_without_a_lease(&self, request: &Request, flaw: Option<Flaw>) -> bool {
        flaw == Some(Flaw::PromisesWithoutLease)
            && request.kind == Kind::Head
            && !self.nodes[request.node].holds_lease
    }

    pub(crate) fn advance(&mut self, client: usize, flaw: Option<Flaw>) {
        let Some(request) = self.clients[client].request else {
            return;
        };
        match request.step {
            Step::Check => self.check(client, flaw),
            Step::Rescue => self.rescue(client, request, flaw),
            Step::Act => self.act(client, request, flaw),
            Step::Write => self.write(client, request),
            Step::Verify | Step::VerifyTag => self.verify(client, request, flaw),
            Step::Tag => self.write_tag(client, request),
            Step::Answer => self.answer(client, request),
        }
    }

    fn go_on(&mut self, client: usize, step: Step) {
        if let Some(request) = &mut self.clients[client].request {
            request.step = step;
        }
    }

    /// A client goes away, or its request ends with an error. It asks again.
    pub(crate) fn leave_unanswered(&mut self, client: usize) {
        self.departures -= 1;
        let client = &mut self.clients[client];
        if let Some(request) = client.request.take() {
            client.todo.insert(0, request.kind);
        }
    }

    /// The request ends with an error that is nobody's promise.
    fn fail(&mut self, client: usize) {
        let client = &mut self.clients[client];
        client.request = None;
        client.todo.clear();
    }

    /// (2): the lease's epoch, and what is condemned as far as the node knows.
    fn check(&mut self, client: usize, flaw: Option<Flaw>) {
        let Some(request) = &mut self.clients[client].request else {
            return;
        };
        let server = &self.nodes[request.node];
        let view = server.view;
        request.epoch = server.epoch;
        request.version = view.version;
        request.verified = None;
        request.may_learn = server.holds_lease;
        let request = *request;
        let names = request.names();
        // A refusal is as fresh as a promise has to be: what is being reaped, as far as the node knows, may be there again.
        if flaw == Some(Flaw::RefusesUnasked) && names & view.reaping != 0 {
            return self.is_gone(client, names & view.reaping);
        }
        let is_in_question = names & (view.condemned | view.reaping) != 0
            && !self.is_told_without_a_lease(&request, flaw);
        self.go_on(
            client,
            if is_in_question {
                Step::Rescue
            } else {
                Step::Act
            },
        );
    }

    fn rescue(&mut self, client: usize, request: Request, flaw: Option<Flaw>) {
        // All that it names: what the node knew when it was checked may have become more.
        let names = request.names();
        match self.collect(CollectCommand::Rescue {
            version: request.version,
            units: units(names),
        }) {
            CollectOutcome::Rescued => self.go_on(client, Step::Act),
            CollectOutcome::Gone { units } => {
                self.follow(request.node, flaw);
                let gone = super::world::set(&units.into_iter().collect());
                self.is_gone(client, gone);
            }
            _ => {
                self.follow(request.node, flaw);
                self.go_on(client, Step::Check);
            }
        }
    }

    /// While it is reaped it does not exist, and who brings it waits.
    fn is_gone(&mut self, client: usize, gone: Set) {
        let Some(request) = self.clients[client].request else {
            return;
        };
        match request.kind {
            Kind::Head => self.is_absent(client),
            Kind::Put { what, .. } if gone & children(what) != 0 => self.refuse(client, gone),
            Kind::Put { .. } | Kind::Upload | Kind::Untag => self.go_on(client, Step::Check),
        }
    }

    /// The client uploads what is not there.
    fn is_absent(&mut self, client: usize) {
        let client = &mut self.clients[client];
        client.request = None;
        client.todo.insert(0, Kind::Upload);
    }

    fn refuse(&mut self, client: usize, missing: Set) {
        let promised = self.clients[client].promised;
        let is_good = promised.is_some_and(|at| self.clock <= at + WINDOW);
        self.wrongs.broken_promise |= is_good && missing & LAYER != 0;
        self.fail(client);
    }

    /// (3), up to the write of a link.
    fn act(&mut self, client: usize, request: Request, flaw: Option<Flaw>) {
        match request.kind {
            Kind::Head => {
                let server = &self.nodes[request.node];
                if (server.cache | self.store) & LAYER == 0 {
                    self.is_absent(client);
                } else {
                    self.learn(request, flaw);
                    self.go_on(client, Step::Verify);
                }
            }
            Kind::Upload | Kind::Untag => {
                // Nothing fences the bytes: they are nobody's until something names them.
                self.store |= LAYER;
                self.learn(request, flaw);
                self.go_on(client, Step::Verify);
            }
            Kind::Put { what, .. } => {
                let missing = children(what) & !self.store;
                if missing == 0 {
                    self.go_on(client, Step::Write);
                } else {
                    self.refuse(client, missing);
                }
            }
        }
    }

    /// What the store said is believed from now on, whatever becomes of the request.
    fn learn(&mut self, request: Request, flaw: Option<Flaw>) {
        let server = &mut self.nodes[request.node];
        if server.holds_lease && (request.may_learn || flaw == Some(Flaw::LearnsLate)) {
            server.cache |= LAYER;
        }
    }

    fn write(&mut self, client: usize, request: Request) {
        match request.kind {
            Kind::Put { what, .. } if !self.is_fenced(request.epoch) => {
                self.store |= what;
                self.go_on(client, Step::Verify);
            }
            _ => self.fail(client),
        }
    }

    fn write_tag(&mut self, client: usize, request: Request) {
        match request.kind {
            Kind::Put { what, .. } if !self.is_fenced(request.epoch) => {
                self.tag = Some(what);
                self.go_on(client, Step::VerifyTag);
            }
            _ => self.fail(client),
        }
    }

    /// (4): what was begun under this epoch was not interrupted, nothing it names was condemned since, and all is there.
    fn verify(&mut self, client: usize, request: Request, flaw: Option<Flaw>) {
        let server = &self.nodes[request.node];
        let (view, names) = (server.view, request.names());
        let is_interrupted = request.epoch != server.epoch;
        let is_condemned =
            request.version < view.version && names & (view.condemned | view.reaping) != 0;
        let is_there = names & !self.store == 0 || request.kind == Kind::Head;
        let passes = match flaw {
            Some(Flaw::NoSecondCheck) => true,
            _ if self.is_told_without_a_lease(&request, flaw) => true,
            Some(Flaw::OnlyVerifies) if is_interrupted => names & !self.store == 0,
            _ => !is_interrupted && !is_condemned && is_there,
        };
        if !passes {
            return self.check(client, flaw);
        }
        let (clock, epoch) = (self.clock, server.epoch);
        let next = match (request.step, request.kind) {
            (Step::Verify, Kind::Put { tagged: true, .. }) => Step::Tag,
            _ => Step::Answer,
        };
        if let Some(request) = &mut self.clients[client].request {
            request.verified = Some(clock);
            request.epoch = epoch;
            request.step = next;
        }
    }

    fn answer(&mut self, client: usize, request: Request) {
        let server = &self.nodes[request.node];
        let holds_it_still = server.holds_lease && server.epoch == request.epoch;
        if holds_it_still {
            self.wrongs.false_claim |= request.names() & !self.store != 0;
        }
        let told = holds_it_still.then_some(self.clock).or(request.verified);
        let asking = &mut self.clients[client];
        asking.request = None;
        match request.kind {
            Kind::Head => asking.promised = told,
            Kind::Upload => {
                asking.promised = told;
                asking.has_uploaded = true;
            }
            Kind::Put { .. } | Kind::Untag => {
                asking.promised = None;
                asking.has_pushed = true;
            }
        }
    }

    /// A node follows the log to its end, drops what it cannot believe any more, and acknowledges.
    pub(crate) fn follow(&mut self, node: usize, flaw: Option<Flaw>) {
        let present = self.present();
        let server = &mut self.nodes[node];
        let before = server.view;
        server.view = present;
        if flaw != Some(Flaw::KeepsCaches) {
            let questioned = before.condemned | before.reaping;
            self.forget(node, questioned | present.condemned | present.reaping);
        }
        if self.may_acknowledge(node) {
            self.acknowledge(node, flaw);
        }
    }

    pub(crate) fn may_acknowledge(&self, node: usize) -> bool {
        let server = &self.nodes[node];
        let version = self.collection().version();
        let run = self.collection().run();
        let is_under_way = |ack: &Ack| ack.epoch == server.epoch && ack.version == version;
        server.is_up
            && server.holds_lease
            && server.view.version == version
            && run.is_some_and(|run| run.awaits(server.epoch))
            && !self.acks.iter().any(is_under_way)
    }

    pub(crate) fn deliver(&mut self, ack: Ack) {
        self.acks.remove(&ack);
        self.collect(CollectCommand::Acknowledge {
            epoch: ack.epoch,
            version: ack.version,
            vetoes: units(ack.vetoes),
        });
    }

    pub(crate) fn acknowledge(&mut self, node: usize, flaw: Option<Flaw>) {
        let vetoes = if flaw == Some(Flaw::NoVetoes) {
            0
        } else {
            self.in_flight(node)
        };
        let server = &self.nodes[node];
        self.acks.insert(Ack {
            epoch: server.epoch,
            version: server.view.version,
            vetoes: vetoes & server.view.condemned,
        });
    }
}
