//! Members, nodes and what happens to them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::member::{Member, address};
use super::net::{Net, Weather};
use super::node::Node;
use super::operator::{Operator, Order};
use super::work::Sessions;
use super::{chance, truth, work};

const NODES: u64 = 3;

/// Members in one history, those included that were removed.
const MEMBERS_EVER: usize = 8;

/// What is to happen at some time.
#[derive(Debug, Clone, Copy)]
enum Later {
    StartMember(usize),
    StopMember(usize),
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
    operator: Operator,
    later: Vec<(Instant, Later)>,
    /// Nothing goes wrong any more.
    is_healed: bool,
}

impl World {
    pub(super) async fn begin() -> Self {
        let count = chance::pick(&[1, 3, 3, 3, 3, 3, 3, 5]).unwrap_or(3);
        let peers: BTreeMap<u64, String> = (1..=count).map(|id| (id, address(id))).collect();
        let (import, session) = chance::one_in(4).then(work::import).unzip();
        let mut world = Self {
            net: Net::new(),
            members: (1..=count)
                .map(|id| Member::new(id, peers.clone(), import.clone()))
                .collect(),
            nodes: (1..=NODES).map(Node::new).collect(),
            sessions: Sessions::default(),
            operator: Operator::default(),
            later: Vec::new(),
            is_healed: false,
        };
        for member in &mut world.members {
            member.start(&world.net).await;
        }
        // Who begins with a state has its nodes come later.
        let pause = session.as_ref().map_or(0, |_| chance::within(0..4_000));
        for at in 0..world.nodes.len() {
            world.put_off(Duration::from_millis(pause), Later::StartNode(at));
        }
        if let Some(session) = session {
            world.sessions.begin_with(session);
        }
        world.operator.start(&world.net);
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
        for id in self.operator.removed() {
            if let Some(at) = self.member(id) {
                self.members[at].is_gone = true;
                self.put_off(chance::millis(0..3_000), Later::StopMember(at));
            }
        }
        for id in self.operator.spoilt() {
            if let Some(at) = self.member(id) {
                self.members[at].crash(true);
                self.put_off(chance::millis(0..1_000), Later::StartMember(at));
            }
        }
        self.put_right();
    }

    fn member(&self, id: u64) -> Option<usize> {
        self.members.iter().position(|member| member.id == id)
    }

    /// One that lost its disk comes back by itself only where the others are configured with it.
    fn put_right(&self) {
        if self.is_healed && self.operator.is_idle() {
            let out = self.members.iter();
            let out = out.filter(|member| !member.is_gone && !member.is_voter());
            let orders = out.map(|member| Order::Add(member.id));
            self.operator.order(orders.take(1), self.addresses());
        }
    }

    fn addresses(&self) -> Vec<String> {
        let here = self.members.iter().filter(|member| !member.is_gone);
        here.map(|member| member.address.clone()).collect()
    }

    async fn happens(&mut self, what: Later) {
        match what {
            Later::StartMember(at) => {
                if self.members[at].running.is_none() && !self.members[at].is_gone {
                    self.members[at].start(&self.net).await;
                }
            }
            Later::StopMember(at) | Later::CrashMember(at) => self.members[at].crash(false),
            Later::StartNode(at) => {
                if !self.nodes[at].is_running() {
                    let members = self.addresses();
                    self.nodes[at].start(&self.net, &self.sessions, members);
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
            0..14 => self.crash(member),
            14..18 => self.lose_power(),
            18..22 => {
                self.members[member].drain();
                self.put_off(chance::millis(700..3_000), Later::CrashMember(member));
                self.put_off(chance::millis(3_000..6_000), Later::StartMember(member));
            }
            22..42 => self.cut(member),
            42..52 => self.storm(),
            52..58 => self.slow_disk(member),
            58..66 => self.wrong_clock(member),
            66..74 => self.members[member].pause(chance::millis(100..14_000)),
            74..82 => self.nodes[node].pause(chance::millis(100..20_000)),
            82..89 => {
                self.nodes[node].crash();
                // The next may come while proposals of this one are still on their way.
                let most = chance::pick(&[50, 4_000]).unwrap_or(50);
                self.put_off(chance::millis(0..most), Later::StartNode(node));
            }
            89..92 => {
                self.nodes[node].end();
                self.put_off(chance::millis(1_000..3_000), Later::CrashNode(node));
                self.put_off(chance::millis(3_000..6_000), Later::StartNode(node));
            }
            _ => self.replace(member),
        }
    }

    /// Another member comes, and then this one goes; or it comes in addition, or this one is not replaced.
    fn replace(&mut self, member: usize) {
        let here = self.members.iter().filter(|member| !member.is_gone);
        let (count, all_vote) = here.fold((0, true), |(count, all), member| {
            (count + 1, all && member.is_voter())
        });
        let at = self.members.len();
        let is_there = !self.members[member].is_gone;
        if !all_vote || !is_there || !self.operator.is_idle() || at >= MEMBERS_EVER {
            return;
        }
        let (comes, goes) = match chance::within(0..4) {
            0 if count < 5 => (true, false),
            1 if count > 3 => (false, true),
            _ => (true, true),
        };
        let id = at as u64 + 1;
        let mut orders = Vec::new();
        if comes {
            let peers = self.members.iter().filter(|member| !member.is_gone);
            let peers = peers.map(|member| (member.id, member.address.clone()));
            self.members.push(Member::new(id, peers.collect(), None));
            self.put_off(Duration::ZERO, Later::StartMember(at));
            orders.push(Order::Add(id));
        }
        if goes {
            orders.push(Order::Remove(self.members[member].id));
        }
        truth::event(format_args!("the operator is told {orders:?}"));
        self.operator.order(orders, self.addresses());
    }

    fn crash(&mut self, member: usize) {
        // As many copies as there were must be there again before another is lost.
        let here = || self.members.iter().filter(|member| !member.is_gone);
        let is_whole = here().all(Member::is_voter) && self.operator.is_idle();
        // Two bear no loss; and one that is configured with itself alone would begin a group of its own.
        let bears = here().count() > 2 && self.members[member].knows_others();
        let loses_disk = bears && is_whole && chance::one_in(3);
        self.members[member].crash(loses_disk);
        // Some are back before anybody has noticed.
        let most = chance::pick(&[40, 6_000, 6_000]).unwrap_or(40);
        self.put_off(chance::millis(0..most), Later::StartMember(member));
    }

    fn lose_power(&mut self) {
        truth::event(format_args!("power is lost"));
        for at in 0..self.members.len() {
            self.members[at].crash(false);
            let most = chance::pick(&[40, 3_000]).unwrap_or(40);
            self.put_off(chance::millis(0..most), Later::StartMember(at));
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
        self.is_healed = true;
        let stops = |(_, what): &(Instant, Later)| matches!(what, Later::StopMember(_));
        self.later.retain(stops);
        for at in 0..self.members.len() {
            self.members[at].pause(Duration::ZERO);
            self.members[at].pace.store(4, Ordering::Relaxed);
            self.members[at].skew.store(0, Ordering::Relaxed);
            if self.members[at].is_draining() {
                self.members[at].crash(false);
            }
            self.happens(Later::StartMember(at)).await;
        }
        for at in 0..self.nodes.len() {
            self.nodes[at].pause(Duration::ZERO);
            // One that was cut off while all that it knew were replaced has to be told.
            let here = self.addresses();
            if self.nodes[at].is_ending() || !self.nodes[at].knows_any(&here) {
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
        let mut here = self.members.iter().filter(|member| !member.is_gone);
        if let Some(member) = here.find(|member| !member.is_voter()) {
            return Some(format!("{} does not vote", member.address));
        }
        let is_idle = self.operator.is_idle() && self.later.is_empty();
        (!is_idle).then(|| "the operator is at work".to_owned())
    }

    /// Whether all members have the same, once nobody asks for anything any more.
    pub(super) fn compare(&self) -> Option<String> {
        let here = self.members.iter().filter(|member| !member.is_gone);
        let applied: Vec<_> = here.map(Member::applied).collect();
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
