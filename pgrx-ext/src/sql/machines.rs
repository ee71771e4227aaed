//! Changes of the machines: install, upgrade, rollback, limits, remove, and the list of machines.
//!
//! A change goes through the log like a command, so all nodes carry it out at the same place. Its
//! module is staged before, in parts; then every voter compiles it, and it is rehearsed. That takes
//! seconds, and any of it may fail without a change.
//! Not here: what a change does (pgraft-host), and compiling.

use std::time::Duration;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;
use serde_json::{Value, json};

use pgraft_host::limits::{CONFIG_BYTES_MAX, LimitName, MODULE_BYTES_MAX, NAME_BYTES_MAX};
use pgraft_host::{Change, NewLimits, Sha256Bytes, is_name};
use pgraft_node::rpc::{Answer, Op};
use pgraft_node::staging::Module;

use crate::client::{ask, ask_within, outcome};
use crate::json::Json;
use crate::report::Report;
use crate::settings;
use crate::text::Text;

/// What a change is given at least: every voter compiles the module.
const CHANGE_TIMEOUT_MIN: Duration = Duration::from_secs(120);
/// Milliseconds from 1970, where machines' times begin, to 2000, where PostgreSQL's do.
const EPOCH_MS: i64 = 946_684_800_000;

/// Creates a machine. Returns since which log index it is there; with `dry_run` what would happen.
/// With `force` a majority of the voters must be ready to run the module, not all.
#[pg_extern(volatile, parallel_unsafe)]
fn pgraft_machine_install(
    name: Option<Text>,
    module: Option<&[u8]>,
    config: default!(Option<Text>, "''"),
    limits: default!(Option<Json>, NULL),
    dry_run: default!(Option<bool>, false),
    force: default!(Option<bool>, false),
) -> Json {
    let config = config.map(|Text(text)| text.into_bytes());
    let how = How::of(dry_run, force);
    let installed = how.and_then(|how| install(name, module, config, limits, how));
    installed.unwrap_or_else(|report| report.raise())
}

/// The same for machines whose configuration is no text.
#[pg_extern(volatile, parallel_unsafe, name = "pgraft_machine_install")]
fn pgraft_machine_install_bytea(
    name: Option<Text>,
    module: Option<&[u8]>,
    config: Option<&[u8]>,
    limits: default!(Option<Json>, NULL),
    dry_run: default!(Option<bool>, false),
    force: default!(Option<bool>, false),
) -> Json {
    let config = config.map(<[u8]>::to_vec);
    let how = How::of(dry_run, force);
    let installed = how.and_then(|how| install(name, module, config, limits, how));
    installed.unwrap_or_else(|report| report.raise())
}

/// Has a machine run another module, with its rows; without `module` the one that comes with this
/// server, for a built-in machine.
#[pg_extern(volatile, parallel_unsafe)]
fn pgraft_machine_upgrade(
    name: Option<Text>,
    module: default!(Option<&[u8]>, NULL),
    keep_copy: default!(Option<bool>, false),
    any_version: default!(Option<bool>, false),
    limits: default!(Option<Json>, NULL),
    dry_run: default!(Option<bool>, false),
    force: default!(Option<bool>, false),
) -> Json {
    let upgraded = How::of(dry_run, force).and_then(|how| {
        let name = name_of(name)?;
        let keep_copy = flag(keep_copy, "keep_copy")?;
        let any_version = flag(any_version, "any_version")?;
        let limits = limits_of(limits)?;
        let bytes = module.map_or_else(|| built_in(&name), Ok)?;
        let module = checked(bytes)?;
        let expect = runs(&name)?;
        stage(&name, module)?;
        let (machine, sha256) = (name.clone(), module.sha256());
        let change = Change::Upgrade { machine, sha256, expect, any_version, keep_copy, limits };
        carry_out(&name, &change, how)
    });
    upgraded.unwrap_or_else(|report| report.raise())
}

/// Goes back to the module that ran before; with `restore` the rows go back to the kept copy, and
/// what was written since is lost.
#[pg_extern(volatile, parallel_unsafe)]
fn pgraft_machine_rollback(
    name: Option<Text>,
    restore: default!(Option<bool>, false),
    dry_run: default!(Option<bool>, false),
    force: default!(Option<bool>, false),
) -> Json {
    let rolled_back = How::of(dry_run, force).and_then(|how| {
        let name = name_of(name)?;
        let restore = flag(restore, "restore")?;
        let expect = runs(&name)?;
        let change = Change::Rollback { machine: name.clone(), expect, restore };
        carry_out(&name, &change, how)
    });
    rolled_back.unwrap_or_else(|report| report.raise())
}

/// Sets limits of a machine, given as an object of names and numbers.
#[pg_extern(volatile, parallel_unsafe)]
fn pgraft_machine_limits(name: Option<Text>, limits: Option<Json>) -> Json {
    let limited = name_of(name).and_then(|name| {
        let limits = limits.ok_or_else(|| Report::null_argument("limits"))?;
        let limits = limits_of(Some(limits))?;
        if limits.is_empty() {
            return Err(Report::invalid("limits names no limit").hint(limits_hint()));
        }
        carry_out(&name, &Change::Limit { machine: name.clone(), limits }, How::default())
    });
    limited.unwrap_or_else(|report| report.raise())
}

/// Removes a machine with all its rows, for good.
#[pg_extern(volatile, parallel_unsafe)]
fn pgraft_machine_remove(name: Option<Text>) -> Json {
    let removed = name_of(name).and_then(|name| {
        let expect = runs(&name)?;
        carry_out(&name, &Change::Remove { machine: name.clone(), expect }, How::default())
    });
    removed.unwrap_or_else(|report| report.raise())
}

/// Forgets the copy of a machine's rows that an upgrade has kept.
#[pg_extern(volatile, parallel_unsafe)]
fn pgraft_machine_drop_copy(name: Option<Text>) -> Json {
    let dropped = name_of(name).and_then(|name| {
        carry_out(&name, &Change::DropCopy { machine: name.clone() }, How::default())
    });
    dropped.unwrap_or_else(|report| report.raise())
}

/// All machines; the view `pgraft.machines` shows them.
#[pg_extern(volatile, parallel_restricted)]
#[expect(clippy::type_complexity, reason = "pgrx reads the columns from this type")]
fn pgraft_get_machines() -> TableIterator<
    'static,
    (
        name!(name, Text),
        name!(module, Option<Text>),
        name!(version, Option<Text>),
        name!(state, Option<Text>),
        name!(schema, Option<i64>),
        name!(rows, Option<i64>),
        name!(bytes, Option<i64>),
        name!(limits, Json),
        name!(sha256, Option<Text>),
        name!(previous_sha256, Option<Text>),
        name!(has_copy, Option<bool>),
        name!(migrating_to, Option<Text>),
        name!(migration_step, Option<i64>),
        name!(keyed, Option<bool>),
        name!(api, Option<Text>),
        name!(changed_index, Option<i64>),
        name!(changed_at, Option<TimestampWithTimeZone>),
        name!(changed_by, Option<Text>),
        name!(last_failure, Option<Text>),
    ),
> {
    let machines = list(settings::reads_stale()).unwrap_or_else(|report| report.raise());
    TableIterator::new(machines.into_iter().map(|machine| {
        let text = |field: &str| machine[field].as_str().map(|text| Text(text.to_owned()));
        let number = |field: &str| machine[field].as_i64();
        let truth = |field: &str| machine[field].as_bool();
        (
            text("name").unwrap_or(Text(String::new())),
            text("module"),
            text("version"),
            text("state"),
            number("schema"),
            number("rows"),
            number("bytes"),
            Json::of(&machine["limits"]),
            text("sha256"),
            text("previous_sha256"),
            truth("has_copy"),
            text("migrating_to"),
            number("migration_step"),
            truth("keyed"),
            text("api"),
            number("changed_index"),
            number("changed_ms").and_then(time_of),
            text("changed_by"),
            text("last_failure"),
        )
    }))
}

/// How a change is carried out.
#[derive(Clone, Copy, Default)]
struct How {
    dry_run: bool,
    force: bool,
}

impl How {
    fn of(dry_run: Option<bool>, force: Option<bool>) -> Result<How, Report> {
        Ok(How { dry_run: flag(dry_run, "dry_run")?, force: flag(force, "force")? })
    }
}

fn install(
    name: Option<Text>,
    module: Option<&[u8]>,
    config: Option<Vec<u8>>,
    limits: Option<Json>,
    how: How,
) -> Result<Json, Report> {
    let name = name_of(name)?;
    let module = checked(module.ok_or_else(|| Report::null_argument("module"))?)?;
    let config = config.ok_or_else(|| Report::null_argument("config"))?;
    if config.len() > CONFIG_BYTES_MAX {
        return Err(Report::too_long("config", config.len(), CONFIG_BYTES_MAX));
    }
    let limits = limits_of(limits)?;
    if find(&name)?.is_some() {
        // The log refuses it as well; here it costs no transfer of the module.
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
            format!("there is a machine \"{name}\" already"),
        )
        .hint("Take another name, or use pgraft_machine_upgrade."));
    }
    stage(&name, module)?;
    let (machine, sha256) = (name.clone(), module.sha256());
    carry_out(&name, &Change::Install { machine, sha256, config, limits }, how)
}

fn name_of(name: Option<Text>) -> Result<String, Report> {
    let Text(name) = name.ok_or_else(|| Report::null_argument("name"))?;
    if is_name(&name) {
        return Ok(name);
    }
    Err(Report::invalid(format!("\"{name}\" cannot be the name of a machine")).hint(format!(
        "A name is a lower-case letter and up to {} lower-case letters, digits, _ and -; \
         \"machines\" is reserved.",
        NAME_BYTES_MAX - 1
    )))
}

fn flag(value: Option<bool>, name: &str) -> Result<bool, Report> {
    value.ok_or_else(|| Report::null_argument(name))
}

fn limits_of(limits: Option<Json>) -> Result<NewLimits, Report> {
    let Some(Json(text)) = limits else { return Ok(NewLimits::new()) };
    let value: Value = serde_json::from_str(&text).map_err(Report::protocol)?;
    let wrong = |what: String| Report::invalid(what).hint(limits_hint());
    let Value::Object(values) = value else {
        return Err(wrong(format!("limits is {text}, not an object of names and numbers")));
    };
    let limit = |(name, value): (&String, &Value)| {
        let limit =
            LimitName::parse(name).ok_or_else(|| wrong(format!("there is no limit \"{name}\"")))?;
        let value = value
            .as_u64()
            .ok_or_else(|| wrong(format!("limit {name} is {value}, not a whole number")))?;
        Ok((limit, value))
    };
    values.iter().map(limit).collect()
}

fn limits_hint() -> String {
    format!("There are {}.", LimitName::ALL.map(LimitName::as_str).join(", "))
}

/// The module of a built-in machine that comes with this library.
fn built_in(name: &str) -> Result<&'static [u8], Report> {
    let found = pgraft_bundle::modules().iter().find(|module| module.name == name);
    found.map(|module| module.component).ok_or_else(|| {
        Report::null_argument("module").hint(format!(
            "Only built-in machines have one that comes with pgraft, not \"{name}\"."
        ))
    })
}

fn checked(bytes: &[u8]) -> Result<Module<'_>, Report> {
    let most = usize::try_from(MODULE_BYTES_MAX).expect("16 MiB");
    if bytes.len() > most {
        return Err(Report::too_long("module", bytes.len(), most));
    }
    Module::new(bytes).map_err(Report::invalid)
}

/// Has the cluster keep the bytes of a module, part by part.
fn stage(machine: &str, module: Module<'_>) -> Result<(), Report> {
    let size = module.size();
    for (there, part) in module.stage() {
        let staged = ask(part).and_then(|answer| {
            outcome(answer, |rejection| Report::machine_rejection(machine, rejection))
        });
        if let Err(report) = staged {
            // Parts that are there do no harm, and are not sent in vain: no outcome is in doubt.
            return Err(if report.is_unknown() {
                let detail = format!("The module was sent up to byte {there} of {size}.");
                report
                    .with_code(PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW)
                    .detail(detail)
                    .hint("No machine was changed. Try again.")
            } else {
                report
            });
        }
        pgrx::check_for_interrupts!();
    }
    Ok(())
}

fn carry_out(machine: &str, change: &Change, how: How) -> Result<Json, Report> {
    let How { dry_run, force } = how;
    let timeout = settings::request_timeout().max(CHANGE_TIMEOUT_MIN);
    match ask_within(Op::Change { change: change.encode(), dry_run, force }, timeout)? {
        Answer::Json(rehearsal) => Ok(Json(rehearsal)),
        answer => {
            let refused = |rejection: &_| Report::machine_rejection(machine, rejection);
            let (index, _) = outcome(answer, refused)?;
            Ok(Json::of(&json!({ "machine": machine, "index": index })))
        }
    }
}

fn list(stale: bool) -> Result<Vec<Value>, Report> {
    match ask(Op::Machines { stale })? {
        Answer::Json(text) => serde_json::from_str(&text).map_err(Report::protocol),
        _ => Err(Report::protocol("no list of machines")),
    }
}

fn find(name: &str) -> Result<Option<Value>, Report> {
    Ok(list(false)?.into_iter().find(|machine| machine["name"] == name))
}

/// The module that a machine runs, or is being migrated to: the change is refused when anybody
/// has changed it meanwhile.
fn runs(name: &str) -> Result<Sha256Bytes, Report> {
    let machine = find(name)?.ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("there is no machine \"{name}\""),
        )
        .hint("The view pgraft.machines lists all machines.")
    })?;
    let text = machine["migrating_to"].as_str().or(machine["sha256"].as_str()).unwrap_or("");
    hash_of(text).ok_or_else(|| Report::protocol(format!("\"{text}\" as the hash of a module")))
}

fn hash_of(hex: &str) -> Option<Sha256Bytes> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    let bytes: Vec<u8> = digits?.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    bytes.try_into().ok()
}

/// A machine's time as PostgreSQL's; `None` for one that no calendar has, and for 0: a built-in
/// machine that nobody has changed yet.
fn time_of(ms: i64) -> Option<TimestampWithTimeZone> {
    if ms == 0 {
        return None;
    }
    let us = ms.checked_sub(EPOCH_MS)?.checked_mul(1000)?;
    TimestampWithTimeZone::try_from(us).ok()
}
