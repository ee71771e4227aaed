//! `pgraft machine`: state machines, from an empty folder to a running cluster.
//!
//! What needs a compiler or a simulation (new, build, test, check) is another program,
//! `pgraft-check`, found beside this one.

use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use pgraft_host::limits::LimitName;
use pgraft_host::{Change, NewLimits, Sha256Bytes};
use pgraft_node::rpc::{Answer, Op};
use pgraft_node::staging::Module;
use serde_json::{Value, json};

use super::{Connection, Error, outcome, show};

/// The program for what happens at the desk of a machine's author.
const DESK: &str = "pgraft-check";
/// Milliseconds that a change may take at least: every voter compiles the module.
const CHANGE_MS_MIN: u32 = 120_000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Begin a project: `new NAME [--lang rust|c|zig|js]`.
    New(Rest),
    /// Make a module of a project.
    Build(Rest),
    /// Native and WASM agree; restarts and snapshots change nothing.
    Test(Rest),
    /// Judge a module by itself: every order up to a bound, and clusters under faults.
    Check(Rest),
    /// Create a machine.
    Install {
        /// Its name: lower-case letters, digits, _ and -.
        name: String,
        /// The module, a component.
        file: PathBuf,
        /// The machine's first configuration, as it understands it.
        #[arg(long, default_value = "")]
        config: String,
        #[command(flatten)]
        how: How,
    },
    /// Have a machine run another module, with its rows.
    Upgrade {
        /// The machine.
        name: String,
        /// The new module, a component; without it the one that comes with this program.
        file: Option<PathBuf>,
        /// Keep the rows as they are now, so that `rollback --restore` can bring them back.
        #[arg(long)]
        keep_copy: bool,
        /// The version need not rise.
        #[arg(long)]
        any_version: bool,
        #[command(flatten)]
        how: How,
    },
    /// Go back to the module that ran before.
    Rollback {
        /// The machine.
        name: String,
        /// The rows go back to the kept copy: what was written since the upgrade is lost.
        #[arg(long)]
        restore: bool,
        #[command(flatten)]
        how: How,
    },
    /// Forget the kept copy of a machine's rows.
    DropCopy {
        /// The machine.
        name: String,
    },
    /// Set limits of a machine.
    Limits {
        /// The machine.
        name: String,
        /// name=value, as `show` prints them.
        #[arg(required = true, value_parser = limit)]
        limits: Vec<(LimitName, u64)>,
    },
    /// Remove a machine with all its rows, for good.
    Remove {
        /// The machine.
        name: String,
    },
    /// All machines.
    List,
    /// One machine, with everything that is known of it.
    Show {
        /// The machine.
        name: String,
    },
    /// Give a machine a command; exit code 1 when it says no.
    Call(Payload),
    /// Ask a machine, without changing anything.
    Query {
        #[command(flatten)]
        payload: Payload,
        /// Read this node's state, however old.
        #[arg(long)]
        stale: bool,
    },
    /// The last events of a machine.
    Events {
        /// The machine.
        name: String,
        /// Number of the first.
        #[arg(long, default_value_t = 0)]
        since: u64,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
}

/// Handed on as it is.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Rest {
    /// See `pgraft machine COMMAND --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<std::ffi::OsString>,
}

/// How a change is carried out.
#[derive(Debug, Args)]
pub(super) struct How {
    /// Other limits than the usual ones, name=value.
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limit)]
    limits: Vec<(LimitName, u64)>,
    /// Only tell what it would do.
    #[arg(long)]
    dry_run: bool,
    /// A majority of the voters must be ready to run the module, not all.
    #[arg(long)]
    force: bool,
}

/// What a machine is given.
#[derive(Debug, Args)]
pub(super) struct Payload {
    /// The machine.
    name: String,
    /// JSON text, or bytes in hexadecimal with --hex.
    payload: String,
    /// The payload is in hexadecimal.
    #[arg(long)]
    hex: bool,
}

fn limit(text: &str) -> Result<(LimitName, u64), String> {
    let (name, value) = text.split_once('=').ok_or("a limit is name=value")?;
    let known = || LimitName::ALL.map(LimitName::as_str).join(", ");
    let name = LimitName::parse(name)
        .ok_or_else(|| format!("there is no limit \"{name}\"; there are {}", known()))?;
    let value = value.parse().map_err(|_| format!("\"{value}\" is not a number"))?;
    Ok((name, value))
}

pub(super) fn run(connection: &Connection, command: Command) -> Result<(), Error> {
    match command {
        Command::New(rest) => desk("new", rest),
        Command::Build(rest) => desk("build", rest),
        Command::Test(rest) => desk("test", rest),
        Command::Check(rest) => desk("check", rest),
        Command::Install { name, file, config, how } => {
            install(connection, name, &file, config, how)
        }
        Command::Upgrade { name, file, keep_copy, any_version, how } => {
            let module = match &file {
                Some(file) => read(file)?,
                None => built_in(&name)?,
            };
            let expect = runs(connection, &name)?;
            let sha256 = stage(connection, &module)?;
            let limits: NewLimits = how.limits.clone();
            let machine = name;
            let change =
                Change::Upgrade { machine, sha256, expect, any_version, keep_copy, limits };
            carry_out(connection, &change, &how)
        }
        Command::Rollback { name, restore, how } => {
            let expect = runs(connection, &name)?;
            carry_out(connection, &Change::Rollback { machine: name, expect, restore }, &how)
        }
        Command::DropCopy { name } => simple(connection, &Change::DropCopy { machine: name }),
        Command::Limits { name, limits } => {
            simple(connection, &Change::Limit { machine: name, limits })
        }
        Command::Remove { name } => {
            let expect = runs(connection, &name)?;
            simple(connection, &Change::Remove { machine: name, expect })
        }
        Command::List => list(connection),
        Command::Show { name } => {
            println!("{:#}", find(connection, &name)?);
            Ok(())
        }
        Command::Call(payload) => {
            let (machine, payload) = payload.bytes()?;
            reply(connection, Op::Command { machine, payload })
        }
        Command::Query { payload, stale } => {
            let (machine, payload) = payload.bytes()?;
            reply(connection, Op::Query { machine, payload, stale })
        }
        Command::Events { name, since, limit } => events(connection, name, since, limit),
    }
}

/// Becomes the other program.
fn desk(command: &str, rest: Rest) -> Result<(), Error> {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(DESK));
    let program = beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(DESK));
    let error = std::process::Command::new(&program).arg(command).args(rest.arguments).exec();
    Err(Error::Other(format!(
        "run {}: {error} (it comes with pgraft, as a program of its own beside this one)",
        program.display()
    )))
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| Error::Other(format!("{}: {error}", file.display())))
}

fn built_in(name: &str) -> Result<Vec<u8>, Error> {
    let found = pgraft_bundle::modules().iter().find(|module| module.name == name);
    found.map(|module| module.component.to_vec()).ok_or_else(|| {
        Error::Other(format!("no module for \"{name}\" comes with this program; give a file"))
    })
}

/// Stages a module; what identifies it.
fn stage(connection: &Connection, bytes: &[u8]) -> Result<Sha256Bytes, Error> {
    let module = Module::new(bytes).map_err(Error::Other)?;
    for (there, op) in module.stage() {
        outcome(connection.ask(op)?)?;
        progress(connection, &format!("staged {there} of {} bytes", module.size()));
    }
    Ok(module.sha256())
}

fn progress(connection: &Connection, text: &str) {
    if !connection.json && std::io::stderr().is_terminal() {
        eprintln!("{text}");
    }
}

fn install(
    connection: &Connection,
    machine: String,
    file: &Path,
    config: String,
    how: How,
) -> Result<(), Error> {
    let sha256 = stage(connection, &read(file)?)?;
    let (config, limits) = (config.into_bytes(), how.limits.clone());
    carry_out(connection, &Change::Install { machine, sha256, config, limits }, &how)
}

fn simple(connection: &Connection, change: &Change) -> Result<(), Error> {
    carry_out(connection, change, &How { limits: Vec::new(), dry_run: false, force: false })
}

fn carry_out(connection: &Connection, change: &Change, how: &How) -> Result<(), Error> {
    progress(connection, "every voter gets ready; then it is rehearsed and proposed");
    let (dry_run, force) = (how.dry_run, how.force);
    let op = Op::Change { change: change.encode(), dry_run, force };
    match connection.ask_within(connection.timeout.max(CHANGE_MS_MIN), op)? {
        Answer::Json(report) => {
            println!("{report}");
            Ok(())
        }
        answer => {
            let (index, _) = outcome(answer)?;
            match connection.json {
                true => println!("{}", json!({ "index": index })),
                false => println!("OK at index {index}"),
            }
            Ok(())
        }
    }
}

fn machines(connection: &Connection) -> Result<Vec<Value>, Error> {
    match connection.ask(Op::Machines { stale: false })? {
        Answer::Json(text) => {
            serde_json::from_str(&text).map_err(|error| Error::Other(error.to_string()))
        }
        other => Err(Error::Other(format!("the node answered {other:?}"))),
    }
}

fn find(connection: &Connection, name: &str) -> Result<Value, Error> {
    let found = machines(connection)?.into_iter().find(|machine| machine["name"] == name);
    found.ok_or_else(|| Error::Other(format!("there is no machine \"{name}\"")))
}

/// The module that a machine runs, or is migrated to: nobody may change it meanwhile.
fn runs(connection: &Connection, name: &str) -> Result<Sha256Bytes, Error> {
    let machine = find(connection, name)?;
    let text = machine["migrating_to"].as_str().or(machine["sha256"].as_str()).unwrap_or("");
    show::from_hex(text)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Error::Other(format!("the node told an odd hash \"{text}\"")))
}

fn list(connection: &Connection) -> Result<(), Error> {
    let machines = machines(connection)?;
    if connection.json {
        println!("{}", Value::from(machines));
        return Ok(());
    }
    println!("name\tversion\tschema\tstate\trows\tbytes\tsha256");
    for machine in machines {
        let text = |field: &str| match &machine[field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let columns = ["name", "version", "schema", "state", "rows", "bytes"].map(text).join("\t");
        println!("{columns}\t{:.12}", text("sha256"));
    }
    Ok(())
}

impl Payload {
    fn bytes(self) -> Result<(String, Vec<u8>), Error> {
        let Payload { name, payload, hex } = self;
        let bytes = match hex {
            false => payload.into_bytes(),
            true => show::from_hex(&payload)
                .ok_or_else(|| Error::Other(format!("\"{payload}\" is not hexadecimal")))?,
        };
        Ok((name, bytes))
    }
}

fn reply(connection: &Connection, op: Op) -> Result<(), Error> {
    let (index, reply) = connection.ask_machine(op)?;
    match connection.json {
        false => println!("{}", show::text(&reply)),
        true => {
            let value = serde_json::from_slice(&reply)
                .unwrap_or_else(|_| json!({ "hex": pgraft_host::hex(&reply) }));
            println!("{}", json!({ "index": index, "reply": value }));
        }
    }
    Ok(())
}

fn events(connection: &Connection, machine: String, since: u64, limit: u32) -> Result<(), Error> {
    let events = match connection.ask(Op::Events { machine, since, limit })? {
        Answer::Events(events) => events,
        answer => {
            return outcome(answer).map(|_| ());
        }
    };
    for event in events {
        let (topic, payload) = (show::text(&event.topic), show::text(&event.payload));
        match connection.json {
            false => println!("{}\t{}\t{topic}\t{payload}", event.number, event.index),
            true => println!(
                "{}",
                json!({
                    "number": event.number, "index": event.index,
                    "topic": topic, "payload": payload
                })
            ),
        }
    }
    Ok(())
}
