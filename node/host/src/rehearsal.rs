//! A rehearsal: what a change of the machines would do, on a snapshot and without doing it.
//!
//! Before a change is proposed, the node that was asked rehearses it: a module that cannot begin,
//! or not migrate what is there, is refused before anybody else hears of it. The state may move
//! before the change is applied, so the entry checks everything again.

use std::sync::Arc;

use pgraft_store::Meta;

use crate::call::{Call, Who};
use crate::change::{Change, Sha256Bytes};
use crate::fault::Fault;
use crate::interface::{Context, GuestError, Manifest, Progress};
use crate::invoke::{self, Ended};
use crate::lifecycle::{check_name, conflict, expected, limited, reads, rises};
use crate::limits::{Limits, MIGRATION_COMMANDS};
use crate::machines::Module;
use crate::overlay::Overlay;
use crate::query::{Querier, row_of};
use crate::registration::Registration;
use crate::rejection::{HostCode, Rejection};
use crate::tables::Tables;
use crate::verdict;

/// Steps of a migration that are rehearsed.
const STEPS_MAX: u32 = 1_000;
/// Bytes that a rehearsal may write; they are kept in memory.
const BYTES_MAX: u64 = 64 << 20;

/// What a change would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rehearsal {
    /// What the module that would run says about itself.
    pub manifest: Option<Manifest>,
    /// The schema of the rows now; 0 = there are none yet.
    pub schema: u32,
    /// Steps of the migration that were tried.
    pub steps: u32,
    /// Those were all; otherwise the rehearsal became too long.
    pub complete: bool,
    /// Fuel used.
    pub fuel: u64,
    /// Rows written.
    pub rows_written: u64,
    /// Their bytes.
    pub bytes_written: u64,
}

/// What is tried.
enum Play<'a> {
    Init(&'a [u8]),
    Migrate { schema: u32 },
}

impl Querier {
    /// Tries what a change would do. The inner error is the rejection that it would get.
    ///
    /// # Errors
    /// As [`Querier::query`].
    pub fn rehearse(&mut self, change: &Change) -> Result<Result<Rehearsal, Rejection>, Fault> {
        let reader = self.reader.as_mut().expect("not used again after a fault");
        let meta = reader.begin()?;
        let rehearsed = self.play_out(change, &meta);
        if self.reader.is_some() {
            self.end()?;
        }
        rehearsed
    }

    fn play_out(
        &mut self,
        change: &Change,
        meta: &Meta,
    ) -> Result<Result<Rehearsal, Rejection>, Fault> {
        let Some(name) = change.machine() else { return Ok(Ok(Rehearsal::default())) };
        let reader = self.reader.as_ref().expect("no call is going on");
        let row = row_of(reader, name)?;
        let (module, row, play) = match self.cast(change, name, row) {
            Ok(Some(cast)) => cast,
            Ok(None) => return Ok(Ok(Rehearsal { complete: true, ..Rehearsal::default() })),
            Err(why) => return Ok(Err(why)),
        };
        self.play(name, &module, &row, &play, meta)
    }

    /// Which module would be tried, under which limits, and how; `None` when nothing would run.
    fn cast<'a>(
        &self,
        change: &'a Change,
        name: &str,
        row: Option<Registration>,
    ) -> Result<Option<(Arc<Module>, Registration, Play<'a>)>, Rejection> {
        if let Change::Install { sha256, config, limits, .. } = change {
            check_name(name, row.as_ref())?;
            let limits = limited(Limits::INSTALLED, limits)?;
            let module = self.module(sha256)?;
            let row = Registration::new(0, module.schema(), limits);
            return Ok(Some((module, row, Play::Init(config))));
        }
        let unknown = || Rejection::says(HostCode::UnknownMachine, format!("no machine {name:?}"));
        let mut row = row.ok_or_else(unknown)?;
        match change {
            Change::Upgrade { sha256, expect, any_version, limits, .. } => {
                expected(&row.sha256, expect)?;
                let (old, new) = (self.module(&row.sha256)?, self.module(sha256)?);
                rises(&old, &new, *any_version)?;
                reads(&new, row.schema)?;
                row.limits = limited(row.limits, limits)?;
                let play = Play::Migrate { schema: row.schema };
                Ok(Some((new, row, play)))
            }
            Change::Rollback { restore: false, .. } if row.migration.is_none() => {
                let previous = row.previous.ok_or_else(|| conflict("it has run nothing else"))?;
                let module = self.module(&previous.sha256)?;
                reads(&module, row.schema)?;
                let play = Play::Migrate { schema: row.schema };
                Ok(Some((module, row, play)))
            }
            Change::Limit { limits, .. } => limited(row.limits, limits).map(|_| None),
            _ => Ok(None),
        }
    }

    fn module(&self, sha256: &Sha256Bytes) -> Result<Arc<Module>, Rejection> {
        let missing = || Rejection::host(HostCode::ModuleMissing);
        let module = self.machines.module(sha256).ok_or_else(missing)?;
        module.acceptable().map(|()| module)
    }

    fn play(
        &mut self,
        name: &str,
        module: &Module,
        row: &Registration,
        play: &Play<'_>,
        meta: &Meta,
    ) -> Result<Result<Rehearsal, Rejection>, Fault> {
        let schema = if let Play::Migrate { schema } = play { *schema } else { 0 };
        let manifest = Some(module.manifest().clone());
        let mut rehearsal = Rehearsal { manifest, schema, ..Rehearsal::default() };
        if schema == module.schema() {
            return Ok(Ok(Rehearsal { complete: true, ..rehearsal }));
        }
        let reader = self.reader.take().expect("no call is going on");
        let (mut scratch, index) = (Overlay::new(reader), meta.applied.next());
        let mut outcome = Ok(());
        while rehearsal.steps < STEPS_MAX && scratch.bytes_written < BYTES_MAX {
            let who = Who { index, ..Who::of(name, row) };
            let context =
                Context { index: index.0, term: meta.term.0, time_ms: meta.time_ms, seed: 0 };
            let call = Call::new(Tables::Scratch(scratch), who, 1);
            let (mut call, tried) = match play {
                Play::Init(config) => {
                    let fuel = row.limits.command_fuel;
                    let (call, began) = invoke::init(module, call, fuel, context, config);
                    (call, began.map(|began| began.map(|()| Progress::Done)))
                }
                Play::Migrate { schema } => {
                    let fuel = row.limits.command_fuel.saturating_mul(MIGRATION_COMMANDS);
                    invoke::migrate(module, call, fuel, context, *schema, rehearsal.steps)
                }
            };
            call.close_marks()?;
            rehearsal.fuel = rehearsal.fuel.saturating_add(call.fuel_used);
            rehearsal.steps += 1;
            let Tables::Scratch(tables) = call.tables else { unreachable!("it went in so") };
            scratch = tables;
            match progress(tried)? {
                Ok(Progress::More) => {}
                Ok(Progress::Done) => {
                    rehearsal.complete = true;
                    break;
                }
                Err(why) => {
                    outcome = Err(why);
                    break;
                }
            }
        }
        (rehearsal.rows_written, rehearsal.bytes_written) =
            (scratch.rows_written, scratch.bytes_written);
        self.reader = Some(scratch.into_below());
        Ok(outcome.map(|()| rehearsal))
    }
}

/// What a step came to: this machine's failure outside, the module's own inside.
fn progress(
    tried: Result<Result<Progress, GuestError>, Ended>,
) -> Result<Result<Progress, Rejection>, Fault> {
    match tried {
        Ok(Ok(progress)) => Ok(Ok(progress)),
        Ok(Err(error)) => Ok(Err(verdict::rejection(error).unwrap_or_else(Rejection::host))),
        Err(Ended::Everywhere(code)) => Ok(Err(Rejection::host(code))),
        Err(Ended::Here(Fault::StackOverflow { .. })) => {
            Ok(Err(Rejection::host(HostCode::StackOverflow)))
        }
        Err(Ended::Here(fault)) => Err(fault),
    }
}
