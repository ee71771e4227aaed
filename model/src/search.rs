//! Runs a model in stateright and makes a report, or serves it in stateright's Explorer.
//!
//! The model runs inside `Bounded`, which closes four traps of stateright 0.31:
//! `target_max_depth` skips the properties of the last states; an example found later overwrites a
//! shorter one; a violation is noticed only after a block of 1,500 states; and a path of a walk
//! cannot be walked again when an action led nowhere.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property, UniformChooser};

use crate::bounds::{Bounds, Search};
use crate::report::{End, Example, Report};

/// Properties a model may have.
const PROPERTIES_MAX: usize = 32;

/// Checks `model` within `bounds`. Beside stateright's requirements: `actions` gives the same
/// actions in the same order for the same state, whatever happened in between.
///
/// # Panics
/// When the model has more than 32 properties or an "eventually", or panics itself.
pub fn run<M>(name: &str, model: M, bounds: &Bounds) -> Report
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Debug + Clone + PartialEq + Send + Sync + 'static,
    M::Action: Debug + Clone + PartialEq + Send + Sync + 'static,
{
    let start = Instant::now();
    let model = Bounded::new(model, bounds, start);
    let mut builder =
        model.checker().threads(bounds.threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(states) = bounds.states {
        builder = builder.target_state_count(states);
    }
    match bounds.search {
        Search::Breadth => report(name, builder.spawn_bfs().join(), bounds, start),
        Search::Walks { seed } => {
            // A walk that nothing ends would go on for ever; stateright looks once a second.
            let builder = builder.timeout(Duration::from_secs(bounds.seconds));
            report(name, builder.spawn_simulation(seed, UniformChooser).join(), bounds, start)
        }
    }
}

/// Serves the Explorer for `model` and never returns. Prints the address first.
///
/// # Panics
/// When nobody can listen at the address.
pub fn explore<M>(model: M, bounds: &Bounds, address: SocketAddr)
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Debug + Clone + PartialEq + Send + Sync + 'static,
    M::Action: Debug + Clone + PartialEq + Send + Sync + 'static,
{
    // Port 0 means any; stateright does not say which it got.
    let probe = std::net::TcpListener::bind(address).expect("somebody can listen there");
    let address = probe.local_addr().expect("a bound socket has an address");
    drop(probe);
    println!("Explorer: http://{address}/ (end with Ctrl-C)");
    model.checker().threads(bounds.threads).serve(address);
}

fn report<M, C>(name: &str, checker: C, bounds: &Bounds, start: Instant) -> Report
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Debug + Clone + PartialEq,
    M::Action: Debug + Clone + PartialEq,
    C: Checker<Bounded<M>>,
{
    let seconds = start.elapsed().as_secs_f64();
    let bounded = checker.model();
    let (cut, late) = (bounded.cut.load(Ordering::Relaxed), bounded.late.load(Ordering::Relaxed));
    bounded.replaying.store(true, Ordering::Relaxed);
    let mut discoveries = checker.discoveries();
    let (mut refuted, mut reached, mut missed) = (Vec::new(), Vec::new(), Vec::new());
    for property in bounded.model.properties() {
        let example = discoveries.remove(property.name).map(|path| {
            let steps = path.into_vec();
            let state = steps.last().map(|(reached, _)| format!("{:?}", reached.state));
            let actions = steps.iter().filter_map(|(_, action)| action.as_ref());
            Example {
                property: property.name.to_owned(),
                actions: actions.map(|action| bounded.model.format_action(action)).collect(),
                state: state.unwrap_or_default(),
            }
        });
        match (property.expectation, example) {
            (Expectation::Sometimes, Some(example)) => reached.push(example),
            (Expectation::Sometimes, None) => missed.push(property.name.to_owned()),
            (_, Some(example)) => refuted.push(example),
            (_, None) => {}
        }
    }
    let walked = matches!(bounds.search, Search::Walks { .. });
    let generated = checker.state_count();
    let end = match bounds.states {
        _ if !refuted.is_empty() => End::Refuted,
        Some(states) if generated >= states => End::States,
        _ if late || walked => End::Time,
        _ if cut => End::CompleteToDepth,
        _ => End::Complete,
    };
    Report {
        model: name.to_owned(),
        bounds: bounds.clone(),
        end,
        generated,
        unique: checker.unique_state_count(),
        // stateright counts the states of a path when it searches, and the actions when it walks.
        depth: checker.max_depth().saturating_sub(usize::from(!walked)),
        seconds,
        refuted,
        reached,
        missed,
    }
}

/// A state, and how far it is from the beginning.
#[derive(Clone, Debug)]
struct Reached<S> {
    state: S,
    depth: usize,
    /// Walks may come back to a state; a search does not go there twice.
    walked: bool,
}

impl<S: Hash> Hash for Reached<S> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.state.hash(hasher);
        if self.walked {
            self.depth.hash(hasher);
        }
    }
}

impl<S: PartialEq> PartialEq for Reached<S> {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state && (!self.walked || self.depth == other.depth)
    }
}

/// A model that ends where its bounds say, and tells of each property the first example only.
struct Bounded<M: Model> {
    model: M,
    properties: Vec<Property<M>>,
    walked: bool,
    depth: usize,
    deadline: Instant,
    /// Bit by property: an example was found.
    told: AtomicU32,
    /// A property was violated: what is left need not be looked at.
    refuted: AtomicBool,
    /// States were left alone because of their depth.
    cut: AtomicBool,
    /// States were left alone because of the time.
    late: AtomicBool,
    /// The run is over and its examples are walked again.
    replaying: AtomicBool,
}

impl<M: Model> Bounded<M> {
    fn new(model: M, bounds: &Bounds, start: Instant) -> Bounded<M> {
        let properties = model.properties();
        assert!(properties.len() <= PROPERTIES_MAX, "{} properties", properties.len());
        for property in &properties {
            // Where a bound cuts a path, stateright takes the path for finished.
            let eventually = property.expectation == Expectation::Eventually;
            assert!(!eventually, "{}: bounds make \"eventually\" meaningless", property.name);
        }
        Bounded {
            model,
            properties,
            walked: matches!(bounds.search, Search::Walks { .. }),
            depth: bounds.depth.unwrap_or(usize::MAX),
            deadline: start + Duration::from_secs(bounds.seconds),
            told: AtomicU32::new(0),
            refuted: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            late: AtomicBool::new(false),
            replaying: AtomicBool::new(false),
        }
    }

    fn reached(&self, state: M::State, depth: usize) -> Reached<M::State> {
        Reached { state, depth, walked: self.walked }
    }

    /// Whether a state is looked at and not gone on from.
    fn leaf(&self, depth: usize) -> bool {
        if self.replaying.load(Ordering::Relaxed) {
            return false;
        }
        if self.refuted.load(Ordering::Relaxed) {
            return true;
        }
        if depth >= self.depth {
            self.cut.store(true, Ordering::Relaxed);
            return true;
        }
        let late = Instant::now() >= self.deadline;
        if late {
            self.late.store(true, Ordering::Relaxed);
        }
        late
    }

    /// True the first time that it is asked for this property.
    fn first(&self, place: usize) -> bool {
        self.told.fetch_or(1 << place, Ordering::Relaxed) & (1 << place) == 0
    }
}

impl<M> Model for Bounded<M>
where
    M: Model,
    M::State: Clone,
{
    type State = Reached<M::State>;
    type Action = M::Action;

    fn init_states(&self) -> Vec<Self::State> {
        self.model.init_states().into_iter().map(|state| self.reached(state, 0)).collect()
    }

    fn actions(&self, last: &Self::State, actions: &mut Vec<Self::Action>) {
        if !self.leaf(last.depth) {
            self.model.actions(&last.state, actions);
        }
    }

    fn next_state(&self, last: &Self::State, action: Self::Action) -> Option<Self::State> {
        let depth = last.depth + 1;
        match self.model.next_state(&last.state, action) {
            Some(state) => Some(self.reached(state, depth)),
            None if self.walked => Some(Reached { depth, ..last.clone() }),
            None => None,
        }
    }

    fn within_boundary(&self, reached: &Self::State) -> bool {
        self.model.within_boundary(&reached.state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let conditions = conditions::<M>();
        let mut properties: Vec<Property<Self>> = self
            .properties
            .iter()
            .zip(conditions)
            .map(|(property, condition)| Property {
                expectation: property.expectation.clone(),
                name: property.name,
                condition,
            })
            .collect();
        // Without it, stateright ends where every property has its example.
        properties.push(Property::always("nothing ends early", nothing_ends_early));
        properties
    }
}

fn nothing_ends_early<M: Model>(_: &Bounded<M>, _: &Reached<M::State>) -> bool
where
    M::State: Clone,
{
    true
}

/// The condition of the property at `PLACE`. A condition is a function and no closure, so there is
/// one for each place.
fn condition<M: Model, const PLACE: usize>(
    bounded: &Bounded<M>,
    reached: &Reached<M::State>,
) -> bool {
    let property = &bounded.properties[PLACE];
    let holds = (property.condition)(&bounded.model, &reached.state);
    match property.expectation {
        Expectation::Always if !holds => {
            bounded.refuted.store(true, Ordering::Relaxed);
            !bounded.first(PLACE)
        }
        Expectation::Sometimes if holds => bounded.first(PLACE),
        _ => holds,
    }
}

type Condition<M> = fn(&Bounded<M>, &Reached<<M as Model>::State>) -> bool;

fn conditions<M: Model>() -> [Condition<M>; PROPERTIES_MAX] {
    macro_rules! at {
        ($($place:literal)*) => { [$(condition::<M, $place>),*] };
    }
    at!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31)
}

#[cfg(test)]
mod tests;
