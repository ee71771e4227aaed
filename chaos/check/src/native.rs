//! The machine as a native program, asked line by line what the module was asked (the protocol of
//! pgraft-sdk, `native::serve`): outcomes, events, wake-up and rows must be equal after every
//! entry. Not here: where the log comes from.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pgraft_host::{HostCode, Outcome, Rejection, Specification, State, Turn, hex};
use pgraft_judge::Rank;
use pgraft_sdk::native::serve::rows_digest;
use serde_json::{Value, json};

use crate::candidate::Candidate;
use crate::facts::grouped;
use crate::log::{Entry, Log, PRINCIPAL, What};
use crate::tally::Part;

/// Name of the part.
pub const NAME: &str = "native";
/// The example of a project that serves the machine.
pub const EXAMPLE: &str = "native";

/// A native program that answers.
pub struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// Builds and starts the program of a project's folder: `cargo run --example native`, or
    /// whatever the project calls that example.
    ///
    /// # Errors
    /// When cargo cannot be started, in words.
    pub fn of_project(folder: &Path) -> Result<Program, String> {
        let named = pgraft_build::Rust::new(folder).native().map_err(|why| why.to_string())?;
        let example = named.as_deref().unwrap_or(EXAMPLE);
        let mut command = Command::new("cargo");
        command.args(["run", "--quiet", "--example", example]).current_dir(folder);
        // The folder of this program's own build, say of its tests, is none of the project's.
        command.env_remove("CARGO_TARGET_DIR");
        Program::start(command)
    }

    /// Starts a program.
    ///
    /// # Errors
    /// When it cannot be started, in words.
    pub fn start(mut command: Command) -> Result<Program, String> {
        let shown = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|why| format!("start {shown}: {why}"))?;
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Program { child, input, output })
    }

    fn ask(&mut self, ask: &Value) -> Result<Value, String> {
        writeln!(self.input, "{ask}").map_err(|why| format!("the native program: {why}"))?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|why| format!("the native program: {why}"))?;
        if line.is_empty() {
            return Err("the native program ended; its words are above".to_owned());
        }
        let told = serde_json::from_str(&line);
        told.map_err(|why| format!("the native program said {:?}: {why}", line.trim_end()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It ends with its input; whether it has ended already does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compares the log with what a native program makes of it.
///
/// # Errors
/// When the program does not answer, in words.
pub fn check(
    program: &mut Program,
    candidate: &Candidate,
    log: &Log,
    repeat: &str,
) -> Result<Part, String> {
    let function = &candidate.function;
    let failed = |says: String| Part {
        repeat: Some(repeat.to_owned()),
        ..Part::new(NAME, Rank::Fail, says)
    };
    let begin = Turn { index: pgraft_replica::Index(0), term: 0, time_ms: 0, entropy: 0 };
    let ask = json!({ "call": "init", "turn": turn(function, &begin), "config": "" });
    let told = program.ask(&ask)?;
    let accepted: Vec<Outcome> = vec![Ok(Vec::new())];
    if let Some(other) = differs(&told, &accepted, &[], &log.initial) {
        return Ok(failed(format!("when it begins: {other}")));
    }
    let mut traps = 0;
    for entry in &log.entries {
        let ask = match &entry.what {
            What::Wake => json!({ "call": "wake", "turn": turn(function, &entry.turn) }),
            What::Commands(commands) => {
                let sent = commands.iter().map(
                    |command| json!({ "principal": PRINCIPAL, "payload": hex(&command.payload) }),
                );
                let sent: Vec<Value> = sent.collect();
                json!({ "call": "apply", "turn": turn(function, &entry.turn), "commands": sent })
            }
        };
        let told = program.ask(&ask)?;
        traps += entry.outcomes.iter().filter(|outcome| is_trap(outcome)).count();
        if let Some(other) = differs(&told, &entry.outcomes, &entry.events, &entry.state) {
            return Ok(failed(format!("{}: {other}", shown(entry))));
        }
        for (query, answer) in &entry.answers {
            let turn = json!({ "seed": 0, "index": entry.turn.index.0, "term": entry.turn.term,
                               "time_ms": entry.turn.time_ms });
            let ask = json!({ "call": "query", "turn": turn, "request": hex(&query.payload) });
            let told = program.ask(&ask)?;
            let same = [answer.clone()];
            if let Some(other) = differs(&told, &same, &[], &entry.state) {
                return Ok(failed(format!("after {}: {}: {other}", shown(entry), query.says)));
            }
        }
    }
    let traps = if traps == 0 { String::new() } else { format!(", {traps} traps") };
    Ok(Part::pass(
        NAME,
        format!(
            "the machine compiled for this computer says the same: {} commands{traps}, {} queries, \
             {} wake-ups",
            grouped(log.commands()),
            grouped(log.queries()),
            grouped(log.wakes())
        ),
    ))
}

/// The line that is due: what the calls came to, what was published, and the state after it. A trap
/// is told without what the machine said when it panicked, which is no part of the outcome.
pub fn due(outcomes: &[Outcome], events: &[(Vec<u8>, Vec<u8>)], state: &State) -> Value {
    let came = |outcome: &Outcome| match outcome {
        Err(rejection) if rejection.code == HostCode::Trap as u32 => json!({ "trap": "" }),
        Err(Rejection { code, message }) => {
            json!({ "error": { "code": code, "message": message } })
        }
        Ok(reply) => json!({ "ok": hex(reply) }),
    };
    let outcomes: Vec<Value> = outcomes.iter().map(came).collect();
    let events: Vec<Value> =
        events.iter().map(|(topic, payload)| json!([hex(topic), hex(payload)])).collect();
    json!({
        "outcomes": outcomes, "events": events, "wake_at_ms": state.wake_ms().unwrap_or(0),
        "rows": rows_digest(state.rows()),
    })
}

/// How an answer differs from what the module says.
fn differs(
    told: &Value,
    outcomes: &[Outcome],
    events: &[(Vec<u8>, Vec<u8>)],
    state: &State,
) -> Option<String> {
    let mut told = told.clone();
    for outcome in told["outcomes"].as_array_mut().into_iter().flatten() {
        if let Some(said) = outcome.get_mut("trap") {
            *said = Value::from("");
        }
    }
    let due = due(outcomes, events, state);
    let fields = ["outcomes", "events", "wake_at_ms", "rows"].into_iter();
    let field = fields.into_iter().find(|field| told[field] != due[field])?;
    Some(format!("{field}: native {}, the module {}", told[field], due[field]))
}

fn shown(entry: &Entry) -> String {
    let index = entry.turn.index;
    match &entry.what {
        What::Wake => format!("entry {index} (wake-up)"),
        What::Commands(commands) => {
            let says: Vec<&str> = commands.iter().map(|command| command.says.as_str()).collect();
            format!("entry {index} ({})", says.join("; "))
        }
    }
}

fn is_trap(outcome: &Outcome) -> bool {
    outcome.as_ref().is_err_and(|rejection| rejection.code == HostCode::Trap as u32)
}

fn turn(function: &Specification, turn: &Turn) -> Value {
    let seed = function.seed(turn);
    json!({ "index": turn.index.0, "term": turn.term, "time_ms": turn.time_ms, "seed": seed })
}
