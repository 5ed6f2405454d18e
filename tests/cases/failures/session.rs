//! One upload at random: from node to node, in chunks that race and chunks that break off.
//!
//! What a session knows of its upload is a prefix of its bytes that was acknowledged. At any time the cluster may know a
//! longer one, if a chunk was not answered; never a shorter one, and never other bytes.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use roadstead_oci::Digest;
use roadstead_tests::image::noise;
use roadstead_tests::{Answer, Client, Repository};
use tokio::time::Instant;

use super::asking::{Failure, judge};
use super::dice::Dice;
use super::fleet::{DEADLINE, NODES};
use super::upload::{path_of, reached};

/// Between two looks at a node that did not answer.
const PAUSE: Duration = Duration::from_millis(50);

/// A session is one choice of what is sent where.
pub(super) struct Session<'a> {
    nodes: &'a [Client],
    addrs: &'a [SocketAddr],
    dice: Dice,
    /// Where it goes on.
    location: String,
    /// Acknowledged, or found to be taken.
    taken: Vec<u8>,
    /// Chunks that were sent from here and not answered, each as long as no other.
    unanswered: Vec<Vec<u8>>,
}

/// What came of a session.
#[derive(Debug, Default)]
pub(super) struct Sums {
    closed: AtomicU64,
    cancelled: AtomicU64,
    lost_races: AtomicU64,
    broken: AtomicU64,
}

impl<'a> Session<'a> {
    pub(super) fn new(nodes: &'a [Client], addrs: &'a [SocketAddr], seed: u64) -> Self {
        Self {
            nodes,
            addrs,
            dice: Dice::new(seed.wrapping_mul(0x9e37_79b9)),
            location: String::new(),
            taken: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// Any node, as a dumb balancer would pick.
    fn node(&mut self) -> &'a Client {
        &self.nodes[self.dice.size(0, NODES)]
    }

    fn repository(&mut self) -> Repository {
        self.node().repository("random")
    }

    /// Asks until somebody answers something else than that it cannot now.
    fn until_answered(
        &mut self,
        what: &str,
        sums: &Sums,
        ask: impl Fn(&Repository) -> Option<Answer>,
    ) -> Result<Answer, String> {
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            let answer = ask(&self.repository());
            match (judge(answer.as_ref()), answer) {
                (None, Some(answer)) => return Ok(answer),
                (Some(Failure::Wrong), Some(answer)) => {
                    return Err(format!("{what}: {} {}", answer.status, answer.text()));
                }
                _try_again => {
                    sums.broken.fetch_add(1, Ordering::Relaxed);
                    pause(PAUSE);
                }
            }
        }
        Err(format!("{what}: nobody answers"))
    }

    fn open(&mut self, sums: &Sums) -> Result<(), String> {
        let opened = self.until_answered("POST", sums, |at| {
            at.client()
                .call("POST", &at.path("blobs/uploads/"))
                .try_send()
        })?;
        expect(&opened, 202)?;
        self.location = path_of(opened.location());
        Ok(())
    }

    /// Where the cluster says the upload stands: what of that was sent is what was taken.
    fn stands_at(&mut self, answer: &Answer) -> Result<(), String> {
        let reached = reached(answer);
        self.location = path_of(answer.location());
        let Some(more) = reached.checked_sub(self.taken.len()) else {
            let was = self.taken.len();
            return Err(format!(
                "U1: it stands at {reached} after {was} was acknowledged"
            ));
        };
        if more > 0 {
            let found = self.unanswered.iter().find(|chunk| chunk.len() == more);
            let Some(chunk) = found.cloned() else {
                return Err(format!(
                    "U2: {more} bytes more than acknowledged, which nobody sent"
                ));
            };
            self.taken.extend(chunk);
            // All the others began where nothing can be taken any more.
            self.unanswered.clear();
        }
        Ok(())
    }

    /// Without the state, which is not needed to ask.
    fn path(&self) -> String {
        let path = self.location.split('?').next();
        path.unwrap_or_default().to_owned()
    }

    fn ask_where(&mut self, sums: &Sums) -> Result<(), String> {
        let path = self.path();
        let status =
            self.until_answered("GET", sums, |at| at.client().call("GET", &path).try_send())?;
        expect(&status, 204)?;
        self.stands_at(&status)
    }

    /// Bytes that no other chunk of this session has as many of.
    fn chunk(&mut self) -> Vec<u8> {
        let seed = self.dice.next();
        let least = 1_000 + 40_000 * self.unanswered.len();
        noise(seed, self.dice.size(least, least + 39_000))
    }

    /// One chunk, to any node.
    fn append(&mut self, sums: &Sums) -> Result<(), String> {
        let chunk = self.chunk();
        let sent = patch(&self.repository(), &self.location, &chunk);
        self.heard(sent.as_ref(), chunk, sums)
    }

    /// What a chunk's answer says of it.
    fn heard(
        &mut self,
        answer: Option<&Answer>,
        chunk: Vec<u8>,
        sums: &Sums,
    ) -> Result<(), String> {
        if judge(answer).is_some() {
            if let Some(answer) = answer.filter(|answer| answer.status != 503) {
                return Err(format!("PATCH: {} {}", answer.status, answer.text()));
            }
            sums.broken.fetch_add(1, Ordering::Relaxed);
            self.unanswered.push(chunk);
            return self.ask_where(sums);
        }
        let answer = answer.ok_or("judged to be there")?;
        match answer.status {
            202 if reached(answer) == self.taken.len() + chunk.len() => {
                self.taken.extend(chunk);
                self.unanswered.clear();
                self.location = path_of(answer.location());
                Ok(())
            }
            // A chunk from before was taken after all.
            416 if !self.unanswered.is_empty() => self.stands_at(answer),
            status => Err(format!(
                "PATCH at {} of {}: {status} {:?} {}",
                self.taken.len(),
                chunk.len(),
                answer.header("range"),
                answer.text()
            )),
        }
    }

    /// Two chunks for the same place, at two nodes at once.
    fn race(&mut self, sums: &Sums) -> Result<(), String> {
        let one = self.chunk();
        self.unanswered.push(one.clone());
        let two = self.chunk();
        self.unanswered.push(two.clone());
        let (at, there) = (self.repository(), self.repository());
        let location = self.location.clone();
        let answers = std::thread::scope(|scope| {
            let first = scope.spawn(|| patch(&at, &location, &one));
            let second = patch(&there, &location, &two);
            [first.join().expect("no panic"), second]
        });
        let won =
            |answer: &&Option<Answer>| answer.as_ref().is_some_and(|answer| answer.status == 202);
        if answers.iter().filter(won).count() == 2 {
            return Err("U2: both of two chunks for one place were taken".to_owned());
        }
        for answer in answers.iter().flatten() {
            match answer.status {
                202 | 503 => {}
                416 => {
                    sums.lost_races.fetch_add(1, Ordering::Relaxed);
                }
                status => return Err(format!("PATCH in a race: {status} {}", answer.text())),
            }
        }
        self.ask_where(sums)?;
        if answers.iter().any(|answer| won(&answer)) && !self.unanswered.is_empty() {
            return Err("U1: a chunk was acknowledged, and is not there".to_owned());
        }
        Ok(())
    }

    /// A chunk whose connection breaks in the middle: any part of it may be taken, at any time. The client sends it again,
    /// to another node, until it knows how much is.
    fn break_off(&mut self, sums: &Sums) -> Result<(), String> {
        if !self.unanswered.is_empty() {
            return self.append(sums);
        }
        let chunk = self.chunk();
        let half = self.dice.size(1, chunk.len());
        let addr = self.addrs[self.dice.size(0, NODES)];
        let head = format!(
            "PATCH {} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
            self.location,
            chunk.len()
        );
        let sent = TcpStream::connect(addr).and_then(|mut stream| {
            stream.write_all(head.as_bytes())?;
            stream.write_all(&chunk[..half])
        });
        if sent.is_err() {
            sums.broken.fetch_add(1, Ordering::Relaxed);
        }
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            let answer = patch(&self.repository(), &self.location, &chunk);
            let told = match (judge(answer.as_ref()), answer) {
                (None, Some(answer)) => answer,
                _unanswered => {
                    sums.broken.fetch_add(1, Ordering::Relaxed);
                    let path = self.path();
                    let get = |at: &Repository| at.client().call("GET", &path).try_send();
                    self.until_answered("GET", sums, get)?
                }
            };
            let more = reached(&told).checked_sub(self.taken.len());
            match (told.status, more) {
                (202, Some(more)) if more == chunk.len() => {}
                (416, Some(more)) if (1..=chunk.len()).contains(&more) => {}
                (204, Some(more)) if more <= chunk.len() => {}
                (status, _) => {
                    let (was, now) = (self.taken.len(), reached(&told));
                    return Err(format!("a chunk broken off: {status}, from {was} to {now}"));
                }
            }
            self.location = path_of(told.location());
            if let Some(more) = more.filter(|more| *more > 0) {
                self.taken.extend_from_slice(&chunk[..more]);
                return Ok(());
            }
        }
        Err("nobody takes a chunk that was broken off".to_owned())
    }

    /// The end: closed with a last chunk at any node, again and again until it is acknowledged; or cancelled.
    fn close(&mut self, sums: &Sums) -> Result<Option<Digest>, String> {
        if self.dice.below(10) == 0 {
            let location = self.location.clone();
            let ended = self.until_answered("DELETE", sums, |at| {
                at.client().call("DELETE", &location).try_send()
            })?;
            sums.cancelled.fetch_add(1, Ordering::Relaxed);
            // Cancelled by the try before, of which nothing was heard.
            return if matches!(ended.status, 204 | 404) {
                Ok(None)
            } else {
                Err(format!("DELETE: {} {}", ended.status, ended.text()))
            };
        }
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            let tail = if self.dice.below(2) == 0 {
                self.chunk()
            } else {
                Vec::new()
            };
            let whole = [self.taken.clone(), tail.clone()].concat();
            let digest = super::digest(&whole);
            let location = format!("{}&digest={digest}", self.location);
            let closed = self.until_answered("PUT", sums, |at| {
                let call = at.client().call("PUT", &location);
                call.header("content-type", "application/octet-stream")
                    .body(tail.clone())
                    .try_send()
            })?;
            match closed.status {
                201 => {
                    self.taken = whole;
                    sums.closed.fetch_add(1, Ordering::Relaxed);
                    return Ok(Some(digest));
                }
                // A chunk from before was taken after all.
                416 if !self.unanswered.is_empty() => self.stands_at(&closed)?,
                status => return Err(format!("PUT: {status} {}", closed.text())),
            }
        }
        Err("it is not closed".to_owned())
    }

    /// From its beginning to its end.
    pub(super) fn run(mut self, sums: &Sums) -> Result<Option<(Digest, Vec<u8>)>, String> {
        self.open(sums)?;
        for _step in 0..self.dice.size(1, 5) {
            match self.dice.below(6) {
                0 | 1 => self.race(sums)?,
                2 => self.break_off(sums)?,
                _most => self.append(sums)?,
            }
        }
        let digest = self.close(sums)?;
        Ok(digest.map(|digest| (digest, self.taken)))
    }
}

fn expect(answer: &Answer, status: u16) -> Result<(), String> {
    if answer.status == status {
        return Ok(());
    }
    let request = &answer.request;
    Err(format!("{request}: {} {}", answer.status, answer.text()))
}

fn patch(at: &Repository, location: &str, chunk: &[u8]) -> Option<Answer> {
    at.client()
        .call("PATCH", location)
        .header("content-type", "application/octet-stream")
        .body(chunk)
        .try_send()
}

/// A client's own time.
pub(crate) fn pause(time: Duration) {
    let never = Condvar::new();
    let held = Mutex::new(());
    let held = held.lock().unwrap_or_else(PoisonError::into_inner);
    drop(never.wait_timeout(held, time));
}
