//! A node's files, opened and checked against each other and against the settings.

use std::sync::Arc;

use pgraft_host::{Applier, Fault, Machines, Querier};
use pgraft_membership::Member;
use pgraft_replica::limits::{CACHE_BYTES_MAX, TICK_MS};
use pgraft_replica::{Config, Index, Replica, Restored};
use pgraft_store::{Disk, LogStore, OpenError, Opened, StateReader, StateStore};

use crate::applier;
use crate::data_dir;
use crate::duties::MEMBERSHIP;
use crate::genesis::Genesis;
use crate::join;
use crate::log_writer::chain;
use crate::modules::Modules;
use crate::provision::Provision;
use crate::settings::Settings;
use crate::world::World;

/// Why the files cannot be used as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// state.db is damaged or lost, raft.db is whole: a peer has the state, too.
    #[error("{0}")]
    StateLost(String),
    /// In words for the operator, with the way out.
    #[error("{0}")]
    Other(String),
}

impl From<String> for Unusable {
    fn from(why: String) -> Unusable {
        Unusable::Other(why)
    }
}

/// Everything that comes from disk.
pub(crate) struct Files {
    pub(crate) provision: Arc<Provision>,
    pub(crate) log: LogStore,
    pub(crate) opened: Opened,
    pub(crate) applier: Applier,
    pub(crate) replica: Replica,
    pub(crate) members: Vec<Member>,
}

impl Files {
    /// Opens raft.db and state.db and restores the replica; `welcome` is what a node that just
    /// joined was told about its peers.
    ///
    /// # Errors
    /// [`Unusable`].
    pub(crate) async fn open(
        world: &Arc<dyn World>,
        settings: &Settings,
        disk: &Disk,
        modules: &Modules,
        welcome: Option<join::Welcome>,
    ) -> Result<Files, Unusable> {
        let machines = Arc::clone(modules.machines());
        let provision = Provision::new(world, &machines, disk, &disk.dir);
        let (mut log, opened) = LogStore::open(disk).map_err(|error| chain(&error))?;
        let genesis = checked_genesis(settings, &opened)?;
        let applier = open_state(disk, &provision, &opened, &genesis).await?;
        let meta = applier.meta().clone();
        let tail = log.tail(meta.applied, CACHE_BYTES_MAX).map_err(|fault| chain(&fault))?;
        let config = Config {
            id: opened.identity.node,
            seed: world.random()?,
            election_ticks: ticks(settings.election_timeout_ms),
            heartbeat_ticks: ticks(settings.heartbeat_interval_ms),
            keep: settings.log_keep,
        };
        let restored = Restored {
            hard_state: opened.hard_state,
            truncated: opened.truncated,
            terms: opened.terms.clone(),
            tail,
            applied: meta.applied,
            conf: meta.conf.clone(),
        };
        if let Some(observer) = world.observer() {
            observer.started(&config, &restored);
        }
        let replica = Replica::new(config, restored).map_err(|error| chain(&error))?;
        let mut members = members(&machines, disk, opened.generation)?;
        if let Some(welcome) = welcome.filter(|_| meta.applied == Index::ZERO) {
            members = welcome.members();
        }
        let provision = Arc::new(provision);
        Ok(Files { provision, log, opened, applier, replica, members })
    }
}

fn ticks(ms: u64) -> u32 {
    u32::try_from((ms / TICK_MS).max(1)).unwrap_or(u32::MAX)
}

/// Settings that contradict what the directory was made for are refused, not ignored.
fn checked_genesis(settings: &Settings, opened: &Opened) -> Result<Genesis, String> {
    let genesis = Genesis::decode(&opened.genesis).map_err(|error| error.to_string())?;
    if genesis.hash() != opened.identity.genesis_hash {
        return Err("raft.db: genesis and its hash do not agree; the file is damaged".to_owned());
    }
    if genesis.token != settings.initial_cluster_token {
        return Err(format!(
            "initial_cluster_token is \"{}\", but this data directory belongs to a cluster with \
             the token \"{}\"",
            settings.initial_cluster_token, genesis.token
        ));
    }
    Ok(genesis)
}

/// Opens state.db; a damaged one is built anew when the log reaches back to the beginning.
async fn open_state(
    disk: &Disk,
    provision: &Provision,
    opened: &Opened,
    genesis: &Genesis,
) -> Result<Applier, Unusable> {
    let generation = opened.generation;
    let state = match whole_state(disk, generation) {
        Err(error @ OpenError::Damaged { .. }) if opened.truncated.0 == Index::ZERO => {
            tracing::error!(error = chain(&error), "state.db is rebuilt from the log");
            pgraft_store::remove_other_generations(disk, u64::MAX)
                .map_err(|fault| chain(&fault))?;
            data_dir::state_is_whole(&disk.dir).map_err(|error| error.to_string())?;
            StateStore::open(disk, generation)
        }
        opened => opened,
    };
    let state = state.map_err(|error| match error {
        OpenError::Damaged { .. } => Unusable::StateLost(chain(&error)),
        other => Unusable::Other(chain(&other)),
    })?;
    let applied = state.meta().applied;
    if applied < opened.truncated.0 {
        let truncated = opened.truncated.0;
        return Err(Unusable::StateLost(format!(
            "state.db has applied {applied}, but the log begins after {truncated}"
        )));
    }
    pgraft_store::remove_other_generations(disk, generation).map_err(|fault| chain(&fault))?;
    let opened = applier::open(provision, disk, state).await;
    let mut applier = opened.map_err(|fault| chain(&fault))?;
    if !applier.is_bootstrapped() {
        applier.bootstrap(&genesis.bootstrap()).map_err(|fault| match fault {
            // The cluster began with another version of this program; its members have the bytes.
            Fault::MissingModule { .. } => Unusable::StateLost(chain(&fault)),
            other => Unusable::Other(chain(&other)),
        })?;
    }
    Ok(applier)
}

/// Opens state.db unless an earlier check found it damaged.
fn whole_state(disk: &Disk, generation: u64) -> Result<StateStore, OpenError> {
    if data_dir::is_state_damaged(&disk.dir, generation) {
        let what = "its rows did not add up when they were checked".to_owned();
        return Err(OpenError::Damaged { path: disk.dir.clone(), what });
    }
    StateStore::open(disk, generation)
}

/// The member list in state.db.
fn members(machines: &Arc<Machines>, disk: &Disk, generation: u64) -> Result<Vec<Member>, String> {
    let reader = StateReader::open(disk, generation).map_err(|error| chain(&error))?;
    let querier = Querier::open(Arc::clone(machines), reader);
    let mut querier = querier.map_err(|fault| chain(&fault))?;
    let query = pgraft_membership::Query::Members.encode();
    let answer = querier.query(MEMBERSHIP, "sys:node", &query).map_err(|fault| chain(&fault))?;
    let reply = answer.outcome.map_err(|rejection| rejection.message)?;
    match pgraft_membership::Reply::decode(&reply) {
        Ok(pgraft_membership::Reply::Members(members)) => Ok(members),
        other => Err(format!("the membership machine answered {other:?}")),
    }
}
