//! The model's part of a check: commands are drawn, and every order in which clients can bring them
//! into the log is tried, as a function and on four hosts. Not here: the model (pgraft-model).

use std::time::Duration;

use pgraft_chaos::progress::{Stopwatch, Ticker};
use pgraft_chaos::seed::Seed;
use pgraft_judge::Rank;
use pgraft_model::bounds::Bounds;
use pgraft_model::machine::{self, Subject};
use pgraft_model::report::{End, Example, Report};

use crate::candidate::Candidate;
use crate::facts::grouped;
use crate::operations::Operations;
use crate::tally::Part;

/// Name of the part.
pub const NAME: &str = "orders";

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Draws of commands.
    pub rounds: u64,
    /// Time for all of them together.
    pub time: Duration,
}

/// What one round tries.
struct Shape {
    clients: usize,
    commands: usize,
    /// With the four hosts; without, only the function is asked: many times as fast.
    hosts: bool,
}

const SHAPES: [Shape; 2] = [
    Shape { clients: 2, commands: 2, hosts: true },
    Shape { clients: 3, commands: 2, hosts: false },
];

/// Tries all orders of some commands, again and again with others.
///
/// # Errors
/// When the machine refuses to begin, in words.
pub fn check(
    candidate: &Candidate,
    operations: &Operations,
    seed: Seed,
    limits: Limits,
    repeat: String,
) -> Result<Part, String> {
    let watch = Stopwatch::start();
    let mut ticker = Ticker::new();
    let (mut rounds, mut generated, mut cut) = (0, 0, 0);
    for round in 0..limits.rounds {
        let left = limits.time.saturating_sub(watch.elapsed());
        if round > 0 && left.is_zero() {
            break;
        }
        ticker.tell(&format!("orders: round {} of {}", round + 1, limits.rounds));
        let shape = &SHAPES[round as usize % SHAPES.len()];
        let drawn = draw(operations, seed, round, shape);
        let clients: Vec<Vec<Vec<u8>>> =
            drawn.iter().map(|own| own.iter().map(|one| one.0.clone()).collect()).collect();
        let subject = Subject::new(&candidate.module, b"", clients);
        let subject = subject.map_err(|why| why.to_string())?;
        let subject = if shape.hosts { subject } else { subject.alone() };
        let seconds = left.as_secs().max(1);
        let bounds = Bounds { seconds, ..Bounds::everything(shape.clients) };
        let report = machine::check(NAME, subject, &bounds);
        if let Some(example) = report.refuted.first() {
            ticker.end();
            return Ok(refuted(example, &drawn, repeat));
        }
        rounds += 1;
        generated += report.generated;
        cut += usize::from(!is_complete(&report));
    }
    ticker.end();
    let incomplete = match cut {
        0 => String::new(),
        cut => format!(", {cut} of them not to the end for lack of time"),
    };
    Ok(Part::pass(
        NAME,
        format!(
            "every order of {rounds} draws of commands: {} states on a function and four hosts\
             {incomplete}{}",
            grouped(generated),
            if candidate.function.verifies() { "; the invariant held" } else { "" }
        ),
    ))
}

fn is_complete(report: &Report) -> bool {
    report.end == End::Complete
}

/// Commands of each client, with words for people.
fn draw(
    operations: &Operations,
    seed: Seed,
    round: u64,
    shape: &Shape,
) -> Vec<Vec<(Vec<u8>, String)>> {
    let purpose = format!("orders {round}");
    let drawn = operations.commands(seed, &purpose, shape.clients * shape.commands);
    let drawn: Vec<(Vec<u8>, String)> =
        drawn.into_iter().map(|one| (one.payload, one.says)).collect();
    drawn.chunks(shape.commands).map(<[_]>::to_vec).collect()
}

fn refuted(example: &Example, clients: &[Vec<(Vec<u8>, String)>], repeat: String) -> Part {
    let mut detail = Vec::new();
    for (number, commands) in clients.iter().enumerate() {
        let said: Vec<&str> = commands.iter().map(|(_, says)| says.as_str()).collect();
        detail.push(format!("client {number}: {}", said.join(", then ")));
    }
    for (place, action) in example.actions.iter().enumerate() {
        detail.push(format!("{:>3} {action}", place + 1));
    }
    detail.extend(example.state.lines().map(|line| format!("    {line}")));
    let says = format!("violated after {} entries: {}", example.actions.len(), example.property);
    Part { detail, repeat: Some(repeat), ..Part::new(NAME, Rank::Fail, says) }
}
