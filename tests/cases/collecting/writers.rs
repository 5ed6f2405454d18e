//! Clients that push what others push, mount it, look whether it exists, tag, untag, delete and pull, as long as they are
//! let, and note what must not be.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use roadstead_tests::{Answer, Client, Content, Document, Family, Image};
use tokio::time::Instant;

use crate::failures::dice::Dice;

/// Images whose layers and configurations all writers push.
const IMAGES: u64 = 5;

/// Seeds from here on are for what one writer pushes once.
const OWN: u64 = 1000;

/// A node that does not answer in this time is given up for another.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How long one thing is tried at all: a lease ends, and a run, in less. Where others keep the disk busy for minutes, no
/// metadata service decides anything meanwhile.
const TRIED_FOR: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub(super) struct Shared {
    clients: Mutex<Vec<Client>>,
    turn: AtomicUsize,
    stop: AtomicBool,
    /// For which a promise is good.
    window: Duration,
    wrongs: Mutex<Vec<String>>,
    kept: Mutex<Vec<(String, String, Content)>>,
    counts: Counts,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Requests that were answered.
    pub(super) operations: AtomicUsize,
    /// That broke, or were told to come back, and were asked again.
    pub(super) again: AtomicUsize,
    /// Images and indexes that were acknowledged.
    pub(super) pushed: AtomicUsize,
    pub(super) mounted: AtomicUsize,
    /// Told to exist, and not sent.
    pub(super) found: AtomicUsize,
    pub(super) retagged: AtomicUsize,
    pub(super) deleted: AtomicUsize,
    /// Refused, since what was promised longer ago than the window was gone.
    pub(super) late: AtomicUsize,
}

fn count(of: &AtomicUsize) {
    of.fetch_add(1, Ordering::Relaxed);
}

pub(super) struct Writers {
    pub(super) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writers {
    /// So many, of which each has a repository of its own.
    pub(super) fn start(nodes: &[String], writers: u64, window: Duration, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            clients: Mutex::default(),
            turn: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            window,
            wrongs: Mutex::default(),
            kept: Mutex::default(),
            counts: Counts::default(),
        });
        shared.serve_at(nodes);
        let threads = (0..writers).map(|number| {
            let shared = Arc::clone(&shared);
            let mut writer = Writer {
                shared,
                dice: Dice::new(seed + number),
                number,
                writers,
                round: 0,
            };
            std::thread::spawn(move || writer.work())
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Ends them. What was acknowledged and not deleted, by repository and tag; the sentence of what was wrong.
    pub(super) fn stop(self) -> Vec<(String, String, Content)> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a writer ends");
        }
        let wrongs = lock(&self.shared.wrongs);
        assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
        drop(wrongs);
        std::mem::take(&mut lock(&self.shared.kept))
    }
}

impl Shared {
    /// Where the nodes are now.
    pub(super) fn serve_at(&self, nodes: &[String]) {
        let clients = nodes.iter();
        let clients = clients.map(|url| Client::with_patience(url, PATIENCE));
        *lock(&self.clients) = clients.collect();
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn operations(&self) -> usize {
        self.counts.operations.load(Ordering::Relaxed)
    }

    pub(super) fn is_well(&self) -> bool {
        lock(&self.wrongs).is_empty()
    }

    fn wrong(&self, words: String) {
        lock(&self.wrongs).push(words);
        self.stop.store(true, Ordering::Relaxed);
    }

    fn client(&self) -> Client {
        let clients = lock(&self.clients);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        clients[turn % clients.len()].clone()
    }

    /// Asks a node, and others while that breaks or is told to come back. With when that was asked which was answered.
    fn ask(&self, method: &str, path: &str, content: Option<&Document>) -> (Answer, Instant) {
        let deadline = Instant::now() + TRIED_FOR;
        loop {
            let asked = Instant::now();
            let mut call = self.client().call(method, path);
            if let Some(content) = content {
                call = call.header("content-type", &content.media_type);
                call = call.body(content.bytes.as_slice());
            }
            match call.try_send() {
                Some(answer) if answer.status < 500 => {
                    count(&self.counts.operations);
                    return (answer, asked);
                }
                broken => {
                    count(&self.counts.again);
                    let said = broken.map(|answer| answer.text());
                    assert!(asked < deadline, "{method} {path}: {said:?} at last");
                    std::thread::park_timeout(AGAIN_AFTER);
                }
            }
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    dice: Dice,
    number: u64,
    /// How many there are.
    writers: u64,
    round: u64,
}

impl Writer {
    fn work(&mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.round += 1;
            let content = self.content();
            let mut tag = format!("t{}", self.round);
            if !self.push(&tag, &content) {
                continue;
            }
            count(&self.shared.counts.pushed);
            self.pull(&tag, &content);
            if self.dice.below(4) == 0 {
                tag = self.retag(&tag, &content);
                self.pull(&tag, &content);
            }
            match self.dice.below(4) {
                0 => {
                    let kept = (self.repository(), tag, content);
                    lock(&self.shared.kept).push(kept);
                }
                1 => self.delete(&content.root().digest.to_string()),
                _ => self.delete(&tag),
            }
        }
    }

    fn repository(&self) -> String {
        format!("gc/{}", self.number)
    }

    /// An image whose blobs others push as well, or an index over two.
    fn content(&mut self) -> Content {
        let made = format!("{}-{}", self.number, self.round);
        let image = |seed| {
            let image = Image::new(seed).layer_size(4 << 10);
            image.annotation("made", &made).build()
        };
        let (mut one, other) = (self.dice.below(IMAGES), self.dice.below(IMAGES));
        if self.dice.below(4) == 0 {
            one = OWN + self.round * self.writers + self.number;
        }
        if self.dice.below(4) == 0 {
            Content::index(Family::Oci, &[image(one), image(other + IMAGES)])
        } else {
            image(one)
        }
    }

    /// Whether it was acknowledged.
    fn push(&mut self, tag: &str, content: &Content) -> bool {
        let mut promised: Option<Instant> = None;
        let mut note = |at: Instant| promised = Some(promised.map_or(at, |first| first.min(at)));
        for blob in content.blobs() {
            note(self.bring(blob));
        }
        let (root, children) = content.root_and_children();
        for (manifest, reference) in children
            .iter()
            .map(|child| (child, child.digest.to_string()))
            .chain([(root, tag.to_owned())])
        {
            let path = format!("/v2/{}/manifests/{reference}", self.repository());
            let (answer, asked) = self.shared.ask("PUT", &path, Some(manifest));
            if answer.status == 201 {
                note(asked);
                continue;
            }
            // What was promised longer ago than the window may be gone.
            let is_late = promised.is_some_and(|first| first.elapsed() > self.shared.window);
            if is_late {
                count(&self.shared.counts.late);
            }
            if !is_late || answer.status != 404 && answer.status != 400 {
                let said = answer.text();
                self.shared
                    .wrong(format!("{path}: {} {said}", answer.status));
            }
            return false;
        }
        true
    }

    /// Makes the blob be in the repository: it is there, or somewhere else, or is sent. When that was asked for.
    fn bring(&mut self, blob: &Document) -> Instant {
        let (name, digest) = (self.repository(), &blob.digest);
        if self.dice.below(3) > 0 {
            let path = format!("/v2/{name}/blobs/{digest}");
            let (answer, asked) = self.shared.ask("HEAD", &path, None);
            if answer.status == 200 {
                count(&self.shared.counts.found);
                return asked;
            }
        }
        let from = self.dice.below(self.writers);
        let path = format!("/v2/{name}/blobs/uploads/?mount={digest}&from=gc/{from}");
        let (answer, asked) = self.shared.ask("POST", &path, None);
        if answer.status == 201 {
            count(&self.shared.counts.mounted);
            return asked;
        }
        // In one request, so that another node can be asked again.
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let (answer, asked) = self.shared.ask("POST", &path, Some(blob));
        if answer.status != 201 {
            let said = answer.text();
            self.shared
                .wrong(format!("{path}: {} {said}", answer.status));
        }
        asked
    }

    /// G1: what was acknowledged is there, whole.
    fn pull(&self, tag: &str, content: &Content) {
        let name = self.repository();
        let root = content.root();
        self.is_served(&format!("/v2/{name}/manifests/{tag}"), root);
        for manifest in content.manifests() {
            let path = format!("/v2/{name}/manifests/{}", manifest.digest);
            self.is_served(&path, manifest);
        }
        for blob in content.blobs() {
            self.is_served(&format!("/v2/{name}/blobs/{}", blob.digest), blob);
        }
    }

    fn is_served(&self, path: &str, expected: &Document) {
        let (answer, _) = self.shared.ask("GET", path, None);
        if answer.status != 200 || answer.body != expected.bytes {
            self.shared
                .wrong(format!("{path}: acknowledged, and now {}", answer.status));
        }
    }

    /// What is tagged is there, so that another tag of it is taken whatever is collected. Answers with that.
    fn retag(&self, tag: &str, content: &Content) -> String {
        let other = format!("{tag}-again");
        let path = format!("/v2/{}/manifests/{other}", self.repository());
        let (answer, _) = self.shared.ask("PUT", &path, Some(content.root()));
        if answer.status != 201 {
            let said = answer.text();
            self.shared
                .wrong(format!("{path}: tagged, and now {} {said}", answer.status));
        }
        count(&self.shared.counts.retagged);
        self.delete(tag);
        other
    }

    fn delete(&self, reference: &str) {
        count(&self.shared.counts.deleted);
        let path = format!("/v2/{}/manifests/{reference}", self.repository());
        let (answer, _) = self.shared.ask("DELETE", &path, None);
        // Asked again after an answer was lost, it is gone already.
        if answer.status != 202 && answer.status != 404 {
            self.shared
                .wrong(format!("DELETE {path}: {}", answer.status));
        }
    }
}
