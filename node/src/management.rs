//! Changes of the machines: what must be so before one is proposed, and the list of machines.
//!
//! A change goes through the log like any command (`gateway.rs`), but not before every voter has
//! its module ready to run, and a rehearsal on a snapshot came to a good end. So no replica waits
//! for a compiler when the change is applied, and a module that cannot run never gets there.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use pgraft_host::{
    Change, HostCode, Listed, MACHINES, Outcome, Rehearsal, Rejection, Sha256Bytes, hex,
};
use pgraft_replica::{Index, NodeId};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::event::Ask;
use crate::gateway::{Gateway, stopping};
use crate::peer_rpc::{Ask as PeerAsk, Told};
use crate::provision::{Readiness, short};
use crate::rpc::{Answer, Failure, FailureKind};

/// Pause before a voter that is not ready is asked again.
const RETRY: Duration = Duration::from_millis(100);
/// How long a voter may be out of reach, or have trouble of its own, before it is given up.
const TROUBLE: Duration = Duration::from_secs(10);

/// How a change is to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Only tell what it would do.
    pub(crate) dry_run: bool,
    /// A majority of the voters must be ready, not all.
    pub(crate) force: bool,
}

impl Gateway {
    /// Carries out a change of the machines for a client.
    pub(crate) async fn change(
        &self,
        principal: &str,
        change: Change,
        manner: Manner,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        if let Change::Migrate { .. } = change {
            let message = "the leader takes the steps of a migration by itself";
            return Err(Failure::new(FailureKind::BadRequest, message));
        }
        let module = self.module_of(&change, deadline).await?;
        if let Some(sha256) = module
            && let Err(rejection) = self.make_ready(&sha256, manner, deadline).await?
        {
            return Ok(answer(Index::ZERO, Err(rejection)));
        }
        if manner.dry_run || module.is_some() {
            match self.readers().rehearse(change.clone()).await? {
                Ok(rehearsal) if manner.dry_run => return Ok(Answer::Json(told(&rehearsal))),
                Ok(_) => {}
                Err(rejection) => return Ok(answer(Index::ZERO, Err(rejection))),
            }
        }
        let payload = Bytes::from(change.encode());
        let (index, outcome) = self.command(MACHINES, principal, payload, deadline).await?;
        Ok(answer(index, outcome))
    }

    /// The module that a change would have a machine run.
    async fn module_of(
        &self,
        change: &Change,
        deadline: Instant,
    ) -> Result<Option<Sha256Bytes>, Failure> {
        match change {
            Change::Install { sha256, .. } | Change::Upgrade { sha256, .. } => Ok(Some(*sha256)),
            Change::Rollback { machine, .. } => {
                self.wait_until_readable(deadline).await?;
                let machines = self.readers().machines().await?;
                let row = machines.into_iter().find(|listed| listed.name == *machine);
                // It was loaded when it ran, but not by a node that came later.
                Ok(row.and_then(|listed| listed.row.previous).map(|previous| previous.sha256))
            }
            _ => Ok(None),
        }
    }

    /// Waits until the voters have a module ready.
    async fn make_ready(
        &self,
        sha256: &Sha256Bytes,
        manner: Manner,
        deadline: Instant,
    ) -> Result<Result<(), Rejection>, Failure> {
        let Some((id, told)) = self.unready(*sha256, manner, deadline).await? else {
            return Ok(Ok(()));
        };
        let module = short(sha256);
        match told {
            Readiness::Refused(why) => {
                let text = format!("module {module} cannot be run: {why}");
                Ok(Err(Rejection::says(HostCode::BadModule, text)))
            }
            Readiness::NotHere => {
                let text = format!("the bytes of module {module} are not all there");
                Ok(Err(Rejection::says(HostCode::ModuleMissing, text)))
            }
            Readiness::Failed(why) => {
                let message = format!("node {id} is not ready to run module {module}: {why}");
                let hint = "All voters must be ready; a majority is enough with force.";
                Err(Failure::new(FailureKind::NotReady, message).hint(hint))
            }
            Readiness::Ready => unreachable!("it is among the unready"),
        }
    }

    /// Who is not ready though it must be, asked until nothing better can be expected or time is
    /// up. The voters must be, and this node, which rehearses the change.
    async fn unready(
        &self,
        sha256: Sha256Bytes,
        manner: Manner,
        deadline: Instant,
    ) -> Result<Option<(NodeId, Readiness)>, Failure> {
        let (reply, voters) = oneshot::channel();
        self.ask(Ask::Voters { reply });
        let (own, voters) = voters.await.map_err(|_| stopping())?;
        let pending = Readiness::Failed("it did not answer in time".to_owned());
        let mut unready: BTreeMap<NodeId, Readiness> =
            voters.iter().chain([&own]).map(|node| (*node, pending.clone())).collect();
        let mut asking = JoinSet::new();
        for node in unready.keys().copied() {
            let gateway = self.clone();
            asking.spawn(async move {
                let until_ready = gateway.until_ready(node, node == own, sha256, deadline);
                (node, until_ready.await)
            });
        }
        while let Some(told) = asking.join_next().await {
            let (node, told) = told.map_err(|_| stopping())?;
            match told {
                Readiness::Ready => unready.remove(&node),
                // What is wrong with the module says more than who has not answered meanwhile.
                Readiness::Refused(_) => return Ok(Some((node, told))),
                _ => unready.insert(node, told),
            };
            let missing = voters.iter().filter(|voter| unready.contains_key(voter)).count();
            if manner.force && 2 * missing < voters.len() && !unready.contains_key(&own) {
                return Ok(None);
            }
        }
        Ok(unready.pop_first())
    }

    /// Asks one node again and again.
    async fn until_ready(
        &self,
        node: NodeId,
        own: bool,
        sha256: Sha256Bytes,
        deadline: Instant,
    ) -> Readiness {
        let (mut trouble_since, mut told) = (None, Readiness::NotHere);
        while Instant::now() + RETRY < deadline {
            told = if own {
                self.prepare(&sha256).await
            } else {
                match self.call(node, &PeerAsk::Prepare(sha256), deadline).await {
                    Ok(Told::Prepared(engine)) => same_engine(&engine),
                    Ok(Told::Unrunnable(why)) => Readiness::Refused(why),
                    Ok(Told::Missing) => Readiness::NotHere,
                    Ok(Told::Refused(why)) => Readiness::Failed(why),
                    Ok(_) => Readiness::Failed("it answered something else".to_owned()),
                    Err(error) => Readiness::Failed(error.to_string()),
                }
            };
            let now = Instant::now();
            let since = match told {
                Readiness::Ready | Readiness::Refused(_) => break,
                Readiness::NotHere => *trouble_since.insert(now),
                Readiness::Failed(_) => *trouble_since.get_or_insert(now),
            };
            if now.duration_since(since) > TROUBLE {
                break;
            }
            sleep(RETRY).await;
        }
        told
    }

    /// Gets a module ready on this node.
    async fn prepare(&self, sha256: &Sha256Bytes) -> Readiness {
        self.provision().prepare(sha256, self.readers().generation()).await
    }

    /// Answers a peer that wants to know whether this node can run a module.
    pub(crate) async fn serve_prepare(&self, sha256: &Sha256Bytes) -> Told {
        match self.prepare(sha256).await {
            Readiness::Ready => Told::Prepared(pgraft_host::engine_fingerprint()),
            Readiness::NotHere => Told::Missing,
            Readiness::Refused(why) => Told::Unrunnable(why),
            Readiness::Failed(why) => Told::Refused(why),
        }
    }

    /// All machines, as JSON.
    pub(crate) async fn list(&self, stale: bool, deadline: Instant) -> Result<Answer, Failure> {
        if !stale {
            self.wait_until_readable(deadline).await?;
        }
        let machines = self.readers().machines().await?;
        let machines: Vec<serde_json::Value> = machines.iter().map(listed).collect();
        Ok(Answer::Json(serde_json::Value::from(machines).to_string()))
    }

    /// Events of a machine that were kept.
    pub(crate) async fn events(
        &self,
        machine: String,
        since: u64,
        limit: u32,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        self.wait_until_readable(deadline).await?;
        Ok(match self.readers().events(machine, since, limit).await? {
            Some(events) => Answer::Events(events),
            None => answer(Index::ZERO, Err(Rejection::host(HostCode::UnknownMachine))),
        })
    }
}

fn answer(index: Index, outcome: Outcome) -> Answer {
    Answer::Outcome { index: index.0, outcome }
}

/// Two engines that differ may compute differently: machines change when all nodes run the same.
fn same_engine(theirs: &str) -> Readiness {
    let ours = pgraft_host::engine_fingerprint();
    if theirs == ours {
        return Readiness::Ready;
    }
    Readiness::Failed(format!(
        "it runs modules with {theirs:?}, this node with {ours:?}; upgrade the program everywhere"
    ))
}

fn told(rehearsal: &Rehearsal) -> String {
    let manifest = rehearsal.manifest.as_ref();
    serde_json::json!({
        "module": manifest.map(|manifest| &manifest.name),
        "version": manifest.map(|manifest| &manifest.version),
        "schema_now": rehearsal.schema,
        "schema_then": manifest.map(|manifest| manifest.schema),
        "migration_steps": rehearsal.steps,
        "complete": rehearsal.complete,
        "fuel": rehearsal.fuel,
        "rows_written": rehearsal.rows_written,
        "bytes_written": rehearsal.bytes_written,
    })
    .to_string()
}

fn listed(listed: &Listed) -> serde_json::Value {
    let (row, manifest) = (&listed.row, listed.manifest.as_ref());
    let mut values = row.limits;
    let limits: serde_json::Map<String, serde_json::Value> = pgraft_host::limits::LimitName::ALL
        .into_iter()
        .map(|limit| (limit.as_str().to_owned(), (*values.of(limit)).into()))
        .collect();
    serde_json::json!({
        "name": listed.name,
        "module": manifest.map(|manifest| &manifest.name),
        "version": manifest.map(|manifest| &manifest.version),
        "sha256": hex(&row.sha256),
        "schema": row.schema,
        "state": if row.migration.is_some() { "migrating" } else { "running" },
        "migrating_to": row.migration.map(|migration| hex(&migration.to)),
        "migration_step": row.migration.map(|migration| migration.step),
        "previous_sha256": row.previous.map(|previous| hex(&previous.sha256)),
        "has_copy": row.has_copy,
        "rows": listed.rows,
        "bytes": listed.bytes,
        "limits": limits,
        "keyed": manifest.map(|manifest| manifest.keyed),
        "api": manifest.map(|manifest| &manifest.api),
        "changed_index": row.changed_at.0,
        "changed_ms": row.changed_ms,
        "changed_by": row.changed_by,
        "last_failure": row.failure,
    })
}
