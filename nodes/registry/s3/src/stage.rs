//! A place that takes an upload's bytes: one object if they are few, else equal parts of one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use roadstead_storage::{Error, Stage, Staged};

use crate::failure::Failure;
use crate::multipart::Multipart;
use crate::remove;
use crate::store::Store;

/// Parts of one upload on their way, besides the one that fills: with the reference's size, 30 MiB.
const WINDOW: usize = 2;
/// What holds more takes the room of a part at once: it will hardly stay small.
const GROWN: usize = 1 << 20;

/// An upload's bytes, the last of them in memory.
#[derive(Debug)]
pub(crate) struct S3Stage {
    store: Arc<Store>,
    place: String,
    key: String,
    chunk: usize,
    tail: BytesMut,
    length: u64,
    multipart: Option<Multipart>,
    /// An object may be at the place, and nobody was told.
    written: bool,
}

impl S3Stage {
    pub(crate) fn new(store: &Arc<Store>, hint: &str) -> Result<Self, Error> {
        let place = format!("{hint}.{}", uuid::Uuid::new_v4().simple());
        let key = store.keys.place(&place).ok_or(Error::Damaged)?;
        Ok(Self {
            store: Arc::clone(store),
            place,
            key,
            chunk: usize::try_from(store.parts.chunk).unwrap_or(usize::MAX),
            tail: BytesMut::new(),
            length: 0,
            multipart: None,
            written: false,
        })
    }

    /// Takes as much as makes a part; a full one goes only when more comes, since the last may be small.
    async fn append(&mut self, mut piece: Bytes) -> Result<(), Failure> {
        self.length += piece.len() as u64;
        while !piece.is_empty() {
            if self.tail.len() >= self.chunk {
                self.send().await?;
            }
            let room = self.chunk - self.tail.len();
            if self.tail.len() > GROWN && self.tail.capacity() < self.chunk {
                self.tail.reserve(room);
            }
            let taken = room.min(piece.len());
            self.tail.extend_from_slice(&piece[..taken]);
            piece.advance(taken);
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Failure> {
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => none.insert(Multipart::create(&self.store, &self.key, WINDOW).await?),
        };
        let part = std::mem::take(&mut self.tail).freeze();
        let room = self.store.room(part.len() as u64).await?;
        multipart
            .begin(|upload, number| upload.send(number, part, room))
            .await
    }

    async fn close(&mut self) -> Result<Option<String>, Failure> {
        if self.multipart.is_some() {
            self.send().await?;
        }
        self.written = true;
        if let Some(mut multipart) = self.multipart.take() {
            return multipart.complete(self.length).await;
        }
        let content = std::mem::take(&mut self.tail).freeze();
        let _room = self.store.room(content.len() as u64).await?;
        let client = self.store.clients.carrying(content.len());
        self.store.put(client, &self.key, content).await
    }
}

#[async_trait]
impl Stage for S3Stage {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), Error> {
        for piece in pieces {
            self.append(piece).await.map_err(Failure::writing)?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Staged, Error> {
        let etag = self.close().await.map_err(Failure::writing)?;
        self.store.remember(&self.place, self.length, etag);
        self.written = false;
        Ok(Staged {
            place: std::mem::take(&mut self.place),
            length: self.length,
        })
    }
}

impl Drop for S3Stage {
    /// The multipart upload aborts itself; an object whose end was not waited for goes here, or when places are purged.
    fn drop(&mut self) {
        if self.written
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (store, key) = (Arc::clone(&self.store), std::mem::take(&mut self.key));
            runtime.spawn(async move {
                if let Err(failure) = remove::objects(&store, vec![key]).await {
                    let error = failure.other();
                    tracing::warn!(%error, "an upload's bytes stay until they are purged");
                }
            });
        }
    }
}
