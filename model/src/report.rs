//! What a run found, and whether that is what it should have found.

use std::fmt;

use serde::Serialize;

use crate::bounds::{Bounds, Search};

/// What a run must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No property is violated, and every "sometimes" happened.
    Holds,
    /// A canary: this property must be violated.
    Refuted(&'static str),
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Every state that can be reached was looked at.
    Complete,
    /// Every state within `Bounds::depth` actions was looked at.
    CompleteToDepth,
    /// As many states as were asked for.
    States,
    /// Time was over. What was not looked at may hold anything.
    Time,
    /// A property was violated.
    Refuted,
}

/// A path that shows something.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// Which property.
    pub property: String,
    /// The actions from the beginning.
    pub actions: Vec<String>,
    /// The state they lead to.
    pub state: String,
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The name of the model.
    pub model: String,
    /// As they were used.
    pub bounds: Bounds,
    /// Why it ended.
    pub end: End,
    /// Transitions taken, with the initial states.
    pub generated: usize,
    /// Different states; of walks nobody counts them, and this is `generated`.
    pub unique: usize,
    /// Actions to the state farthest away.
    pub depth: usize,
    /// How long it took.
    pub seconds: f64,
    /// Violated properties, each with the first example found.
    pub refuted: Vec<Example>,
    /// What should happen sometimes, and did.
    pub reached: Vec<Example>,
    /// What should happen sometimes, and never did.
    pub missed: Vec<String>,
}

impl Report {
    /// Whether all of what was asked for was looked at.
    pub fn finished(&self) -> bool {
        matches!(self.end, End::Complete | End::CompleteToDepth | End::States)
    }

    /// Generated states per second.
    pub fn rate(&self) -> f64 {
        self.generated as f64 / self.seconds.max(1e-9)
    }

    /// Whether the run came to what it should.
    ///
    /// A run that ended because its time was over passes: it says how many states it saw, and
    /// [`Report::finished`] tells it apart.
    ///
    /// # Errors
    /// Says what is wrong, with the path that shows it.
    pub fn verdict(&self, expected: Expected) -> Result<(), String> {
        match expected {
            Expected::Holds => {
                if let Some(example) = self.refuted.first() {
                    return Err(format!("{}: violated: {example}", self.model));
                }
                if !self.missed.is_empty() {
                    let missed = self.missed.join(", ");
                    return Err(format!("{}: never happened: {missed}", self.model));
                }
                Ok(())
            }
            Expected::Refuted(property) => {
                if self.refuted.iter().any(|example| example.property == property) {
                    return Ok(());
                }
                let found: Vec<&str> =
                    self.refuted.iter().map(|example| &example.property[..]).collect();
                Err(format!(
                    "{}: the checker is blind: {property:?} was not violated in {} states, but \
                     {found:?}",
                    self.model, self.generated
                ))
            }
        }
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({} actions)", self.property, self.actions.len())?;
        for (place, action) in self.actions.iter().enumerate() {
            writeln!(f, "  {:>3} {action}", place + 1)?;
        }
        write!(f, "      {}", self.state.replace('\n', "\n      "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bounds { servers, depth, states, seconds, threads, search } = &self.bounds;
        let limit = |limit: &Option<usize>| limit.map_or("none".to_owned(), |n| n.to_string());
        let search = match search {
            Search::Breadth => "breadth first".to_owned(),
            Search::Walks { seed } => format!("walks from seed {seed}"),
        };
        writeln!(
            f,
            "{}: {search}, servers {servers}, depth {}, states {}, seconds {seconds}, threads \
             {threads}",
            self.model,
            limit(depth),
            limit(states)
        )?;
        writeln!(
            f,
            "  {}: {} generated, {} unique, depth {}, {:.1} s, {:.0} states/s",
            self.end.words(),
            self.generated,
            self.unique,
            self.depth,
            self.seconds,
            self.rate()
        )?;
        for example in &self.reached {
            writeln!(f, "  happened after {}: {}", example.actions.len(), example.property)?;
        }
        for property in &self.missed {
            writeln!(f, "  never happened: {property}")?;
        }
        for example in &self.refuted {
            writeln!(f, "  violated: {example}")?;
        }
        Ok(())
    }
}

impl End {
    fn words(self) -> &'static str {
        match self {
            End::Complete => "complete",
            End::CompleteToDepth => "complete to this depth",
            End::States => "as many states as asked for",
            End::Time => "TIME WAS OVER, incomplete",
            End::Refuted => "refuted",
        }
    }
}
