//! Whether the canonical value tells all: random walks in which replicas that run for long are
//! compared with what the table says.
//!
//! The table knows each step from one replica, rebuilt by the inputs that led to its state first.
//! A replica of the walk came to the same state by its own way, mostly another one. At every step
//! both must do the same and come to the same state again: so whenever two ways meet, the rest of
//! the walk tests that nothing which matters is missing from the canonical value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stateright::Model;

use super::cluster::{Cluster, State};
use super::node::{Live, Outcome};
use super::table::{Cause, Local, carry_out, way_on};
use super::words::{Key, mix};

/// What walks came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walked {
    /// Steps that were compared.
    pub(super) steps: u64,
    /// Steps from a state that the table knows by another way.
    pub(super) met: u64,
    /// States rebuilt from their way and compared.
    pub(super) rebuilt: u64,
}

/// A replica that is never rebuilt, and its way.
struct Walker {
    live: Live,
    way: Key,
}

/// Walks through `model`.
///
/// # Errors
/// Where a replica and the table differ.
pub(super) fn walk(model: &Cluster, seed: u64, walks: u64, depth: u64) -> Result<Walked, String> {
    let mut walked = Walked::default();
    let mut chance = mix(seed);
    let mut below = |bound: usize| {
        chance = mix(chance.wrapping_add(0x9e37_79b9_7f4a_7c15));
        usize::try_from(chance % bound as u64).expect("smaller than a usize")
    };
    for number in 0..walks {
        let mut state = model.init_states().remove(0);
        let mut walkers: Vec<Walker> =
            state.nodes.iter().map(|local| walker(model, local)).collect();
        for step in 0..depth {
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            if actions.is_empty() {
                break;
            }
            let action = actions.swap_remove(below(actions.len()));
            let Some(next) = model.next_state(&state, action.clone()) else { continue };
            let place = format!("walk {number} of seed {seed}, step {step}, {action:?}");
            let walker = &mut walkers[action.node];
            compare(model, &state, action.node, &action.cause, walker, &mut walked)
                .map_err(|what| format!("{place}: {what}"))?;
            if below(16) == 0 {
                walked.rebuilt += 1;
                let local = &next.nodes[action.node];
                if model.table().rebuild(local).key(None) != walker.live.key(None) {
                    return Err(format!("{place}: rebuilt, it is something else"));
                }
            }
            state = next;
        }
    }
    Ok(walked)
}

fn walker(model: &Cluster, local: &Arc<Local>) -> Walker {
    Walker { live: model.table().rebuild(local), way: local.way }
}

fn compare(
    model: &Cluster,
    state: &State,
    node: usize,
    cause: &Cause,
    walker: &mut Walker,
    walked: &mut Walked,
) -> Result<(), String> {
    let from = &state.nodes[node];
    let transition = model.table().transition(from, cause);
    if transition.out.impossible {
        return Ok(());
    }
    walked.steps += 1;
    walked.met += u64::from(walker.way != from.way);
    let mut out = carry_out(&mut walker.live, cause, &model.scope);
    let items: BTreeSet<Key> = out.items.drain(..).map(|item| item.key()).collect();
    let letters: BTreeSet<Key> =
        transition.letters.iter().map(|letter| letter.item.key()).collect();
    if items != letters {
        return Err(format!("sent {items:x?}, the table says {letters:x?}"));
    }
    let (done, said) = (told(&out), told(&transition.out));
    if done != said {
        return Err(format!("did {done}, the table says {said}"));
    }
    if walker.live.key(model.table().forget) != transition.to.key {
        let other = model.table().rebuild(&transition.to);
        return Err(format!(
            "it came to another state than the table says: {}",
            differences(&walker.live, &other)
        ));
    }
    walker.way = way_on(walker.way, cause);
    Ok(())
}

/// What a replica shows in which two nodes differ.
fn differences(one: &Live, other: &Live) -> String {
    let numbers = |live: &Live| {
        let mut fields: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
        if let Some(replica) = &live.replica {
            replica.canonical(&mut |name, number| fields.entry(name).or_default().push(number));
        }
        fields
    };
    let (left, right) = (numbers(one), numbers(other));
    let names: BTreeSet<&'static str> = left.keys().chain(right.keys()).copied().collect();
    let differs = names.into_iter().filter(|name| left.get(name) != right.get(name));
    let texts = differs.map(|name| format!("{name} {:?} {:?}", left.get(name), right.get(name)));
    texts.collect::<Vec<String>>().join(", ")
}

/// All but the letters, as text.
fn told(out: &Outcome) -> String {
    let Outcome { committed, reads, answered, refused, machine, elected, violation, .. } = out;
    let committed: Vec<_> =
        committed.iter().map(|next| (next.entry.index, next.entry.term, &next.tickets)).collect();
    format!("{committed:?} {reads:?} {answered:?} {refused:?} {machine:?} {elected} {violation:?}")
}
