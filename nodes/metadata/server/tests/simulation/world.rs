//! Members, nodes and what happens to them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::links::Store;
use super::member::Member;
use super::net::{Net, Weather};
use super::node::Node;
use super::work::Sessions;
use super::{chance, truth};

const NODES: u64 = 3;

/// What is to happen at some time.
#[derive(Debug, Clone, Copy)]
enum Later {
    StartMember(usize),
    CrashMember(usize),
    StartNode(usize),
    CrashNode(usize),
    Mend,
    Clear,
    Hasten(usize),
    SetRight(usize),
}

pub(super) struct World {
    net: Net,
    pub(super) members: Vec<Member>,
    pub(super) nodes: Vec<Node>,
    pub(super) sessions: Sessions,
    links: Store,
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
        let members: Vec<Member> = (1..=count).map(Member::new).collect();
        let address = |member: &Member| (member.id, member.address.clone());
        let peers: BTreeMap<u64, String> = members.iter().map(address).collect();
        let addresses: Vec<String> = peers.values().cloned().collect();
        let mut world = Self {
            net: Net::new(),
            members,
            nodes: (1..=NODES)
                .map(|n| Node::new(n, addresses.clone()))
                .collect(),
            sessions: Sessions::default(),
            links: Store::default(),
            peers,
            later: Vec::new(),
        };
        for at in 0..world.members.len() {
            world.members[at].start(&world.net, &world.peers).await;
        }
        for node in &mut world.nodes {
            node.start(&world.net, &world.sessions, &world.links);
        }
        truth::look(|truth| truth.clocks_are_right = chance::one_in(2));
        world
    }

    /// What must hold at every moment.
    pub(super) fn check(&self) {
        self.members.iter().for_each(Member::check);
        self.nodes.iter().for_each(Node::check);
    }

    /// What was put off until now.
    pub(super) async fn catch_up(&mut self) {
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
        match chance::within(0..100) {
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
        // As many copies as there were must be there again before another is lost.
        let all_vote = self.members.iter().all(Member::is_voter);
        let loses_disk = self.members.len() > 1 && all_vote && chance::one_in(3);
        self.members[member].crash(loses_disk);
        self.put_off(chance::millis(50..6_000), Later::StartMember(member));
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
        for at in 0..self.members.len() {
            self.members[at].pace.store(4, Ordering::Relaxed);
            self.members[at].skew.store(0, Ordering::Relaxed);
            if self.members[at].is_draining() {
                self.members[at].crash(false);
            }
            self.happens(Later::StartMember(at)).await;
        }
        for at in 0..self.nodes.len() {
            self.nodes[at].pause(Duration::ZERO);
            if self.nodes[at].is_ending() {
                self.nodes[at].crash();
            }
            self.happens(Later::StartNode(at)).await;
        }
    }

    /// Why it is not all as it should be yet, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        if let Some(node) = self.nodes.iter().find(|node| !node.holds()) {
            return Some(format!("{} has no lease", node.name()));
        }
        if let Some(member) = self.members.iter().find(|member| !member.is_voter()) {
            return Some(format!("{} does not vote", member.address));
        }
        None
    }

    /// Whether all members have the same, once nobody asks for anything any more.
    pub(super) fn compare(&self) -> Option<String> {
        let applied: Vec<_> = self.members.iter().map(Member::applied).collect();
        if applied.windows(2).any(|two| two[0] != two[1]) {
            return Some(format!("not all have applied the same: {applied:?}"));
        }
        for member in &self.members {
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
