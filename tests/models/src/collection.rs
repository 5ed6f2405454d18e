//! Garbage collection while everyone pushes: nodes, the coordinator and the one before it, clients, store and caches.
//!
//! The log is the production machine. Everything else is its shell in small: each step is one act that can be seen from
//! outside, and between two steps of anyone all others may do anything, for any time: that is what a pause is.
//! Acknowledgements are lost and overtake each other; a node that crashes forgets all it had; one whose lease ends goes on
//! with what it was doing. The store holds an index that names a manifest that names a layer.

mod coordinating;
mod requests;
mod world;

use stateright::{Model, Property};

use roadstead_machine::{Run, Timestamp};
pub use world::World;
use world::{Ack, Client, Coordinator, INDEX, Kind, LAYER, MANIFEST, children};

/// What is left out or done wrong, one at a time: each must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A request whose lease was interrupted looks whether all is there, and does not start again.
    OnlyVerifies,
    /// Nothing is looked at again before the answer.
    NoSecondCheck,
    /// Requests in flight are not told to the machine.
    NoVetoes,
    /// A deletion goes by the path, whenever it happens.
    UnfencedDeletes,
    /// A node's lease is renewed by one who does not lead any more.
    DeposedLeaderRenews,
    /// A node whose lease is over can still write a link or a tag.
    UnfencedLinks,
    /// What no tag leads to is condemned at once, not from the top down.
    WholeTrees,
    /// What was condemned is reaped without another look.
    NoSecondMark,
    /// A node goes on believing what it knew of what was condemned.
    KeepsCaches,
    /// What is being reaped as far as a node knows is refused without asking the log.
    RefusesUnasked,
    /// What is being reaped can be pushed again before it is seen to be gone.
    ReleasesEarly,
    /// A node believes what a request read that had not asked for it to stay, and was never answered.
    LearnsLate,
    /// A node without a lease says that something exists to one who does not bring it then.
    PromisesWithoutLease,
}

/// What there is, and what is wanted.
#[derive(Debug, Clone)]
pub struct Collecting {
    pub start: Start,
    pub flaw: Option<Flaw>,
    pub nodes: usize,
    /// How many leases end, nodes crash, messages are lost, and clients go away, at most.
    pub lapses: u8,
    pub crashes: u8,
    pub losses: u8,
    pub departures: u8,
    /// How often something is condemned, at most.
    pub versions: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A layer that nothing names; a client asks for it, and pushes the manifest that names it.
    Layer,
    /// An index that no tag leads to; a client tags it again.
    Index,
    /// As `Index`, with a tag on the manifest that the client moves.
    Moved,
    /// The index has a tag, which is deleted; a client pushes the manifest.
    Deleted,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Start { client: usize, node: usize },
    Advance(usize),
    Follow(usize),
    Acknowledge(usize),
    Deliver(Message),
    Lose(Message),
    Coordinate(usize),
    Lapse(usize),
    Crash(usize),
    Depart(usize),
    Join(usize),
    Tick,
}

/// An acknowledgement that is on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Message(Ack);

impl Action {
    fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Lose(_) | Self::Lapse(_) | Self::Crash(_) | Self::Depart(_)
        )
    }
}

impl Collecting {
    fn begin(&self) -> World {
        let whole = INDEX | MANIFEST | LAYER;
        let push = |what| Kind::Put { what, tagged: true };
        let (store, tag, scripts) = match self.start {
            Start::Layer => (LAYER, None, vec![vec![Kind::Head, push(MANIFEST)]]),
            Start::Index => (whole, None, vec![vec![push(INDEX)]]),
            Start::Moved => (whole, Some(MANIFEST), vec![vec![push(INDEX)]]),
            Start::Deleted => (
                whole,
                Some(INDEX),
                vec![vec![Kind::Untag], vec![Kind::Head, push(MANIFEST)]],
            ),
        };
        let mut world = World::new(self.nodes, store, tag);
        world.lapses = self.lapses;
        world.crashes = self.crashes;
        world.losses = self.losses;
        world.departures = self.departures;
        let client = |todo| Client {
            todo,
            ..Client::default()
        };
        world.clients = scripts.into_iter().map(client).collect();
        world
    }

    fn of_clients(&self, world: &World, actions: &mut Vec<Action>) {
        for (number, client) in world.clients.iter().enumerate() {
            if client.request.is_some() && world.departures > 0 {
                actions.push(Action::Depart(number));
            }
            match &client.request {
                Some(request) if !world.waits(request, self.flaw) => {
                    actions.push(Action::Advance(number));
                }
                None if !client.todo.is_empty() => {
                    let nodes = world.nodes.iter().enumerate();
                    let serving = nodes.filter(|(_, server)| server.is_up && server.holds_lease);
                    actions.extend(serving.map(|(node, _)| Action::Start {
                        client: number,
                        node,
                    }));
                }
                _ => {}
            }
        }
    }

    fn of_nodes(&self, world: &World, actions: &mut Vec<Action>) {
        for (node, server) in world.nodes.iter().enumerate() {
            let is_member = world.is_member(node);
            if !is_member {
                actions.push(Action::Join(node));
            } else if server.is_up && world.lags(node) {
                actions.push(Action::Follow(node));
            } else if world.may_acknowledge(node) {
                actions.push(Action::Acknowledge(node));
            }
            if world.has_work(node, self.flaw, self.versions) {
                actions.push(Action::Coordinate(node));
            }
            if is_member && world.lapses > 0 {
                actions.push(Action::Lapse(node));
            }
            if server.is_up && world.crashes > 0 {
                actions.push(Action::Crash(node));
            }
        }
    }

    fn lapse(&self, world: &mut World, node: usize) {
        world.lapses -= 1;
        world.leave(node);
        world.nodes[node].holds_lease = self.flaw == Some(Flaw::DeposedLeaderRenews);
    }

    fn crash(world: &mut World, node: usize) {
        world.crashes -= 1;
        world.leave(node);
        let server = &mut world.nodes[node];
        server.is_up = false;
        server.holds_lease = false;
        server.cache = 0;
        server.coordinator = Coordinator::Off;
        for client in &mut world.clients {
            if client.request.is_some_and(|request| request.node == node) {
                client.request = None;
                client.todo.clear();
            }
        }
    }

    /// Nothing is left to do, if nothing else goes wrong.
    fn is_at_rest(&self, world: &World) -> bool {
        let mut actions = Vec::new();
        self.actions(world, &mut actions);
        actions.iter().all(Action::is_fault)
    }

    fn has_ended_well(&self, world: &World) -> bool {
        let is_done = world.clients.iter().all(|client| client.request.is_none())
            && world.collection().run().is_none()
            && (world.unmarked() == 0 || world.collection().version() >= self.versions);
        is_done || !self.is_at_rest(world)
    }
}

impl Model for Collecting {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.begin()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.of_clients(world, actions);
        self.of_nodes(world, actions);
        for ack in &world.acks {
            actions.push(Action::Deliver(Message(*ack)));
            if world.losses > 0 {
                actions.push(Action::Lose(Message(*ack)));
            }
        }
        let ripe = world.collection().run().and_then(Run::ripe);
        if ripe.is_some_and(|ripe| Timestamp(world.clock) < ripe) {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Start { client, node } => world.start(client, node, self.flaw),
            Action::Advance(client) => world.advance(client, self.flaw),
            Action::Follow(node) => world.follow(node, self.flaw),
            Action::Acknowledge(node) => world.acknowledge(node, self.flaw),
            Action::Deliver(Message(ack)) => world.deliver(ack),
            Action::Lose(Message(ack)) => {
                world.losses -= 1;
                world.acks.remove(&ack);
            }
            Action::Coordinate(node) => world.coordinate(node, self.flaw),
            Action::Lapse(node) => self.lapse(&mut world, node),
            Action::Crash(node) => Self::crash(&mut world, node),
            Action::Depart(client) => world.leave_unanswered(client),
            Action::Join(node) => world.join(node),
            Action::Tick => world.clock += 1,
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("G1: what is named is there", |_, world: &World| {
                let named = world.tag.unwrap_or(0) | children(world.store);
                named & !world.store == 0
            }),
            Property::always("G2: promises are kept", |_, world: &World| {
                !world.wrongs.broken_promise
            }),
            Property::always("G3: garbage goes, and all ends", Self::has_ended_well),
            Property::always("G4: nothing claims what is gone", |_, world: &World| {
                !world.wrongs.false_claim
            }),
            Property::sometimes("all garbage is collected", |_, world: &World| {
                world.clients.iter().all(|client| !client.has_pushed)
                    && world.unmarked() == 0
                    && world.collection().version() > 0
                    && world.collection().run().is_none()
            }),
            Property::sometimes("a push succeeds during a run", |_, world: &World| {
                world.collection().run().is_some()
                    && world.clients.iter().any(|client| client.has_pushed)
            }),
            Property::sometimes("a predecessor deletes late", |_, world: &World| {
                world.nodes.iter().any(|server| {
                    matches!(server.coordinator, Coordinator::Opened { term, is_there: false, .. }
                        if term < world.collection().term())
                })
            }),
        ]
    }
}

#[cfg(test)]
mod tests;
