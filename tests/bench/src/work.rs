//! The work that is measured: what clients do, from the outside.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use tokio::time::Instant;

use crate::content::{ACCEPT, Blob, Image};
use crate::figures::real_of;
use crate::http::{Body, Connection, Target};
use crate::registry::Client;
use crate::server::Server;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// In the row's unit.
    pub(crate) units: f64,
    pub(crate) wall: Duration,
    /// Milliseconds of each request, sorted; none where that says nothing.
    pub(crate) latencies: Vec<f64>,
}

/// Runs as many clients at once, each with its number, and gathers what they say.
pub(crate) fn together<T: Send>(
    clients: usize,
    client: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let client = &client;
        // All begin before the first is waited for.
        let mut begun = Vec::new();
        for number in 0..clients {
            begun.push(scope.spawn(move || client(number)));
        }
        let ended = begun.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended
            .map(|ended| ended.unwrap_or_else(|_| Err(anyhow!("a client panicked"))))
            .collect()
    })
}

/// The same, with the time they took.
fn timed<T: Send>(
    clients: usize,
    client: impl Fn(usize) -> Result<T> + Sync,
) -> Result<(Vec<T>, Duration)> {
    let begun = Instant::now();
    let all = together(clients, client)?;
    Ok((all, begun.elapsed()))
}

/// Downloads of one path, each stream the whole of it.
pub(crate) fn pull(target: &Target, path: &str, size: u64, streams: usize) -> Result<Done> {
    let (_, wall) = timed(streams, |_| {
        let mut connection = Connection::open(target)?;
        let request = connection.request("GET", path, "");
        connection.send(&[&request])?;
        let answer = connection.answer(Body::Discarded)?.expect(200)?;
        if answer.length != size {
            bail!("{} bytes came instead of {size}", answer.length);
        }
        Ok(())
    })?;
    Ok(Done {
        units: gib(size) * real_of(streams),
        wall,
        latencies: Vec::new(),
    })
}

/// Uploads of that many bytes in all, which the server has not seen before. What they are is found out beforehand.
pub(crate) fn push(target: &Target, size: u64, streams: usize, seed: u64) -> Result<Done> {
    let each = size / streams as u64;
    let blobs = together(streams, |stream| {
        let mut blob = Blob::new((seed * 64 + stream as u64) << 20, each);
        let digest = blob.digest();
        Ok((blob, digest))
    })?;
    let (_, wall) = timed(streams, |stream| {
        let Some((blob, digest)) = blobs.get(stream) else {
            bail!("a stream without a blob");
        };
        Client::new(target)?.push_large(&format!("bench/pushed{stream}"), &mut blob.clone(), digest)
    })?;
    Ok(Done {
        units: gib(each) * real_of(streams),
        wall,
        latencies: Vec::new(),
    })
}

/// The same request over and over, on that many connections, for a time.
pub(crate) fn ask(
    server: &Server,
    (method, path): (&str, &str),
    connections: usize,
    time: Duration,
) -> Result<Done> {
    let (latencies, wall) = timed(connections, |number| {
        let mut connection = Connection::open(server.target_of(number))?;
        let request = connection.request(method, path, ACCEPT);
        let body = if method == "HEAD" {
            Body::Absent
        } else {
            Body::Discarded
        };
        let begun = Instant::now();
        let mut latencies = Vec::new();
        while begun.elapsed() < time {
            let asked = Instant::now();
            connection.send(&[&request])?;
            connection.answer(body)?.expect(200)?;
            latencies.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        Ok(latencies)
    })?;
    Ok(counted(&latencies, wall))
}

/// How an image is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// HEAD, POST, PATCH, PUT, HEAD for each blob.
    Docker,
    /// POST, PUT for each blob.
    Whole,
}

/// Small images pushed by that many clients, each to a repository of its own, for a time.
pub(crate) fn images(server: &Server, flow: Flow, clients: usize, time: Duration) -> Result<Done> {
    const LAYERS: usize = 3;
    const LAYER: u64 = 10 << 10;
    let next = AtomicU64::new(1);
    let (latencies, wall) = timed(clients, |number| {
        let mut client = Client::new(server.target_of(number))?;
        let name = format!("bench/client{number}");
        let begun = Instant::now();
        let mut latencies = Vec::new();
        while begun.elapsed() < time {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let image = Image::new(seed << 8, LAYERS, LAYER);
            let tag = format!("t{seed}");
            let asked = Instant::now();
            match flow {
                Flow::Docker => client.push_image(&name, &tag, &image)?,
                Flow::Whole => client.push_image_whole(&name, &tag, &image)?,
            }
            latencies.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        Ok(latencies)
    })?;
    Ok(counted(&latencies, wall))
}

fn counted(latencies: &[Vec<f64>], wall: Duration) -> Done {
    let mut latencies = latencies.concat();
    latencies.sort_by(f64::total_cmp);
    Done {
        units: real_of(latencies.len()),
        wall,
        latencies,
    }
}

fn gib(bytes: u64) -> f64 {
    crate::figures::real(bytes) / f64::from(1 << 30)
}
