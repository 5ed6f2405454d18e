//! The protocol holds in every state that can be reached, and each flaw is found.

use stateright::{Checker, HasDiscoveries, Model};

use super::*;

/// More of everything: hours, and tens of gigabytes.
const LARGER: &str = "ROADSTEAD_MODELS_LARGER";

fn of(start: Start) -> Collecting {
    Collecting {
        start,
        flaw: None,
        nodes: 2,
        lapses: 1,
        crashes: 0,
        losses: 0,
        departures: 0,
        versions: 2,
    }
}

fn with_more(model: Collecting) -> Collecting {
    #[expect(
        clippy::disallowed_methods,
        reason = "how much is explored is no configuration of the registry"
    )]
    let is_larger = std::env::var(LARGER).is_ok();
    if !is_larger {
        return model;
    }
    Collecting {
        lapses: model.lapses + 1,
        crashes: 1,
        losses: 1,
        departures: 1,
        versions: model.versions + 1,
        ..model
    }
}

/// Explores all of it. What should be possible must have been seen, or the model proves nothing.
fn holds(model: Collecting) {
    let start = model.start;
    let checker = with_more(model).checker().threads(2).spawn_bfs().join();
    println!(
        "{start:?}: {} states, up to {} steps from the first",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

#[test]
fn a_layer_is_collected_and_pushed_again() {
    holds(of(Start::Layer));
}

#[test]
fn a_nested_index_is_collected_and_tagged_again() {
    holds(Collecting {
        versions: 3,
        ..of(Start::Index)
    });
}

#[test]
fn a_tag_is_moved_to_an_index_that_is_condemned_while_a_lease_ends_and_a_node_crashes() {
    holds(Collecting {
        crashes: 1,
        versions: 1,
        ..of(Start::Moved)
    });
}

#[test]
fn a_tag_is_deleted_and_part_of_what_it_led_to_is_pushed_again() {
    holds(of(Start::Deleted));
}

#[test]
fn acknowledgements_are_lost() {
    holds(Collecting {
        losses: 1,
        ..of(Start::Moved)
    });
}

#[test]
fn clients_go_away_before_they_are_answered() {
    holds(Collecting {
        versions: 1,
        departures: 1,
        ..of(Start::Layer)
    });
}

#[test]
fn each_flaw_is_found() {
    for (flaw, start) in [
        (Flaw::OnlyVerifies, Start::Layer),
        (Flaw::NoSecondCheck, Start::Layer),
        (Flaw::NoVetoes, Start::Layer),
        (Flaw::UnfencedDeletes, Start::Layer),
        (Flaw::DeposedLeaderRenews, Start::Layer),
        (Flaw::UnfencedLinks, Start::Moved),
        (Flaw::WholeTrees, Start::Index),
        (Flaw::NoSecondMark, Start::Layer),
        (Flaw::KeepsCaches, Start::Layer),
        (Flaw::RefusesUnasked, Start::Layer),
        (Flaw::ReleasesEarly, Start::Layer),
        (Flaw::LearnsLate, Start::Layer),
        (Flaw::PromisesWithoutLease, Start::Layer),
    ] {
        let model = Collecting {
            flaw: Some(flaw),
            departures: u8::from(flaw == Flaw::LearnsLate),
            ..of(start)
        };
        let checker = model
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let mut broken = checker.discoveries().into_iter();
        let Some((property, path)) = broken.find(|(name, _)| name.starts_with('G')) else {
            panic!("{flaw:?} breaks nothing");
        };
        let steps = path.into_actions().len();
        println!("{flaw:?} breaks \"{property}\" in {steps} steps");
    }
}
