//! Questions: read-only instances on a snapshot of state.db, beside the writer and never in its
//! way. Any number of queriers may run, up to the engine's pool of instances.

use std::sync::Arc;

use pgraft_replica::Index;
use pgraft_store::{AllTotals, Meta, ReadTables, StateReader, Totals};

use crate::blobs;
use crate::call::{Call, Who};
use crate::change::Sha256Bytes;
use crate::fault::Fault;
use crate::fields::Malformed;
use crate::interface::{Caller, Context, GuestCommand, GuestError, Manifest};
use crate::invoke::{self, Ended};
use crate::kept_events::{self, KeptEvent};
use crate::limits::{HOST, NAME_BYTES_MAX, PAGE_ROWS_MAX, QUERY_FUEL};
use crate::machines::{Machines, Module};
use crate::plan::rejected;
use crate::registration::Registration;
use crate::registry;
use crate::rejection::{HostCode, Outcome};
use crate::rows;
use crate::tables::Tables;
use crate::verdict;

/// An answer, and of when it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The applied index of the snapshot.
    pub index: Index,
    /// The machine's answer, or its rejection.
    pub outcome: Outcome,
}

/// A machine, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What its module says about itself.
    pub manifest: Option<Manifest>,
    /// How many rows it has.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// What the host keeps about it.
    pub row: Registration,
}

/// What a guest returned, held to the host's limits.
pub(crate) type Judged = Result<Outcome, HostCode>;

/// Answers queries over one connection, one at a time.
pub struct Querier {
    pub(crate) machines: Arc<Machines>,
    pub(crate) reader: Option<StateReader>,
}

impl Querier {
    /// Takes over a connection.
    ///
    /// # Errors
    /// None today; room for checks of the file.
    pub fn open(machines: Arc<Machines>, reader: StateReader) -> Result<Querier, Fault> {
        Ok(Querier { machines, reader: Some(reader) })
    }

    /// Asks a machine, on the newest committed state. Costs about 25 us.
    ///
    /// # Errors
    /// When this machine fails; the querier is then not used again.
    pub fn query(
        &mut self,
        machine: &str,
        principal: &str,
        request: &[u8],
    ) -> Result<Answer, Fault> {
        tracing::trace!(machine, principal, "query");
        self.ask(machine, |module, call, context| {
            let (call, returned) = invoke::query(module, call, QUERY_FUEL, context, request);
            (call, returned.map(verdict::outcome))
        })
    }

    /// Asks a machine whether it would take a command; advisory, before it enters the log. An
    /// answer of `Ok` says nothing more.
    ///
    /// # Errors
    /// As [`Querier::query`].
    pub fn check(
        &mut self,
        machine: &str,
        principal: &str,
        payload: &[u8],
    ) -> Result<Answer, Fault> {
        let caller = Caller { principal, session: 0, seq: 0 };
        self.ask(machine, |module, call, context| {
            let command = GuestCommand { caller, payload };
            let (call, returned) = invoke::check(module, call, QUERY_FUEL, context, command);
            (call, returned.map(admitted))
        })
    }

    /// All machines, by name.
    ///
    /// # Errors
    /// As [`Querier::query`].
    pub fn machines(&mut self) -> Result<Vec<Listed>, Fault> {
        self.on_snapshot(|machines, reader, totals| {
            let rows = rows::all(reader, rows::MACHINE)?;
            let listed = |(name, row): (Vec<u8>, Vec<u8>)| -> Result<Listed, Fault> {
                let (name, row) = registry::decode(name, &row)?;
                let manifest = machines.manifest(&row.sha256);
                let Totals { rows, bytes, .. } = totals.get(&row.id).copied().unwrap_or_default();
                Ok(Listed { name, manifest, rows, bytes, row })
            };
            rows.into_iter().map(listed).collect()
        })
    }

    /// At most `limit` events that a machine published and the host kept, from number `since` on,
    /// and the index of the snapshot; `None` when there is no such machine.
    ///
    /// # Errors
    /// As [`Querier::query`].
    pub fn events(
        &mut self,
        machine: &str,
        since: u64,
        limit: u32,
    ) -> Result<Option<Vec<KeptEvent>>, Fault> {
        self.on_snapshot(|_, reader, _| {
            let Some(row) = row_of(reader, machine)? else { return Ok(None) };
            kept_events::list(reader, row.id, since, limit.min(PAGE_ROWS_MAX)).map(Some)
        })
    }

    /// The bytes of a module, when all are there.
    ///
    /// # Errors
    /// As [`Querier::query`].
    pub fn component(&mut self, sha256: &Sha256Bytes) -> Result<Option<Vec<u8>>, Fault> {
        self.on_snapshot(|_, reader, _| blobs::read(reader, sha256))
    }

    fn on_snapshot<T>(
        &mut self,
        work: impl FnOnce(&Machines, &StateReader, &AllTotals) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let reader = self.reader.as_mut().expect("not used again after a fault");
        let (_, totals) = reader.begin_with_totals()?;
        let done = work(&self.machines, reader, &totals)?;
        self.end()?;
        Ok(done)
    }

    fn ask(
        &mut self,
        machine: &str,
        make: impl FnOnce(&Module, Call, Context) -> (Call, Result<Judged, Ended>),
    ) -> Result<Answer, Fault> {
        let reader = self.reader.as_mut().expect("not used again after a fault");
        let meta = reader.begin()?;
        let index = meta.applied;
        let (module, who) = match self.look_up(machine, &meta)? {
            Ok(found) => found,
            Err(code) => {
                self.end()?;
                return Ok(Answer { index, outcome: rejected(code) });
            }
        };
        let reader = self.reader.take().expect("looked up over it a moment ago");
        let context = Context { index: index.0, term: meta.term.0, time_ms: meta.time_ms, seed: 0 };
        let (call, returned) = make(&module, Call::new(Tables::Reader(reader), who, 1), context);
        let Tables::Reader(reader) = call.tables else { unreachable!("it went in as a reader") };
        self.reader = Some(reader);
        self.end()?;
        Ok(Answer { index, outcome: answered(returned)? })
    }

    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.reader.as_mut().expect("no call is going on").end().map_err(Fault::from)
    }

    fn look_up(
        &self,
        name: &str,
        meta: &Meta,
    ) -> Result<Result<(Arc<Module>, Who), HostCode>, Fault> {
        let reader = self.reader.as_ref().expect("no call is going on");
        let Some(row) = row_of(reader, name)? else { return Ok(Err(HostCode::UnknownMachine)) };
        if row.migration.is_some() {
            return Ok(Err(HostCode::Migrating));
        }
        let module = self.machines.of(name, &row.sha256)?;
        let who = Who { index: meta.applied, ..Who::of(name, &row) };
        Ok(Ok((module, who)))
    }
}

pub(crate) fn row_of(reader: &StateReader, name: &str) -> Result<Option<Registration>, Fault> {
    if name.len() > NAME_BYTES_MAX {
        return Ok(None);
    }
    let Some(row) = reader.get(HOST, &rows::key(rows::MACHINE, &[name.as_bytes()]))? else {
        return Ok(None);
    };
    Registration::decode(&row).map(Some).map_err(|Malformed| Fault::Row("machine"))
}

/// What a machine that was asked about a command says.
pub(crate) fn admitted(returned: Result<(), GuestError>) -> Judged {
    match returned {
        Ok(()) => Ok(Ok(Vec::new())),
        Err(error) => verdict::rejection(error).map(Err),
    }
}

/// What a question came to.
///
/// # Errors
/// When this machine failed.
pub(crate) fn answered(returned: Result<Judged, Ended>) -> Result<Outcome, Fault> {
    match returned {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(code)) | Err(Ended::Everywhere(code)) => Ok(rejected(code)),
        // Nobody else must agree with an answer.
        Err(Ended::Here(Fault::StackOverflow { .. })) => Ok(rejected(HostCode::StackOverflow)),
        Err(Ended::Here(fault)) => Err(fault),
    }
}
