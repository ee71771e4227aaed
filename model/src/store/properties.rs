//! What must hold in every state of the model, and what must happen in some.

use stateright::Property;

use super::model::{Down, Faults, Origin, State, Stores, Up};
use super::node::Bug;
use super::words::Death;

/// The property every canary must violate.
pub(super) const AGREES: &str = "the store agrees with its specification";

/// The properties of a model; a canary has only the one it violates.
pub(super) fn of(stores: &Stores) -> Vec<Property<Stores>> {
    let mut all = vec![Property::always(AGREES, |_, state| !matches!(state, State::Wrong(_)))];
    if stores.bug != Bug::None {
        return all;
    }
    all.extend([
        Property::sometimes("the log was truncated", |_, state| {
            up(state, |up| up.spec.floor > 0 && up.spec.generation == 0)
        }),
        Property::sometimes("a snapshot was installed", |_, state| {
            up(state, |up| up.spec.generation > 0)
        }),
    ]);
    all.extend(match stores.faults {
        Faults::Power { .. } => power_properties(),
        Faults::Starts => start_properties(),
        Faults::Errors { .. } => error_properties(),
        Faults::All => all_properties(),
    });
    all
}

fn up(state: &State, holds: impl FnOnce(&Up) -> bool) -> bool {
    matches!(state, State::Up(up) if holds(up))
}

fn down(state: &State, holds: impl FnOnce(&Down) -> bool) -> bool {
    matches!(state, State::Down(down) if holds(down))
}

fn power_properties() -> Vec<Property<Stores>> {
    vec![
        Property::sometimes("what was under way survived a power loss", |_, state| {
            up(state, |up| matches!(up.origin, Origin::Power { kept: true, .. }))
        }),
        Property::sometimes("what was under way was lost", |_, state| {
            up(state, |up| matches!(up.origin, Origin::Power { kept: false, .. }))
        }),
        Property::sometimes("what was applied without a sync was lost", |_, state| {
            up(state, |up| matches!(up.origin, Origin::Power { applied_lost: true, .. }))
        }),
        Property::sometimes("a write was torn", |_, state| {
            down(state, |down| matches!(down.death, Death::Power { torn: true, .. }))
        }),
        Property::sometimes("a later write arrived without an earlier one", |_, state| {
            down(state, |down| matches!(down.death, Death::Power { reordered: true, .. }))
        }),
    ]
}

fn start_properties() -> Vec<Property<Stores>> {
    vec![
        Property::sometimes("the power failed in a start", |_, state| {
            down(state, |down| down.starting)
        }),
        Property::sometimes("a start was torn", |_, state| {
            let torn = |death| matches!(death, Death::Power { torn: true, .. });
            down(state, |down| down.starting && torn(down.death))
        }),
        Property::sometimes("a start went through after one that did not", |_, state| {
            up(state, |up| up.losses > 1)
        }),
    ]
}

fn all_properties() -> Vec<Property<Stores>> {
    let mut all = power_properties();
    all.extend(start_properties());
    all.extend(error_properties());
    all
}

fn error_properties() -> Vec<Property<Stores>> {
    vec![
        Property::sometimes("what failed to sync is there after a start", |_, state| {
            let kept = Origin::Cache { kept: true, failed_sync: true };
            up(state, |up| up.origin == kept)
        }),
        Property::sometimes("what failed to sync is gone after a start", |_, state| {
            let gone = Origin::Cache { kept: false, failed_sync: true };
            up(state, |up| up.origin == gone)
        }),
        Property::sometimes("the power failed after a start from the page cache", |_, state| {
            down(state, |down| down.losses > 0)
        }),
        Property::sometimes("an operation went through after the disk was full", |_, state| {
            up(state, |up| up.since.iter().any(|step| step.full_at.is_some()))
        }),
    ]
}
