//! What the coordinator does: marks, condemns, marks again, and removes what it was told to reap.

use std::time::Duration;

use roadstead_machine::{CollectCommand, CollectOutcome, Timestamp};

use super::Flaw;
use super::requests::WINDOW;
use super::world::{Coordinator, Set, World, units};

/// The machine's: a push window and a margin.
const WAIT: Duration = Duration::from_millis(WINDOW + 1);

impl World {
    /// Whether the coordinator in this node has something to do.
    pub(crate) fn has_work(&self, node: usize, flaw: Option<Flaw>, versions: u64) -> bool {
        let server = &self.nodes[node];
        let collection = self.collection();
        let is_led = |term| collection.is_led_in(term, self.machine().nodes());
        match server.coordinator {
            _ if !server.is_up => false,
            Coordinator::Off => {
                server.holds_lease && self.is_member(node) && !is_led(collection.term())
            }
            Coordinator::On { term, .. } if is_led(term) => match collection.run() {
                None => collection.version() < versions && self.mark(flaw) != 0,
                Some(run) => {
                    !run.reaping().is_empty()
                        || run.ripe().is_some_and(|ripe| ripe <= Timestamp(self.clock))
                }
            },
            _ => true,
        }
    }

    /// What nothing in the store speaks for. A manifest that is there keeps what it names, whether a tag leads to it or not.
    fn mark(&self, flaw: Option<Flaw>) -> Set {
        if flaw == Some(Flaw::WholeTrees) {
            self.untagged()
        } else {
            self.unmarked()
        }
    }

    pub(crate) fn coordinate(&mut self, node: usize, flaw: Option<Flaw>) {
        let next = match self.nodes[node].coordinator {
            Coordinator::Off => {
                let epoch = self.nodes[node].epoch;
                match self.collect(CollectCommand::Begin { epoch }) {
                    CollectOutcome::Began { term } => Coordinator::On { term, gone: 0 },
                    _ => Coordinator::Off,
                }
            }
            Coordinator::On { term, gone } => self.go_about(term, gone, flaw),
            Coordinator::Doomed {
                term,
                version,
                units,
            } => self.reap(term, version, units),
            Coordinator::Opened {
                term,
                unit,
                is_there,
                gone,
            } => {
                if is_there || flaw == Some(Flaw::UnfencedDeletes) {
                    self.remove(unit);
                }
                let gone = if is_there { gone | unit } else { gone };
                Coordinator::On { term, gone }
            }
        };
        self.nodes[node].coordinator = next;
    }

    fn is_led_in(&self, term: u64) -> bool {
        self.collection().is_led_in(term, self.machine().nodes())
    }

    /// The next thing to do, as the machine has it.
    fn go_about(&mut self, term: u64, gone: Set, flaw: Option<Flaw>) -> Coordinator {
        if !self.is_led_in(term) {
            return Coordinator::Off;
        }
        let version = self.collection().version();
        let Some(_run) = self.collection().run() else {
            return self.condemn(term, version, self.mark(flaw));
        };
        let reaping = self.reaping();
        if reaping == 0 {
            if flaw != Some(Flaw::UnfencedLinks) {
                self.fenced |= self.over();
            }
            // A lease that ends between the two ends after the run was settled: its node vetoed what it was about.
            return Coordinator::Doomed {
                term,
                version,
                units: self.doomed(flaw),
            };
        }
        let left = reaping & !gone;
        if left == 0 {
            return self.release(term, version, reaping);
        }
        let unit = left & left.wrapping_neg();
        if flaw == Some(Flaw::ReleasesEarly) {
            self.release(term, version, unit);
        }
        if self.store & unit == 0 {
            let gone = gone | unit;
            return Coordinator::On { term, gone };
        }
        Coordinator::Opened {
            term,
            unit,
            is_there: true,
            gone,
        }
    }

    fn condemn(&mut self, term: u64, after: u64, found: Set) -> Coordinator {
        match self.collect(CollectCommand::Condemn {
            term,
            after,
            units: units(found),
            wait: WAIT,
        }) {
            CollectOutcome::Condemned { .. } => Coordinator::On { term, gone: 0 },
            _ => Coordinator::Off,
        }
    }

    fn doomed(&self, flaw: Option<Flaw>) -> Set {
        let condemned = self.present().condemned;
        if flaw == Some(Flaw::NoSecondMark) {
            condemned
        } else {
            condemned & self.mark(flaw)
        }
    }

    fn reap(&mut self, term: u64, version: u64, doomed: Set) -> Coordinator {
        if doomed == 0 {
            return self.finish(term, version);
        }
        match self.collect(CollectCommand::Reap {
            term,
            version,
            units: units(doomed),
        }) {
            CollectOutcome::Reaping { .. } => Coordinator::On { term, gone: 0 },
            _ => Coordinator::Off,
        }
    }

    /// What is gone can be pushed again, before the run is over.
    fn release(&mut self, term: u64, version: u64, gone: Set) -> Coordinator {
        match self.collect(CollectCommand::Removed {
            term,
            version,
            units: units(gone),
        }) {
            CollectOutcome::Removed => Coordinator::On { term, gone: 0 },
            _ => Coordinator::Off,
        }
    }

    fn finish(&mut self, term: u64, version: u64) -> Coordinator {
        match self.collect(CollectCommand::Finish { term, version }) {
            CollectOutcome::Finished => Coordinator::On { term, gone: 0 },
            _ => Coordinator::Off,
        }
    }
}
