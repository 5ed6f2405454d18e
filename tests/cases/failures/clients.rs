//! A steady load: clients that push images in chunks and at once, mount, move tags, delete, and pull, through nginx.
//!
//! Whatever fails in a way that a client tries again after is tried again; the rest is noted as wrong.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use roadstead_oci::Digest;
use roadstead_tests::client::Call;
use roadstead_tests::image::noise;
use roadstead_tests::{Answer, Client, Content, Image, Repository};
use tokio::time::Instant;

use super::asking::{Kind, Record};
use super::dice::Dice;
use super::history::Outcome;
use super::upload::{Upload, push};

const WRITERS: u64 = 3;
const READERS: u64 = 3;

/// Images that a tag is moved between.
const KEPT: usize = 3;

/// Bytes of a layer that goes in chunks.
const LARGE: usize = 240_000;

/// What must be there at the end: acknowledged, and never deleted.
#[derive(Debug, Default)]
struct Kept {
    blobs: BTreeSet<(String, String)>,
    manifests: BTreeSet<(String, String)>,
}

/// Clients at work.
pub(super) struct Load {
    pub(super) record: Arc<Record>,
    kept: Arc<Mutex<Kept>>,
    threads: Vec<JoinHandle<()>>,
}

/// One client, with what it shares with the others.
struct Worker {
    record: Arc<Record>,
    kept: Arc<Mutex<Kept>>,
    client: Client,
    dice: Dice,
    number: u64,
}

impl Load {
    pub(super) fn start(client: &Client, seed: u64) -> Self {
        let record = Arc::new(Record::default());
        let kept = Arc::default();
        let worker = |number| Worker {
            record: Arc::clone(&record),
            kept: Arc::clone(&kept),
            client: client.clone(),
            dice: Dice::new(seed + number),
            number,
        };
        let mut threads = Vec::new();
        for number in 0..WRITERS {
            let mut worker = worker(number);
            threads.push(std::thread::spawn(move || worker.write()));
        }
        for number in WRITERS..WRITERS + READERS {
            let mut worker = worker(number);
            threads.push(std::thread::spawn(move || worker.pull()));
        }
        Self {
            record,
            kept,
            threads,
        }
    }

    /// Ends the clients, each after what it is at.
    pub(super) fn stop(&mut self) {
        self.record.stop();
        for thread in self.threads.drain(..) {
            thread.join().expect("a client ends");
        }
    }

    /// Asks every node for all that was acknowledged, and each tag: it is the same everywhere.
    pub(super) fn check_at(&self, nodes: &[Client]) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        super::say(&format!(
            "{} blobs and {} manifests are asked of each node",
            kept.blobs.len(),
            kept.manifests.len()
        ));
        std::thread::scope(|scope| {
            for (n, node) in nodes.iter().enumerate() {
                let kept = &kept;
                scope.spawn(move || {
                    for (name, digest) in &kept.blobs {
                        self.is_whole(node, &format!("/v2/{name}/blobs/{digest}"), digest, n);
                    }
                    for (name, digest) in &kept.manifests {
                        self.is_whole(node, &format!("/v2/{name}/manifests/{digest}"), digest, n);
                    }
                });
            }
        });
        for register in self.record.registers() {
            let mut found = BTreeSet::new();
            for node in nodes {
                let began = Instant::now();
                let value = look(node, &register);
                self.record.read(&register, value.clone(), began);
                found.insert(value);
            }
            assert_eq!(found.len(), 1, "nodes say of {register}: {found:?}");
        }
    }

    fn is_whole(&self, node: &Client, path: &str, digest: &str, n: usize) {
        let answer = node.get(path);
        let digest: Digest = digest.parse().expect("a digest");
        if answer.status != 200 || super::digest(&answer.body) != digest {
            let status = answer.status;
            self.record
                .wrong(format!("node {n} has not {path} any more: {status}"));
        }
    }
}

/// What a node says of a tag, or of a blob that comes and goes.
fn look(node: &Client, register: &str) -> Option<String> {
    let answer = node
        .call("GET", register)
        .header("accept", "application/vnd.oci.image.manifest.v1+json")
        .send();
    match answer.status {
        404 => None,
        _found => Some(super::digest(&answer.expect_status(200).body).to_string()),
    }
}

impl Worker {
    fn repository(&self, name: &str) -> Repository {
        self.client.repository(name)
    }

    fn keep(&self, keep: impl FnOnce(&mut Kept)) {
        keep(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn write(&mut self) {
        let name = format!("load/{}", self.number);
        let mut images: Vec<Content> = Vec::new();
        let mut round = 0;
        while !self.record.is_stopped() {
            round += 1;
            match (self.dice.below(6), images.len()) {
                (0..=1, _) | (_, 0) => {
                    let seed = self.number << 32 | round;
                    let image = Image::new(seed).layers(1).layer_size(20_000).build();
                    if !self.push_image(&name, &image) {
                        continue;
                    }
                    images.push(image);
                    if images.len() > KEPT {
                        images.remove(0);
                    }
                }
                (2, count) => {
                    let image = &images[self.dice.size(0, count)];
                    self.mount(&name, image);
                }
                (3, _) => self.come_and_go(&name, round),
                (_, count) => {
                    let image = images[self.dice.size(0, count)].clone();
                    self.tag(&name, "moved", Some(&image));
                    // The first one's stays: whoever pulls finds something also while nobody can push.
                    if self.dice.below(8) == 0 && self.number > 0 {
                        self.tag(&name, "moved", None);
                    }
                }
            }
            self.record.done(Kind::Push);
        }
    }

    /// An image with one more layer that goes in chunks; its tag is moved to it.
    fn push_image(&mut self, name: &str, image: &Content) -> bool {
        let repository = self.repository(name);
        let seed = self.dice.next();
        let large = noise(seed, LARGE);
        let mut blobs: Vec<(&[u8], Digest, usize)> = vec![(&large, super::digest(&large), 3)];
        for blob in image.blobs() {
            blobs.push((&blob.bytes, blob.digest.clone(), 1));
        }
        for (bytes, digest, chunks) in blobs {
            let upload = Upload {
                record: &self.record,
                repository: &repository,
                bytes,
                digest: &digest,
                chunks,
            };
            if push(&upload).is_none() {
                return false;
            }
            self.keep(|kept| {
                kept.blobs.insert((name.to_owned(), digest.to_string()));
            });
        }
        self.tag(name, "moved", Some(image))
    }

    /// Moves a tag, or deletes it; again and again until it is acknowledged.
    fn tag(&self, name: &str, tag: &str, image: Option<&Content>) -> bool {
        let repository = self.repository(name);
        let register = repository.path(&format!("manifests/{tag}"));
        let root = image.map(Content::root);
        let value = root.map(|root| root.digest.to_string());
        let mut tried = false;
        while !self.record.is_stopped() {
            let began = Instant::now();
            let call = match root {
                Some(root) => self
                    .client
                    .call("PUT", &register)
                    .header("content-type", &root.media_type)
                    .body(root.bytes.as_slice()),
                None => self.client.call("DELETE", &register),
            };
            let shown = format!(
                "{} {register}",
                if root.is_some() { "PUT" } else { "DELETE" }
            );
            let Some(answer) = self.record.ask(Kind::Push, &shown, call) else {
                let unknown = Outcome::Unknown;
                self.record
                    .wrote(&register, value.as_deref(), began, unknown);
                tried = true;
                self.record.pause();
                continue;
            };
            let done = match (root, answer.status) {
                (Some(_), 201) | (None, 202) => true,
                // Deleted by the try before, which was not answered.
                (None, 404) => tried,
                _other => false,
            };
            if !done {
                let text = answer.text();
                self.record
                    .wrong(format!("{shown}: {} {text}", answer.status));
                return false;
            }
            let outcome = Outcome::Acknowledged;
            self.record
                .wrote(&register, value.as_deref(), began, outcome);
            if let Some(root) = root {
                self.keep(|kept| {
                    let digest = root.digest.to_string();
                    kept.manifests.insert((name.to_owned(), digest));
                });
            }
            return true;
        }
        false
    }

    /// What was acknowledged in one repository is found there, and so mounted into another.
    fn mount(&self, name: &str, image: &Content) {
        let target = self.repository(&format!("mounted/{}", self.number));
        let digest = image.blobs()[1].digest.to_string();
        let path = target.path(&format!("blobs/uploads/?mount={digest}&from={name}"));
        let shown = format!("POST {path}");
        while !self.record.is_stopped() {
            let call = self.client.call("POST", &path);
            match self.record.ask(Kind::Push, &shown, call) {
                None => self.record.pause(),
                Some(answer) if answer.status == 201 => {
                    self.keep(|kept| {
                        kept.blobs.insert((target.name().to_owned(), digest));
                    });
                    return;
                }
                Some(answer) => {
                    return self.record.wrong(format!("{shown}: {}", answer.status));
                }
            }
        }
    }

    /// A blob that is pushed, and deleted.
    fn come_and_go(&self, name: &str, round: u64) {
        let repository = self.repository(name);
        let bytes = format!("{name} {round}").into_bytes();
        let digest = super::digest(&bytes);
        let register = repository.path(&format!("blobs/{digest}"));
        let upload = Upload {
            record: &self.record,
            repository: &repository,
            bytes: &bytes,
            digest: &digest,
            chunks: 1,
        };
        let (value, began) = (digest.to_string(), Instant::now());
        let Some(tries) = push(&upload) else {
            // Whatever became of it: nothing was asked of it yet.
            return;
        };
        if tries > 1 {
            let unknown = Outcome::Unknown;
            self.record.wrote(&register, Some(&value), began, unknown);
        }
        self.record
            .wrote(&register, Some(&value), began, Outcome::Acknowledged);
        let mut tried = false;
        while !self.record.is_stopped() {
            let began = Instant::now();
            let call = self.client.call("DELETE", &register);
            let shown = format!("DELETE {register}");
            match self.record.ask(Kind::Push, &shown, call) {
                None => {
                    tried = true;
                    let unknown = Outcome::Unknown;
                    self.record.wrote(&register, None, began, unknown);
                    self.record.pause();
                }
                Some(answer) if answer.status == 202 || (answer.status == 404 && tried) => {
                    let done = Outcome::Acknowledged;
                    self.record.wrote(&register, None, began, done);
                    return self.look_for(&register);
                }
                Some(answer) => {
                    return self.record.wrong(format!("{shown}: {}", answer.status));
                }
            }
        }
    }

    /// Asks another node for what was deleted through one.
    fn look_for(&self, register: &str) {
        let began = Instant::now();
        let call = self.client.call("GET", register);
        let shown = format!("GET {register}");
        if let Some(answer) = self.record.ask(Kind::Pull, &shown, call) {
            let found = answer.status == 200;
            let value = found.then(|| super::digest(&answer.body).to_string());
            self.record.read(register, value, began);
        }
    }

    /// Whatever a tag leads to, whole.
    fn pull(&mut self) {
        while !self.record.is_stopped() {
            let writer = self.dice.below(WRITERS);
            let repository = self.repository(&format!("load/{writer}"));
            let register = repository.path("manifests/moved");
            let began = Instant::now();
            let accept = "application/vnd.oci.image.manifest.v1+json";
            let call = self.client.call("GET", &register).header("accept", accept);
            let shown = format!("GET {register}");
            let Some(answer) = self.record.ask(Kind::Pull, &shown, call) else {
                self.record.pause();
                continue;
            };
            let value = match answer.status {
                200 => Some(super::digest(&answer.body).to_string()),
                404 => None,
                status => {
                    self.record.wrong(format!("{shown}: {status}"));
                    continue;
                }
            };
            self.record.read(&register, value.clone(), began);
            if value.is_some() && self.pull_blobs(&repository, &answer.json()) {
                self.record.done(Kind::Pull);
            }
            self.record.pause();
        }
    }

    fn pull_blobs(&self, repository: &Repository, manifest: &serde_json::Value) -> bool {
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        let named = std::iter::once(manifest["config"].clone()).chain(layers);
        let digests = named.filter_map(|blob| blob["digest"].as_str().map(str::to_owned));
        let mut whole = true;
        for digest in digests {
            let path = repository.path(&format!("blobs/{digest}"));
            let shown = format!("GET {path}");
            let call = || self.client.call("GET", &path);
            let Some(answer) = self.until_answered(&shown, call) else {
                return false;
            };
            if answer.status != 200 || super::digest(&answer.body).to_string() != digest {
                let status = answer.status;
                self.record
                    .wrong(format!("{shown}: {status}, or not its bytes"));
                whole = false;
            }
        }
        whole
    }

    /// Pulls again what broke. `None` when the clients were stopped.
    fn until_answered(&self, shown: &str, call: impl Fn() -> Call) -> Option<Answer> {
        while !self.record.is_stopped() {
            if let Some(answer) = self.record.ask(Kind::Pull, shown, call()) {
                return Some(answer);
            }
            self.record.pause();
        }
        None
    }
}
