//! The rules of upload sessions, one by one and at random.

use proptest::prelude::*;
use roadstead_oci::{Algorithm, Digest, HashState, Hasher, Name};

use super::*;
use crate::session::{Origin, Segment};

fn origin(n: u8, opened: u64) -> Origin {
    Origin {
        session: SessionId([n; 16]),
        repository: "a/b".parse().unwrap(),
        opened: Timestamp(opened),
    }
}

fn segment(place: &str, length: u64) -> Segment {
    Segment {
        place: place.to_owned(),
        length,
    }
}

fn state() -> HashState {
    Hasher::new(Algorithm::Sha256).save()
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"x")
}

fn append(origin: Origin, from: u64, place: &str, length: u64) -> Command {
    Command::Append {
        origin,
        from,
        segment: segment(place, length),
        state: state(),
    }
}

fn at(at: u64, command: Command) -> Entry {
    Entry {
        at: Timestamp(at),
        command,
    }
}

const HOUR: u64 = 3_600_000;

fn renounce(places: &[&str]) -> Command {
    Command::Renounce {
        places: places.iter().map(|&place| place.to_owned()).collect(),
    }
}

fn unheld(places: &[&str]) -> Outcome {
    Outcome::Unheld {
        places: places.iter().map(|&place| place.to_owned()).collect(),
    }
}

#[test]
fn a_writer_that_comes_too_late_finds_its_place_given_up() {
    let mut machine = Machine::default();
    machine.apply(at(1, append(origin(1, 0), 0, "held", 5)));
    assert_eq!(
        machine.apply(at(2, renounce(&["held", "late", "tail"]))),
        unheld(&["late", "tail"])
    );
    let late = append(origin(1, 0), 5, "late", 5);
    assert_eq!(machine.apply(at(3, late)), Outcome::Renounced);
    let seal = Command::Seal {
        origin: origin(1, 0),
        at: 5,
        tail: Some(segment("tail", 1)),
        digest: digest(),
    };
    assert_eq!(machine.apply(at(4, seal)), Outcome::Renounced);
    let on = append(origin(1, 0), 5, "other", 5);
    assert_eq!(machine.apply(at(5, on)), Outcome::Appended { offset: 10 });
    // No proposal is under way for so long.
    machine.apply(at(HOUR, renounce(&["late"])));
    machine.apply(at(HOUR + 2, renounce(&["x"])));
    let remembered = |place| {
        let mut machine = machine.clone();
        machine.apply(at(HOUR + 3, append(origin(1, 0), 10, place, 1))) == Outcome::Renounced
    };
    assert!(remembered("late"), "renounced again meanwhile");
    assert!(!remembered("tail"));
}

#[test]
fn of_two_writers_at_one_offset_the_second_is_told_where_the_session_stands() {
    let mut machine = Machine::default();
    assert_eq!(
        machine.apply(at(1, append(origin(1, 0), 0, "a", 5))),
        Outcome::Appended { offset: 5 }
    );
    assert_eq!(
        machine.apply(at(2, append(origin(1, 0), 0, "b", 7))),
        Outcome::Conflict { offset: 5 }
    );
    assert_eq!(machine.places().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_sealed_session_takes_no_byte_and_the_same_seal_again() {
    let mut machine = Machine::default();
    machine.apply(at(1, append(origin(1, 0), 0, "a", 5)));
    let seal = |tail| Command::Seal {
        origin: origin(1, 0),
        at: 5,
        tail,
        digest: digest(),
    };
    let sealed = machine.apply(at(2, seal(Some(segment("b", 1)))));
    assert_eq!(
        sealed,
        Outcome::Sealed {
            segments: vec![segment("a", 5), segment("b", 1)],
            again: false
        }
    );
    let again = machine.apply(at(3, seal(Some(segment("c", 1)))));
    assert_eq!(
        again,
        Outcome::Sealed {
            segments: vec![segment("a", 5), segment("b", 1)],
            again: true
        }
    );
    assert_eq!(
        machine.apply(at(4, append(origin(1, 0), 6, "d", 1))),
        Outcome::UnknownSession
    );
    assert_eq!(
        machine.apply(at(
            5,
            Command::Cancel {
                origin: origin(1, 0)
            }
        )),
        Outcome::UnknownSession
    );
    machine.apply(at(
        6,
        Command::Finish {
            session: SessionId([1; 16]),
        },
    ));
    assert_eq!(
        machine.apply(at(7, seal(None))),
        Outcome::Completed { digest: digest() }
    );
    assert!(machine.places().next().is_none());
}

#[test]
fn an_append_whose_answer_was_missed_is_answered_again() {
    let mut machine = Machine::default();
    let first = append(origin(1, 0), 0, "a", 5);
    let done = Outcome::Appended { offset: 5 };
    assert_eq!(machine.apply(at(1, first.clone())), done);
    assert_eq!(machine.apply(at(2, first.clone())), done);
    // Another went on from there, and the whole was sealed.
    machine.apply(at(3, append(origin(1, 0), 5, "b", 7)));
    assert_eq!(machine.apply(at(4, first.clone())), done);
    let seal = Command::Seal {
        origin: origin(1, 0),
        at: 12,
        tail: None,
        digest: digest(),
    };
    machine.apply(at(5, seal));
    assert_eq!(machine.apply(at(6, first)), done);
    assert_eq!(machine.places().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_seal_whose_answer_was_missed_keeps_its_tail() {
    let mut machine = Machine::default();
    let seal = Command::Seal {
        origin: origin(1, 0),
        at: 0,
        tail: Some(segment("a", 5)),
        digest: digest(),
    };
    let sealed = machine.apply(at(1, seal.clone()));
    assert_eq!(machine.apply(at(2, seal)), sealed);
    assert!(matches!(sealed, Outcome::Sealed { again: false, .. }));
}

#[test]
fn a_cancellation_is_answered_again_to_its_own_proposer_only() {
    let mut machine = Machine::default();
    machine.apply(at(1, append(origin(1, 0), 0, "a", 5)));
    let cancel = |proposal| Command::CancelOnce {
        origin: origin(1, 0),
        proposal,
    };
    let ended = |segments| Outcome::Discarded {
        sessions: 1,
        segments,
    };
    assert_eq!(
        machine.apply(at(2, cancel([1; 16]))),
        ended(vec![segment("a", 5)])
    );
    assert_eq!(machine.apply(at(3, cancel([1; 16]))), ended(Vec::new()));
    assert_eq!(
        machine.apply(at(4, cancel([2; 16]))),
        Outcome::UnknownSession
    );
    machine.apply(at(
        4 + HOUR,
        Command::Purge {
            idle_since: Timestamp(0),
        },
    ));
    assert_eq!(
        machine,
        Machine {
            now: Timestamp(4 + HOUR),
            ..Machine::default()
        }
    );
}

#[test]
fn a_session_known_by_its_token_alone_lives_for_an_hour() {
    let mut machine = Machine::default();
    assert_eq!(
        machine.apply(at(HOUR, append(origin(1, 0), 0, "a", 5))),
        Outcome::UnknownSession
    );
    assert_eq!(
        machine.apply(at(HOUR, append(origin(2, 1), 0, "a", 5))),
        Outcome::Appended { offset: 5 }
    );
}

#[test]
fn a_session_on_record_outlives_its_token() {
    let mut machine = Machine::default();
    let open = |n| Command::Open {
        origin: origin(n, 0),
        state: state(),
    };
    assert_eq!(
        machine.apply(at(HOUR - 1, open(1))),
        Outcome::Appended { offset: 0 }
    );
    assert_eq!(machine.apply(at(HOUR, open(2))), Outcome::UnknownSession);
    assert_eq!(
        machine.apply(at(9 * HOUR, append(origin(1, 0), 0, "a", 5))),
        Outcome::Appended { offset: 5 }
    );
    assert_eq!(
        machine.apply(at(9 * HOUR, open(1))),
        Outcome::Appended { offset: 5 },
        "nothing is undone"
    );
    machine.apply(at(
        9 * HOUR,
        Command::Cancel {
            origin: origin(1, 0),
        },
    ));
    assert_eq!(
        machine.apply(at(9 * HOUR, open(1))),
        Outcome::UnknownSession
    );
}

#[test]
fn wrong_bytes_end_a_session_only_where_they_were_sent() {
    let mut machine = Machine::default();
    let abandon = |n, from| Command::Abandon {
        origin: origin(n, 0),
        at: from,
    };
    machine.apply(at(1, append(origin(1, 0), 0, "a", 5)));
    assert_eq!(
        machine.apply(at(2, abandon(1, 0))),
        Outcome::Conflict { offset: 5 }
    );
    assert_eq!(
        machine.places().count(),
        1,
        "what was acknowledged meanwhile stays"
    );
    let gone = Outcome::Discarded {
        sessions: 1,
        segments: vec![segment("a", 5)],
    };
    assert_eq!(machine.apply(at(3, abandon(1, 5))), gone);
    assert_eq!(
        machine.apply(at(4, abandon(2, 0))),
        Outcome::Discarded {
            sessions: 1,
            segments: vec![]
        }
    );
    assert_eq!(
        machine.apply(at(5, append(origin(2, 0), 0, "b", 5))),
        Outcome::UnknownSession
    );
}

#[test]
fn a_cancelled_token_never_comes_to_life_again() {
    let mut machine = Machine::default();
    machine.apply(at(
        5,
        Command::Cancel {
            origin: origin(1, 0),
        },
    ));
    for time in [6, HOUR - 1, HOUR, HOUR + 4, HOUR + 5, 2 * HOUR] {
        assert_eq!(
            machine.apply(at(time, append(origin(1, 0), 0, "a", 5))),
            Outcome::UnknownSession,
            "{time}"
        );
    }
    assert_eq!(
        machine.session(SessionId([1; 16])),
        None,
        "forgotten in the end"
    );
}

#[test]
fn a_session_belongs_to_its_repository() {
    let mut machine = Machine::default();
    machine.apply(at(1, append(origin(1, 0), 0, "a", 5)));
    let stranger = Origin {
        repository: "else/where".parse::<Name>().unwrap(),
        ..origin(1, 0)
    };
    assert_eq!(
        machine.apply(at(2, append(stranger.clone(), 5, "b", 5))),
        Outcome::UnknownSession
    );
    assert_eq!(
        machine.apply(at(2, Command::Cancel { origin: stranger })),
        Outcome::UnknownSession
    );
}

#[test]
fn purging_ends_what_has_not_moved() {
    let mut machine = Machine::default();
    machine.apply(at(10, append(origin(1, 0), 0, "old", 5)));
    machine.apply(at(20, append(origin(2, 0), 0, "new", 5)));
    let purged = machine.apply(at(
        30,
        Command::Purge {
            idle_since: Timestamp(15),
        },
    ));
    assert_eq!(
        purged,
        Outcome::Discarded {
            sessions: 1,
            segments: vec![segment("old", 5)]
        }
    );
    assert_eq!(
        machine.apply(at(31, append(origin(1, 0), 5, "x", 5))),
        Outcome::UnknownSession
    );
    assert_eq!(
        machine.apply(at(31, append(origin(2, 0), 5, "y", 5))),
        Outcome::Appended { offset: 10 }
    );
}

#[test]
fn the_first_secret_stays() {
    let mut machine = Machine::default();
    machine.apply(at(1, Command::AdoptSecret { secret: vec![1] }));
    assert_eq!(
        machine.apply(at(2, Command::AdoptSecret { secret: vec![2] })),
        Outcome::Secret { secret: vec![1] }
    );
}

/// Any command on one of a few sessions, at any small offset and time.
fn any_entry() -> impl Strategy<Value = Entry> {
    let command = (0..7_u8, 0..3_u8, 0..6_u64, 1..4_u64, any::<u16>()).prop_map(
        |(kind, n, offset, length, place)| {
            let place = segment(&format!("{place}"), length);
            match kind {
                0 | 1 => Command::Append {
                    origin: origin(n, 0),
                    from: offset,
                    segment: place,
                    state: state(),
                },
                2 => Command::Seal {
                    origin: origin(n, 0),
                    at: offset,
                    tail: Some(place),
                    digest: digest(),
                },
                3 => Command::Finish {
                    session: SessionId([n; 16]),
                },
                5 => Command::Open {
                    origin: origin(n, 0),
                    state: state(),
                },
                4 => Command::Cancel {
                    origin: origin(n, 0),
                },
                _ => Command::Purge {
                    idle_since: Timestamp(offset * HOUR / 4),
                },
            }
        },
    );
    (0..2 * HOUR, command).prop_map(|(time, command)| at(time, command))
}

proptest! {
    /// An acknowledged byte stays until the session ends; segments never overlap, vanish or appear; a place that a
    /// command discards is held by nobody.
    #[test]
    fn the_invariants_hold_after_any_history(history in prop::collection::vec(any_entry(), 0..60)) {
        let mut machine = Machine::default();
        for entry in history {
            let before = machine.clone();
            let command = entry.command.clone();
            let outcome = machine.apply(entry);
            for (id, session) in &machine.sessions {
                if let Session::Receiving { progress, .. } = session {
                    prop_assert_eq!(progress.offset, progress.segments.iter().map(|s| s.length).sum::<u64>());
                    if let Some(Session::Receiving { progress: old, .. }) = before.sessions.get(id) {
                        prop_assert!(progress.segments.starts_with(&old.segments));
                    }
                }
            }
            if let Outcome::Discarded { segments, .. } = &outcome {
                prop_assert_eq!(before.places().count(), machine.places().count() + segments.iter().map(|s| &s.place).collect::<BTreeSet<_>>().len());
            }
            if let (Outcome::Conflict { .. } | Outcome::UnknownSession | Outcome::Completed { .. }, Command::Append { .. } | Command::Seal { .. }) = (&outcome, &command) {
                prop_assert!(before.places().eq(machine.places()));
            }
            prop_assert_eq!(&Machine::decode(&machine.encode().unwrap()).unwrap(), &machine);
        }
    }
}
