//! Bytes of an upload that no node has acknowledged: held to be sent again.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf as _, Bytes};

use crate::budget::{Memory, Room};

/// A piece that is shorter is copied: it may be a small part of a large buffer, which would stay with it.
const COPIED: usize = 64 * 1024;

/// With less than this in hand, an upload is not cut for the sake of others.
const LEAST: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Held {
    memory: Memory,
    pieces: VecDeque<Bytes>,
    length: usize,
    room: Option<Room>,
    /// There was no room for all of it: it cannot be sent again.
    given_up: bool,
}

impl Held {
    pub(super) fn none(memory: &Memory) -> Self {
        Self {
            memory: memory.clone(),
            pieces: VecDeque::new(),
            length: 0,
            room: None,
            given_up: false,
        }
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// Whether all of it can be sent again.
    pub(super) fn is_whole(&self) -> bool {
        !self.given_up
    }

    /// Whether so much is held that a node should acknowledge it. With little room left for others, sooner.
    pub(super) fn is_full(&self, chunk: usize) -> bool {
        self.length >= chunk || (self.length >= LEAST && self.memory.free() < self.length)
    }

    /// Whether it was held for long, and others may need the room.
    pub(super) fn is_old(&self, for_long: bool) -> bool {
        for_long && self.memory.free() < self.memory.held()
    }

    /// Waits for room for a first piece. None may wait who holds anything.
    pub(super) async fn room_for(&self, piece: &Bytes, within: Duration) -> Option<Room> {
        self.memory.take(piece.len(), within).await
    }

    /// Holds a piece if there is room, and gives back what is to be sent.
    pub(super) fn hold(&mut self, piece: Bytes) -> Result<Bytes, Bytes> {
        match self.memory.try_take(piece.len()) {
            Some(room) => Ok(self.keep(piece, room)),
            None => Err(piece),
        }
    }

    pub(super) fn keep(&mut self, piece: Bytes, more: Room) -> Bytes {
        let piece = if piece.len() < COPIED {
            Bytes::copy_from_slice(&piece)
        } else {
            piece
        };
        match &mut self.room {
            Some(room) => room.join(more),
            None => self.room = Some(more),
        }
        self.length += piece.len();
        self.pieces.push_back(piece.clone());
        piece
    }

    /// Lets go of everything, also of what will come.
    pub(super) fn give_up(&mut self) {
        self.clear();
        self.given_up = true;
    }

    /// A node has all of it.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.room = None;
        self.length = 0;
    }

    /// A node has the first bytes. Their room is given back with that of the rest.
    pub(super) fn drop_first(&mut self, mut bytes: usize) {
        self.length -= bytes.min(self.length);
        while let Some(first) = self.pieces.front_mut() {
            if first.len() > bytes {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_has_is_dropped_from_the_front() {
        let memory = Memory::of(1 << 20);
        let mut held = Held::none(&memory);
        for piece in ["abc", "de", "f"] {
            held.hold(Bytes::from(piece)).unwrap();
        }
        held.drop_first(4);
        let rest: Vec<&[u8]> = held.pieces().map(AsRef::as_ref).collect();
        assert_eq!((rest, held.length()), (vec![&b"e"[..], b"f"], 2));
        held.drop_first(2);
        assert_eq!((held.pieces().count(), held.length()), (0, 0));
        held.clear();
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn with_little_room_chunks_are_shorter() {
        let memory = Memory::of(8 << 20);
        let mut held = Held::none(&memory);
        let piece = Bytes::from(vec![0; 1 << 20]);
        held.hold(piece.clone()).unwrap();
        assert!(!held.is_full(8 << 20));
        let others = memory.try_take(7 << 19).unwrap();
        held.hold(piece.clone()).unwrap();
        assert!(!held.is_full(8 << 20));
        held.hold(piece.clone()).unwrap();
        assert!(held.is_full(8 << 20), "less is free than this one has");
        let rest = memory.try_take(memory.free()).unwrap();
        assert!(held.hold(piece).is_err());
        drop((others, rest));
    }
}
