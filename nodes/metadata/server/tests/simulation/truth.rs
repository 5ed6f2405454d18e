//! What is true, seen from outside: each entry as the first member applied it, and what follows from them all.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Arguments;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::Duration;

use openraft::EntryPayload;
use roadstead_machine::{
    ClusterCommand, Command, Entry, Machine, Nodes, Outcome, Segment, SessionId,
};
use roadstead_oci::{Algorithm, Hasher};
use tokio::time::Instant;

use super::member::BEGINNING;
use super::node::BUDGET;
use super::work::origin;

use crate::types::{Answer, Change, Incarnation, LogEntry, Member, encode};

/// How often whole states are compared: they are long.
const COMPARED_EVERY: u64 = 16;

/// The upload that was going on before there was a cluster.
pub(super) const ALONE: SessionId = SessionId([7; 16]);

/// A proposer may have to ask for the time first, and clocks run at slightly different speeds.
const GIVEN_UP_AFTER: Duration = BUDGET
    .saturating_mul(2)
    .saturating_add(Duration::from_secs(1));

/// A session, as its entries tell.
#[derive(Debug, Default, Clone)]
pub(super) struct Record {
    pub(super) segments: Vec<Segment>,
    pub(super) is_sealed: bool,
    pub(super) is_over: bool,
}

impl Record {
    pub(super) fn offset(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    /// Where a segment begins.
    fn place(&self, segment: &Segment) -> Option<u64> {
        let at = self.segments.iter().position(|one| one == segment)?;
        Some(self.segments[..at].iter().map(|one| one.length).sum())
    }
}

/// Who is of the group, as its last entry about that says.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// All of them, with what they were taken in with.
    pub(super) disks: BTreeMap<u64, Incarnation>,
    pub(super) voters: BTreeSet<u64>,
    /// Some have a vote only for now, or not yet in full.
    pub(super) is_joint: bool,
    /// When there was an entry last by which they were not of it, or had a vote.
    left: BTreeMap<u64, Duration>,
    voted: BTreeMap<u64, Duration>,
}

impl Group {
    pub(super) fn has_left(&self, id: u64, since: Duration) -> bool {
        !self.disks.contains_key(&id) || self.left.get(&id).is_some_and(|left| *left >= since)
    }

    pub(super) fn has_voted(&self, id: u64, since: Duration) -> bool {
        self.voters.contains(&id) || self.voted.get(&id).is_some_and(|voted| *voted >= since)
    }
}

pub(super) struct Truth {
    begun: Instant,
    is_loud: bool,
    /// Of all events: two runs of a seed have the same.
    pub(super) events: DefaultHasher,
    pub(super) violation: Option<String>,
    entries: BTreeMap<u64, u64>,
    states: BTreeMap<u64, u64>,
    leaders: BTreeMap<(u64, u64), Incarnation>,
    /// A state is to be imported, and is not yet.
    imports: bool,
    pub(super) group: Group,
    /// The disks of each member, in the order in which they were new.
    disks: BTreeMap<u64, Vec<Incarnation>>,
    pub(super) sessions: BTreeMap<SessionId, Record>,
    pub(super) outcomes: BTreeMap<String, Vec<Outcome>>,
    pub(super) nodes: Nodes,
    /// The newest, and since when.
    pub(super) secret: (Vec<u8>, Duration),
    renounced: BTreeSet<String>,
    /// Whether all clocks tell the time, and since when commands are proposed.
    pub(super) clocks_are_right: bool,
    proposed: BTreeMap<String, Duration>,
    pub(super) acknowledged: u64,
}

thread_local! {
    static TRUTH: RefCell<Option<Truth>> = const { RefCell::new(None) };
}

pub(super) fn begin(is_loud: bool) {
    let truth = Truth {
        begun: Instant::now(),
        is_loud,
        events: DefaultHasher::new(),
        violation: None,
        entries: BTreeMap::new(),
        states: BTreeMap::new(),
        leaders: BTreeMap::new(),
        imports: false,
        group: Group::default(),
        disks: BTreeMap::new(),
        sessions: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        nodes: Nodes::new(),
        secret: (Vec::new(), Duration::ZERO),
        renounced: BTreeSet::new(),
        clocks_are_right: true,
        proposed: BTreeMap::new(),
        acknowledged: 0,
    };
    TRUTH.set(Some(truth));
}

pub(super) fn look<T>(look: impl FnOnce(&mut Truth) -> T) -> T {
    TRUTH.with_borrow_mut(|truth| look(truth.as_mut().expect("a simulation")))
}

pub(super) fn event(what: Arguments<'_>) {
    look(|truth| truth.event(what));
}

pub(super) fn violated(what: Arguments<'_>) {
    look(|truth| truth.violated(what));
}

fn hash(of: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// One entry was applied somewhere.
pub(crate) fn applied(entry: &LogEntry, answer: &Answer, machine: &Machine) {
    let is_running = TRUTH.with_borrow(Option::is_some);
    if is_running {
        look(|truth| truth.applied(entry, answer, machine));
    }
}

/// What identifies a proposal: never the same for two that are meant differently.
pub(super) fn key(command: &Command) -> String {
    match command {
        Command::Append {
            origin,
            from,
            segment,
            ..
        } => {
            format!("append {} {from} {}", origin.session, segment.place)
        }
        Command::Cluster(ClusterCommand::ReplaceSecret { secret, .. }) => {
            format!("rotate {secret:?}")
        }
        Command::AdoptSecret { secret } => format!("adopt {secret:?}"),
        other => format!("{other:?}"),
    }
}

impl Truth {
    pub(super) fn event(&mut self, what: Arguments<'_>) {
        let at = self.now().as_millis();
        let line = format!("{at:>7} {what}");
        line.hash(&mut self.events);
        if self.is_loud {
            println!("{line}");
        }
    }

    pub(super) fn violated(&mut self, what: Arguments<'_>) {
        self.event(format_args!("VIOLATION {what}"));
        self.violation.get_or_insert_with(|| what.to_string());
    }

    fn applied(&mut self, entry: &LogEntry, answer: &Answer, machine: &Machine) {
        let index = entry.log_id.index;
        let told = hash(&encode(&(entry, answer)).unwrap_or_default());
        let is_first = !self.entries.contains_key(&index);
        if *self.entries.entry(index).or_insert(told) != told {
            self.violated(format_args!("entry {index} is not everywhere the same"));
        }
        if index.is_multiple_of(COMPARED_EVERY) {
            self.compare(index, machine);
        }
        if !is_first {
            return;
        }
        if index > 0 && !self.entries.contains_key(&(index - 1)) {
            self.violated(format_args!(
                "entry {index} was applied before the one before it"
            ));
        }
        self.nodes.clone_from(machine.nodes());
        let secret = machine.secret().unwrap_or_default();
        if *secret != *self.secret.0 {
            self.secret = (secret.to_vec(), self.now());
        }
        match &entry.payload {
            EntryPayload::Normal(Change::Commands(commands)) => {
                if self.imports {
                    self.violated(format_args!("entry {index} came before what is imported"));
                }
                for (command, outcome) in commands.iter().zip(&answer.0) {
                    self.committed(&command.entry, outcome.as_ref());
                }
            }
            EntryPayload::Membership(membership) => self.regrouped(membership),
            EntryPayload::Normal(Change::Import(_)) => {
                let is_first = std::mem::take(&mut self.imports);
                if is_first != (*answer == Answer::default()) {
                    self.violated(format_args!(
                        "an import at entry {index} came to {answer:?}"
                    ));
                }
            }
            EntryPayload::Blank => {}
        }
    }

    /// The state of a registry that was on its own, with an upload that goes on.
    pub(super) fn alone(&mut self) -> Vec<u8> {
        let (mut machine, id) = (Machine::default(), ALONE);
        let segment = Segment {
            place: "place-alone".to_owned(),
            length: 7,
        };
        machine.apply(Entry {
            at: BEGINNING,
            command: Command::Append {
                origin: origin(id, BEGINNING),
                from: 0,
                segment: segment.clone(),
                state: Hasher::new(Algorithm::Sha256).save(),
            },
        });
        self.sessions.entry(id).or_default().segments.push(segment);
        self.imports = true;
        machine.encode().expect("a state")
    }

    /// A disk that came after another never gives way to it.
    fn regrouped(&mut self, membership: &openraft::Membership<u64, Member>) {
        let now = self.now();
        let nodes = membership.nodes();
        let disks: BTreeMap<u64, Incarnation> = nodes
            .map(|(id, member)| (*id, member.incarnation))
            .collect();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let votes = membership.get_joint_config();
        self.event(format_args!("the group: {votes:?} of {:?}", disks.keys()));
        let mut wrong = None;
        for (id, disk) in &disks {
            let known = self.disks.get(id).map(Vec::as_slice).unwrap_or_default();
            let age = |disk| known.iter().position(|known| known == disk);
            if age(disk) < self.group.disks.get(id).and_then(age) {
                wrong = Some(format!(
                    "member {id} is taken in with a disk that it has lost"
                ));
            }
        }
        if let Some(wrong) = wrong {
            self.violated(format_args!("{wrong}"));
        }
        let group = &mut self.group;
        let ever = self.disks.keys().filter(|id| !disks.contains_key(id));
        group.left.extend(ever.map(|id| (*id, now)));
        group.voted.extend(voters.iter().map(|id| (*id, now)));
        group.is_joint = membership.get_joint_config().len() > 1;
        (group.disks, group.voters) = (disks, voters);
    }

    /// A member starts with a disk that is blank.
    pub(super) fn has_disk(&mut self, member: u64, disk: Incarnation) {
        let disks = self.disks.entry(member).or_default();
        if disks.last() != Some(&disk) {
            disks.push(disk);
        }
    }

    /// Whether a whole state is what another member had at this entry.
    pub(super) fn compare(&mut self, index: u64, machine: &Machine) {
        let state = hash(&machine.encode().unwrap_or_default());
        if *self.states.entry(index).or_insert(state) != state {
            self.violated(format_args!("the states differ after entry {index}"));
        }
    }

    fn committed(&mut self, entry: &Entry, outcome: Option<&Outcome>) {
        let Entry { at, command } = entry;
        self.event(format_args!("committed {command:?} = {outcome:?}"));
        let Some(outcome) = outcome else {
            return;
        };
        let key = key(command);
        if let Some(proposed) = self.proposed.get(&key)
            && self.clocks_are_right
            && *at > BEGINNING.plus(*proposed + GIVEN_UP_AFTER)
        {
            self.violated(format_args!(
                "{command:?} took effect after it was given up"
            ));
        }
        self.outcomes.entry(key).or_default().push(outcome.clone());

        self.follow(command, outcome);
    }

    /// U1 and U2, and that what was given up stays so.
    fn follow(&mut self, command: &Command, outcome: &Outcome) {
        let mut wrong = None;
        match (command, outcome) {
            (
                Command::Append {
                    origin,
                    from,
                    segment,
                    ..
                },
                Outcome::Appended { offset },
            ) => {
                let record = self.sessions.entry(origin.session).or_default();
                let at = record.place(segment);
                let fits = match at {
                    Some(at) => at == *from,
                    None => !record.is_sealed && !record.is_over && record.offset() == *from,
                };
                if at.is_none() {
                    record.segments.push(segment.clone());
                }
                if !fits || *offset != from + segment.length {
                    wrong = Some(format!("{segment:?} cannot be at {from}"));
                } else if self.renounced.contains(&segment.place) {
                    wrong = Some(format!("{} was given up, and was taken", segment.place));
                }
            }
            (
                Command::Seal { origin, tail, .. },
                Outcome::Sealed {
                    segments,
                    again: false,
                },
            ) => {
                let record = self.sessions.entry(origin.session).or_default();
                let taken_before = record.is_sealed;
                record.is_sealed = true;
                if !taken_before {
                    record.segments.extend(tail.clone());
                }
                if record.segments != *segments {
                    wrong = Some("what was sealed is not what was appended".to_owned());
                }
            }
            (
                Command::Cancel { origin } | Command::CancelOnce { origin, .. },
                Outcome::Discarded { .. },
            ) => self.sessions.entry(origin.session).or_default().is_over = true,
            (Command::Finish { session }, Outcome::Discarded { .. }) => {
                self.sessions.entry(*session).or_default().is_over = true;
            }
            (Command::Renounce { .. }, Outcome::Unheld { places }) => {
                self.renounced.extend(places.iter().cloned());
            }
            _ => {}
        }
        if let Some(wrong) = wrong {
            self.violated(format_args!("{wrong}"));
        }
    }

    /// It is about to be proposed, for the first time; what may be meant twice is not followed.
    pub(super) fn proposed(&mut self, command: &Command) {
        let is_once = matches!(
            command,
            Command::Append { .. } | Command::Cluster(ClusterCommand::ReplaceSecret { .. })
        );
        if is_once {
            let now = self.now();
            self.proposed.entry(key(command)).or_insert(now);
        }
    }

    /// A proposer was told that this is what came of its command.
    pub(super) fn acknowledged(&mut self, command: &Command, outcome: &Outcome) {
        self.acknowledged += 1;
        let key = match command {
            // It is given its name on the way.
            Command::Cancel { .. } => return,
            other => key(other),
        };
        let known = self.outcomes.get(&key);
        if !known.is_some_and(|outcomes| outcomes.contains(outcome)) {
            self.violated(format_args!(
                "{command:?} was acknowledged with {outcome:?}, and is not in the log"
            ));
        }
    }

    /// What a reader must see at least, of one that asks now.
    pub(super) fn record(&self, id: SessionId) -> Record {
        self.sessions.get(&id).cloned().unwrap_or_default()
    }

    /// A member says that it leads. Who leads is known by term and id; whoever lost its disk has forgotten that it did.
    pub(super) fn leads(&mut self, term: u64, member: u64, disk: Incarnation) {
        if *self.leaders.entry((term, member)).or_insert(disk) != disk {
            self.violated(format_args!("{member} leads twice in term {term}"));
        }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}
