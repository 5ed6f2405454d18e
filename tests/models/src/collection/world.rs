//! The state of the model: what the log, the store, the nodes and the clients are at.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use roadstead_machine::{
    ClusterCommand, ClusterOutcome, CollectCommand, CollectOutcome, Collection, Command, Entry,
    Fingerprint, Machine, NodeId, Outcome, Timestamp, Unit,
};
use roadstead_oci::{Algorithm, Digest};

/// A set of things in the store, one bit each.
pub(crate) type Set = u8;
pub(crate) const INDEX: Set = 1;
pub(crate) const MANIFEST: Set = 2;
pub(crate) const LAYER: Set = 4;
pub(crate) const ALL: [Set; 3] = [INDEX, MANIFEST, LAYER];

/// What a thing names: the index the manifest, the manifest the layer.
pub(crate) fn children(of: Set) -> Set {
    (of << 1) & (MANIFEST | LAYER)
}

/// Everything that follows from it.
pub(crate) fn closure(of: Set) -> Set {
    of | children(of) | children(children(of))
}

/// The machine itself, told apart by what it would store.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    machine: Arc<Machine>,
    stored: u64,
}

impl Agreed {
    fn new(machine: Machine) -> Self {
        let mut hasher = DefaultHasher::new();
        match machine.encode() {
            Ok(bytes) => bytes.hash(&mut hasher),
            Err(error) => unreachable!("a machine can be stored: {error}"),
        }
        Self {
            machine: Arc::new(machine),
            stored: hasher.finish(),
        }
    }
}

impl PartialEq for Agreed {
    fn eq(&self, other: &Self) -> bool {
        self.stored == other.stored
    }
}

impl Eq for Agreed {}

impl Hash for Agreed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.stored);
    }
}

/// What a node has followed the log to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct View {
    pub(crate) version: u64,
    pub(crate) condemned: Set,
    pub(crate) reaping: Set,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) is_up: bool,
    /// By its own clock.
    pub(crate) holds_lease: bool,
    pub(crate) epoch: u64,
    pub(crate) view: View,
    /// What it believes to exist without asking the store.
    pub(crate) cache: Set,
    pub(crate) coordinator: Coordinator,
}

/// What the coordinator in a node is about to do next, which may be at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Coordinator {
    #[default]
    Off,
    /// It asks the machine what to do next; of what is being reaped it has seen this to be gone.
    On { term: u64, gone: Set },
    /// The second mark found this.
    Doomed { term: u64, version: u64, units: Set },
    /// It has opened a directory, and was still the coordinator after that. `is_there`: the path still leads to it.
    Opened {
        term: u64,
        unit: Set,
        is_there: bool,
        gone: Set,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Head,
    Upload,
    /// Of the manifest or the index, with the tag or without.
    Put {
        what: Set,
        tagged: bool,
    },
    /// Deletes the tag.
    Untag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// It waits for what is being reaped.
    Check,
    Rescue,
    Act,
    /// All that it names was there: writes the revision.
    Write,
    Verify,
    Tag,
    VerifyTag,
    Answer,
}

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) node: usize,
    pub(crate) epoch: u64,
    /// What its node knew when it was checked.
    pub(crate) version: u64,
    pub(crate) step: Step,
    /// When it was checked the second time, by a node with a lease.
    pub(crate) verified: Option<u64>,
    /// Nothing was dropped from its node's cache since before it was checked the first time, with a lease.
    pub(crate) may_learn: bool,
}

impl Request {
    pub(crate) fn names(&self) -> Set {
        match self.kind {
            Kind::Head | Kind::Upload => LAYER,
            Kind::Put { what, .. } => what | children(what),
            Kind::Untag => 0,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) todo: Vec<Kind>,
    pub(crate) request: Option<Request>,
    /// When it was told that the layer exists, by a node with a lease.
    pub(crate) promised: Option<u64>,
    pub(crate) has_uploaded: bool,
    pub(crate) has_pushed: bool,
}

/// An acknowledgement on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ack {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) vetoes: Set,
}

/// What must never have happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Wrongs {
    /// A push was refused for want of what had been promised within the window.
    pub(crate) broken_promise: bool,
    /// A node with a lease said that something exists which did not.
    pub(crate) false_claim: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) agreed: Agreed,
    pub(crate) clock: u64,
    pub(crate) store: Set,
    pub(crate) tag: Option<Set>,
    pub(crate) nodes: Vec<Server>,
    pub(crate) clients: Vec<Client>,
    pub(crate) acks: BTreeSet<Ack>,
    /// Epochs, one bit each, whose writes of links and tags fail.
    pub(crate) fenced: u64,
    pub(crate) lapses: u8,
    pub(crate) crashes: u8,
    pub(crate) losses: u8,
    /// How many clients may go away before they are answered, to ask again.
    pub(crate) departures: u8,
    pub(crate) wrongs: Wrongs,
}

fn id(node: usize) -> NodeId {
    NodeId([u8::try_from(node).unwrap_or(u8::MAX); 16])
}

/// Link and bytes are one unit here: requests that name one name the other.
static UNITS: LazyLock<[(Set, Unit); 3]> = LazyLock::new(|| {
    ALL.map(|bit| {
        let digest = Digest::of(Algorithm::Sha256, &[bit]);
        (bit, Unit::Data { digest })
    })
});

pub(crate) fn units(set: Set) -> Vec<Unit> {
    let there = UNITS.iter().filter(|(bit, _)| set & bit != 0);
    there.map(|(_, unit)| unit.clone()).collect()
}

pub(crate) fn set(units: &BTreeSet<Unit>) -> Set {
    let there = UNITS.iter().filter(|(_, unit)| units.contains(unit));
    there.fold(0, |all, (bit, _)| all | bit)
}

impl World {
    pub(crate) fn new(nodes: usize, store: Set, tag: Option<Set>) -> Self {
        let mut world = Self {
            agreed: Agreed::new(Machine::default()),
            clock: 0,
            store,
            tag,
            nodes: vec![Server::default(); nodes],
            clients: Vec::new(),
            acks: BTreeSet::new(),
            fenced: 0,
            lapses: 0,
            crashes: 0,
            losses: 0,
            departures: 0,
            wrongs: Wrongs::default(),
        };
        for node in 0..nodes {
            world.join(node);
            world.nodes[node].cache = store & LAYER;
        }
        world.coordinate(0, None);
        world
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.agreed.machine
    }

    pub(crate) fn collection(&self) -> &Collection {
        self.machine().collection()
    }

    pub(crate) fn reaping(&self) -> Set {
        self.collection().run().map_or(0, |run| set(run.reaping()))
    }

    pub(crate) fn propose(&mut self, command: Command) -> Outcome {
        let at = Timestamp(self.clock);
        let mut machine = Machine::clone(&self.agreed.machine);
        let outcome = machine.apply(Entry { at, command });
        self.agreed = Agreed::new(machine);
        outcome
    }

    pub(crate) fn collect(&mut self, command: CollectCommand) -> CollectOutcome {
        match self.propose(Command::Collect(command)) {
            Outcome::Collect(outcome) => outcome,
            other => unreachable!("{other:?}"),
        }
    }

    /// A node gets a lease with a new epoch, and follows the log that far before it uses it.
    pub(crate) fn join(&mut self, node: usize) {
        let join = ClusterCommand::Join {
            node: id(node),
            address: node.to_string(),
            version: String::new(),
            fingerprint: Fingerprint {
                store: String::new(),
                secret: None,
                authentication: String::new(),
                redis: None,
            },
        };
        let Outcome::Cluster(ClusterOutcome::Joined { epoch, .. }) =
            self.propose(Command::Cluster(join))
        else {
            unreachable!("nothing differs")
        };
        let view = self.present();
        let server = &mut self.nodes[node];
        server.is_up = true;
        server.holds_lease = true;
        server.epoch = epoch;
        server.view = view;
        self.forget(node, LAYER);
    }

    /// A node drops what it believed, and takes nothing from requests that may have read it before.
    pub(crate) fn forget(&mut self, node: usize, what: Set) {
        self.nodes[node].cache &= !what;
        let requests = self.clients.iter_mut();
        let requests = requests.filter_map(|client| client.request.as_mut());
        for request in requests.filter(|request| request.node == node && what & LAYER != 0) {
            request.may_learn = false;
        }
    }

    /// The log ends a node's lease.
    pub(crate) fn leave(&mut self, node: usize) {
        let leave = ClusterCommand::Leave {
            node: id(node),
            epoch: self.nodes[node].epoch,
        };
        self.propose(Command::Cluster(leave));
    }

    pub(crate) fn is_member(&self, node: usize) -> bool {
        let member = self.machine().nodes().get(&id(node));
        member.is_some_and(|member| member.epoch == self.nodes[node].epoch)
    }

    pub(crate) fn is_fenced(&self, epoch: u64) -> bool {
        self.fenced & (1 << epoch) != 0
    }

    /// Epochs that were given and are over.
    pub(crate) fn over(&self) -> u64 {
        let given = self.nodes.iter().map(|node| node.epoch).max().unwrap_or(0);
        let live = self.machine().nodes().values();
        let live = live.fold(0, |all, node| all | (1 << node.epoch));
        ((2 << given) - 1) & !live
    }

    /// What a node sees that has followed the log to its end.
    pub(crate) fn present(&self) -> View {
        let collection = self.collection();
        let of = |units: Option<&BTreeSet<Unit>>| units.map_or(0, set);
        View {
            version: collection.version(),
            condemned: of(collection.run().map(roadstead_machine::Run::condemned)),
            reaping: of(collection.run().map(roadstead_machine::Run::reaping)),
        }
    }

    /// Whether a node has something to learn. What is not condemned any more it may go on to rescue.
    pub(crate) fn lags(&self, node: usize) -> bool {
        let (view, present) = (self.nodes[node].view, self.present());
        (view.version, view.reaping) != (present.version, present.reaping)
    }

    /// What requests in flight at a node name.
    pub(crate) fn in_flight(&self, node: usize) -> Set {
        let requests = self.clients.iter().filter_map(|client| client.request);
        let here = requests.filter(|request| request.node == node);
        here.fold(0, |all, request| all | request.names())
    }

    /// What no tag and no manifest names.
    pub(crate) fn unmarked(&self) -> Set {
        self.store & !(self.tag.unwrap_or(0) | children(self.store))
    }

    /// What no tag leads to.
    pub(crate) fn untagged(&self) -> Set {
        self.store & !closure(self.tag.unwrap_or(0))
    }

    pub(crate) fn remove(&mut self, unit: Set) {
        self.store &= !unit;
        // Whoever else holds the directory open holds one that no path leads to.
        for server in &mut self.nodes {
            match &mut server.coordinator {
                Coordinator::Opened {
                    unit: open,
                    is_there,
                    ..
                } if *open == unit => *is_there = false,
                _ => {}
            }
        }
    }
}
