//! Members, nodes and what happens to them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::links::Store;
use super::member::{BEGINNING, Member};
use super::net::{Net, Weather};
use super::node::Node;
use super::operator::Operator;
use super::work::{Sessions, origin};
use super::{chance, truth};

const NODES: u64 = 3;
/// Members that are of no group yet.
const SPARE: u64 = 2;

/// What is to happen at some time.
#[derive(Debug, Clone, Copy)]
enum Later {
    StartMember(usize),
    CrashMember(usize),
    JoinMember(usize),
    LeaveMember(usize),
    StartNode(usize),
    CrashNode(usize),
    Mend,
    Clear,
    Hasten(usize),
    SetRight(usize),
}

pub(super) struct World {
    pub(super) net: Net,
    pub(super) members: Vec<Member>,
    pub(super) nodes: Vec<Node>,
    pub(super) sessions: Sessions,
    links: Store,
    operator: Operator,
    /// Those that the group begins with.
    peers: BTreeMap<u64, String>,
    later: Vec<(Instant, Later)>,
}

/// A simulation leaves nothing behind in a process that runs thousands.
impl Drop for World {
    fn drop(&mut self) {
        self.net.close();
    }
}

impl World {
    pub(super) async fn begin() -> Self {
        let count = chance::pick(&[1, 3, 3, 3, 3, 3, 3, 5]).unwrap_or(3);
        let mut world = Self::new(count);
        // A registry that was on its own becomes the first member of a cluster.
        if count == 1 {
            world.members[0].import = Some(truth::look(truth::Truth::alone));
            let known = origin(truth::ALONE, BEGINNING);
            world.sessions.begins_with(known);
        }
        world.start_members().await;
        for node in &mut world.nodes {
            node.start(&world.net, &world.sessions, &world.links);
        }
        truth::look(|truth| truth.clocks_are_right = chance::one_in(2));
        world
    }

    /// Members alone, to which nothing happens.
    pub(super) async fn quiet(count: u64) -> Self {
        let mut world = Self::new(count);
        world.start_members().await;
        world
    }

    fn new(count: u64) -> Self {
        let members: Vec<Member> = (1..=count + SPARE).map(Member::new).collect();
        let address = |member: &Member| (member.id, member.address.clone());
        let begin = members.iter().filter(|member| member.id <= count);
        let peers: BTreeMap<u64, String> = begin.map(address).collect();
        let addresses: Vec<String> = peers.values().cloned().collect();
        let net = Net::new();
        Self {
            operator: Operator::new(&net, addresses.clone()),
            net,
            members,
            nodes: (1..=NODES)
                .map(|n| Node::new(n, addresses.clone()))
                .collect(),
            sessions: Sessions::default(),
            links: Store::default(),
            peers,
            later: Vec::new(),
        }
    }

    async fn start_members(&mut self) {
        for at in 0..self.peers.len() {
            self.start(at).await;
        }
    }

    pub(super) async fn start(&mut self, member: usize) {
        self.members[member].start(&self.net, &self.peers).await;
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.peers.values().cloned().collect()
    }

    /// Whoever leads, and in which term.
    pub(super) fn leader(&self) -> Option<(usize, u64)> {
        let leads = |member: &Member| member.term().filter(|_| member.leads());
        let mut terms = self.members.iter().map(leads).enumerate();
        terms.find_map(|(at, term)| Some((at, term?)))
    }

    /// What must hold at every moment.
    pub(super) fn check(&self) {
        self.members.iter().for_each(Member::check);
        self.nodes.iter().for_each(Node::check);
    }

    /// What was put off until now.
    pub(super) async fn catch_up(&mut self) {
        for id in self.operator.let_go().await {
            if let Some(at) = self.members.iter().position(|member| member.id == id) {
                self.put_off(chance::millis(0..3_000), Later::LeaveMember(at));
            }
        }
        let now = Instant::now();
        let due = |(at, _): &(Instant, Later)| *at <= now;
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(due);
        self.later = later;
        for (_, what) in due {
            self.happens(what).await;
        }
    }

    async fn happens(&mut self, what: Later) {
        match what {
            Later::StartMember(at) => {
                if self.members[at].running.is_none() {
                    self.members[at].start(&self.net, &self.peers).await;
                }
            }
            Later::CrashMember(at) => self.members[at].crash(false),
            Later::JoinMember(at) => {
                if self.members[at].running.is_none() {
                    self.members[at].start(&self.net, &self.peers).await;
                }
                let Member { id, address, .. } = &self.members[at];
                self.operator.add(*id, address);
            }
            Later::LeaveMember(at) => {
                let id = self.members[at].id;
                let is_out = truth::look(|truth| !truth.group.disks.contains_key(&id));
                if is_out && !self.operator.is_busy_with(id) {
                    self.members[at].crash(true);
                }
            }
            Later::StartNode(at) => {
                if !self.nodes[at].is_running() {
                    self.nodes[at].start(&self.net, &self.sessions, &self.links);
                }
            }
            Later::CrashNode(at) => self.nodes[at].crash(),
            Later::Mend => {
                truth::event(format_args!("the network is whole"));
                self.net.mend();
            }
            Later::Clear => {
                truth::event(format_args!("the network is calm"));
                self.net.set_weather(Weather::calm());
            }
            Later::Hasten(at) => self.members[at].pace.store(4, Ordering::Relaxed),
            Later::SetRight(at) => self.members[at].skew.store(0, Ordering::Relaxed),
        }
    }

    fn put_off(&mut self, by: Duration, what: Later) {
        self.later.push((Instant::now() + by, what));
    }

    /// Something goes wrong.
    pub(super) fn fault(&mut self) {
        let member = usize::try_from(chance::within(0..self.members.len() as u64)).unwrap_or(0);
        let node = usize::try_from(chance::within(0..NODES)).unwrap_or(0);
        match chance::within(0..115) {
            100.. => self.regroup(member),
            0..18 => self.crash(member),
            18..22 => self.lose_power(),
            22..27 => {
                self.members[member].drain();
                self.put_off(chance::millis(700..3_000), Later::CrashMember(member));
                self.put_off(chance::millis(3_000..6_000), Later::StartMember(member));
            }
            27..50 => self.cut(member),
            50..62 => self.storm(),
            62..70 => self.slow_disk(member),
            70..80 => self.wrong_clock(member),
            80..92 => self.nodes[node].pause(chance::millis(100..20_000)),
            92..96 => {
                self.nodes[node].crash();
                self.put_off(chance::millis(100..4_000), Later::StartNode(node));
            }
            _ => {
                self.nodes[node].end();
                self.put_off(chance::millis(1_000..3_000), Later::CrashNode(node));
                self.put_off(chance::millis(3_000..6_000), Later::StartNode(node));
            }
        }
    }

    fn crash(&mut self, member: usize) {
        let loses_disk = self.can_lose_disk(member) && chance::one_in(3);
        self.members[member].crash(loses_disk);
        self.put_off(chance::millis(50..6_000), Later::StartMember(member));
    }

    /// As many copies as there were must be there again before another is lost, and the others must be enough to take it
    /// in again. One that was to begin alone would do so again.
    fn can_lose_disk(&self, member: usize) -> bool {
        let (voters, is_whole) = truth::look(|truth| {
            let group = &truth.group;
            let is_whole = !group.is_joint && group.disks.len() == group.voters.len();
            (group.voters.clone(), is_whole)
        });
        let votes = |member: &Member| !voters.contains(&member.id) || member.is_voter();
        let is_first_alone = self.peers.len() == 1 && member == 0;
        is_whole
            && voters.len() > 2
            && voters.contains(&self.members[member].id)
            && self.operator.is_idle()
            && self.members.iter().all(votes)
            && !is_first_alone
    }

    /// The operator takes a member in, or lets one go.
    fn regroup(&mut self, member: usize) {
        let id = self.members[member].id;
        if !self.operator.has_time() || self.operator.is_busy_with(id) {
            return;
        }
        let is_of_group = |id: &u64| truth::look(|truth| truth.group.disks.contains_key(id));
        if !is_of_group(&id) {
            self.put_off(Duration::ZERO, Later::JoinMember(member));
            return;
        }
        // Were all of those gone that the group began with, they would begin another if they were started again.
        let others = self.peers.keys().filter(|other| **other != id);
        let is_kept = |other: &u64| is_of_group(other) && !self.operator.is_busy_with(*other);
        if !self.peers.contains_key(&id)
            || (self.peers.len() > 1 && others.copied().all(|id| is_kept(&id)))
        {
            self.operator.remove(id);
        }
    }

    fn lose_power(&mut self) {
        truth::event(format_args!("power is lost"));
        for at in 0..self.members.len() {
            self.members[at].crash(false);
            self.put_off(chance::millis(50..3_000), Later::StartMember(at));
        }
    }

    /// Some cannot reach others, in one direction or both; a node may be left with a leader that nobody follows.
    fn cut(&mut self, member: usize) {
        let mut one = vec![self.members[member].address.clone()];
        let others = self.members.iter().filter(|other| other.address != one[0]);
        let mut others: Vec<String> = others.map(|other| other.address.clone()).collect();
        let nodes = self.nodes.iter().map(|node| node.name().to_owned());
        let (near, far): (Vec<String>, Vec<String>) = nodes.partition(|_| chance::one_in(2));
        if chance::one_in(2) {
            one.extend(near);
            others.extend(far);
        }
        let both = chance::percent(80);
        truth::event(format_args!(
            "cut {one:?} from {others:?}, both ways: {both}"
        ));
        self.net.cut(&one, &others);
        if both {
            self.net.cut(&others, &one);
        }
        self.put_off(chance::millis(300..18_000), Later::Mend);
    }

    fn storm(&mut self) {
        let weather = Weather {
            delay: 1..chance::within(5..400),
            lost: chance::within(0..25),
            held: chance::within(0..15),
            twice: chance::within(0..15),
        };
        truth::event(format_args!("{weather:?}"));
        self.net.set_weather(weather);
        self.put_off(chance::millis(500..8_000), Later::Clear);
    }

    /// Each call takes longer from now on, each answer, and each sync.
    pub(super) fn slow_down(&mut self) {
        self.net.set_weather(Weather {
            delay: 50..80,
            ..Weather::calm()
        });
        for member in &self.members {
            member.pace.store(60, Ordering::Relaxed);
        }
    }

    /// Whoever leads crashes, and comes back.
    pub(super) async fn lose_leader(&mut self) {
        let leads = |member: &Member| member.leads();
        if let Some(at) = self.members.iter().position(leads) {
            self.members[at].crash(false);
            self.happens(Later::StartMember(at)).await;
        }
    }

    fn slow_disk(&mut self, member: usize) {
        let most = chance::pick(&[50, 300, 2_000]).unwrap_or(50);
        truth::event(format_args!("a write at {member} takes up to {most} ms"));
        self.members[member].pace.store(most, Ordering::Relaxed);
        self.put_off(chance::millis(500..5_000), Later::Hasten(member));
    }

    fn wrong_clock(&mut self, member: usize) {
        if truth::look(|truth| truth.clocks_are_right) {
            return;
        }
        let most = chance::pick(&[2_000, 60_000, 7_500_000]).unwrap_or(0);
        let ahead = i64::try_from(chance::within(0..most)).unwrap_or(0);
        let skew = if chance::one_in(2) { ahead } else { -ahead };
        truth::event(format_args!("the clock of {member} is wrong by {skew} ms"));
        self.members[member].skew.store(skew, Ordering::Relaxed);
        self.put_off(chance::millis(500..10_000), Later::SetRight(member));
    }

    /// All is well again.
    pub(super) async fn heal(&mut self) {
        truth::event(format_args!("healed"));
        self.net.mend();
        self.net.set_weather(Weather::calm());
        self.later.clear();
        self.operator.end();
        for at in 0..self.members.len() {
            self.members[at].pace.store(4, Ordering::Relaxed);
            self.members[at].skew.store(0, Ordering::Relaxed);
            if self.members[at].is_draining() {
                self.members[at].crash(false);
            }
        }
        self.tend().await;
        for at in 0..self.nodes.len() {
            self.nodes[at].pause(Duration::ZERO);
            if self.nodes[at].is_ending() {
                self.nodes[at].crash();
            }
            self.happens(Later::StartNode(at)).await;
        }
    }

    /// Whoever is of the group is started.
    pub(super) async fn tend(&mut self) {
        for at in self.of_group() {
            self.happens(Later::StartMember(at)).await;
        }
    }

    fn of_group(&self) -> Vec<usize> {
        let is_of_group =
            |at: &usize| truth::look(|truth| truth.group.disks.contains_key(&self.members[*at].id));
        (0..self.members.len()).filter(is_of_group).collect()
    }

    /// Why it is not all as it should be yet, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        if let Some(node) = self.nodes.iter().find(|node| !node.holds()) {
            return Some(format!("{} has no lease", node.name()));
        }
        let mut group = self.of_group().into_iter().map(|at| &self.members[at]);
        if let Some(member) = group.find(|member| !member.is_voter()) {
            return Some(format!("{} does not vote", member.address));
        }
        None
    }

    /// Whether all members have the same, once nobody asks for anything any more.
    pub(super) fn compare(&self) -> Option<String> {
        let group = self.of_group();
        let applied: Vec<_> = group.iter().map(|at| self.members[*at].applied()).collect();
        if applied.windows(2).any(|two| two[0] != two[1]) {
            return Some(format!("not all have applied the same: {applied:?}"));
        }
        for member in group.into_iter().map(|at| &self.members[at]) {
            if let (Some(running), Some(index)) = (&member.running, member.applied()) {
                let store = &running.participant.store;
                store.look(|machine| truth::look(|truth| truth.compare(index, machine)));
            }
        }
        None
    }

    /// Lets every node say goodbye.
    pub(super) fn end(&self) {
        self.nodes.iter().for_each(Node::end);
    }

    pub(super) fn all_ended(&self) -> bool {
        self.nodes.iter().all(Node::has_ended)
    }
}
