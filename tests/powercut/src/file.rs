//! A file twice: as processes see it, and as it is on the disk; between the two, the changes nobody has synced.

use crate::chance::Chance;
use crate::content::{Content, Piece};

/// A change that is not known to be on the disk.
#[derive(Clone, Debug)]
enum Change {
    Write(Vec<Piece>),
    Resize(u64),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    seen: Content,
    disk: Content,
    /// In the order in which they were made.
    unsynced: Vec<Change>,
    /// A sync failed and its changes will never be written: what is seen is no longer where the disk arrives at.
    estranged: bool,
    /// No name and no descriptor leads here any more, so what was seen is given up.
    forsaken: bool,
}

impl File {
    pub(crate) fn seen(&self) -> &Content {
        &self.seen
    }

    pub(crate) fn on_disk(&self) -> &Content {
        &self.disk
    }

    pub(crate) fn is_forsaken(&self) -> bool {
        self.forsaken
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        let pieces = Piece::split(offset, data);
        for piece in &pieces {
            self.seen.put(piece);
        }
        self.unsynced.push(Change::Write(pieces));
    }

    pub(crate) fn resize(&mut self, size: u64) {
        if size != self.seen.size() {
            self.seen.resize(size);
            self.unsynced.push(Change::Resize(size));
        }
    }

    pub(crate) fn reserve(&mut self, offset: u64, length: u64, keep_size: bool) {
        self.seen.reserve(offset, length);
        if !keep_size {
            self.resize(self.seen.size().max(offset + length));
        }
    }

    /// What is seen is now on the disk.
    pub(crate) fn sync(&mut self) {
        let changes = std::mem::take(&mut self.unsynced);
        if self.estranged {
            for change in &changes {
                apply(&mut self.disk, change);
            }
            return;
        }
        // Not by replaying the writes: so the disk shares its chunks with what is seen, and a small write is copied
        // once. Sizes go first, since they empty the parts that no later write fills.
        for change in &changes {
            if let Change::Resize(size) = change {
                self.disk.resize(*size);
            }
        }
        self.disk.resize(self.seen.size());
        for change in &changes {
            if let Change::Write(pieces) = change {
                self.disk.adopt(&self.seen, pieces);
            }
        }
    }

    /// The sync failed: as on Linux, processes go on seeing the changes, and no later sync writes them.
    pub(crate) fn lose_unsynced(&mut self) {
        self.estranged |= !self.unsynced.is_empty();
        self.unsynced.clear();
    }

    /// Gives up what was seen. What is on the disk, and what may yet come there, stays for a cut.
    pub(crate) fn forsake(&mut self) {
        self.seen = Content::default();
        self.forsaken = true;
    }

    /// The file after a cut: some of what was not synced is on the disk too.
    pub(crate) fn cut(&self, chance: &mut Chance) -> Content {
        let mut content = self.disk.clone();
        for change in &self.unsynced {
            match change {
                Change::Resize(size) if chance.survives() => content.resize(*size),
                Change::Resize(_) => {}
                Change::Write(pieces) => tear(&mut content, pieces, chance),
            }
        }
        content
    }
}

fn apply(content: &mut Content, change: &Change) {
    match change {
        Change::Write(pieces) => pieces.iter().for_each(|piece| content.put(piece)),
        Change::Resize(size) => content.resize(*size),
    }
}

/// A write that the cut fell into. Its size and its bytes go to different places of the disk: either may come alone.
fn tear(content: &mut Content, pieces: &[Piece], chance: &mut Chance) {
    let end = pieces.last().map_or(0, Piece::end);
    if end > content.size() && chance.survives() {
        content.resize(end);
    }
    let whole = chance.survives();
    // Of the writes that did not make it whole, every other one is torn; the rest never began.
    if !whole && chance.even() {
        return;
    }
    for piece in pieces {
        if whole {
            content.put_within(piece.whole());
            continue;
        }
        for sector in piece.sectors() {
            if chance.even() {
                content.put_within(sector);
            }
        }
    }
}
