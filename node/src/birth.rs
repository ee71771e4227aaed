//! How a node comes into being: its data directory is found, derived from the settings, or filled
//! with what a running cluster tells a node that joins it.

use std::time::Duration;

use bytes::Bytes;
use pgraft_replica::NodeId;
use pgraft_store::{Disk, Identity, LogStore};
use pgraft_transport::{Local, Timing};
use pgraft_watch as watch;

use crate::genesis::Genesis;
use crate::join;
use crate::log_writer::chain;
use crate::modules::Modules;
use crate::settings::Settings;
use crate::world::World;

/// Pause between two rounds of asking to join.
const RETRY_MS: u64 = 500;

/// What [`create`] found or made.
pub(crate) enum Made {
    /// Asked to stop while joining.
    Stopped,
    /// raft.db is there; a node that just joined also knows its peers.
    Exists(Option<join::Welcome>),
}

/// Makes sure that raft.db exists: found, derived from the settings, or joined.
pub(crate) async fn create(
    world: &dyn World,
    settings: &Settings,
    disk: &Disk,
    modules: &Modules,
    stopping: &mut watch::Receiver<bool>,
) -> Result<Made, String> {
    if LogStore::exists(disk) {
        return Ok(Made::Exists(None));
    }
    if !settings.joins() {
        let members = settings.members().map_err(|error| error.to_string())?;
        let own = members.iter().find(|member| member.name == settings.name);
        let id = own.expect("validate() found it").id;
        let genesis = Genesis::new(&settings.initial_cluster_token, &members, modules);
        make(world, disk, &genesis, id)?;
        return Ok(Made::Exists(None));
    }
    let welcome = tokio::select! {
        biased;
        welcome = ask_to_join(world, settings, &[], 0) => welcome?,
        _ = stopping.wait_for(|stop| *stop) => return Ok(Made::Stopped),
    };
    let genesis = Genesis::decode(&welcome.genesis).map_err(|error| error.to_string())?;
    make(world, disk, &genesis, welcome.id)?;
    Ok(Made::Exists(Some(welcome)))
}

fn make(world: &dyn World, disk: &Disk, genesis: &Genesis, id: u64) -> Result<(), String> {
    let node = NodeId::new(id).ok_or("node id 0 is not allowed")?;
    let incarnation = u128::from(world.random()?) << 64 | u128::from(world.random()?);
    let identity =
        Identity { cluster: genesis.cluster(), genesis_hash: genesis.hash(), node, incarnation };
    LogStore::create(disk, &identity, &genesis.encode()).map_err(|fault| chain(&fault))
}

fn token(settings: &Settings) -> Bytes {
    Bytes::from(settings.initial_cluster_token.clone())
}

/// Asks one member after the other until one knows this node: those at `known` and those of the
/// settings; `incarnation` is 0 before it has a data directory.
pub(crate) async fn ask_to_join(
    world: &dyn World,
    settings: &Settings,
    known: &[String],
    incarnation: u128,
) -> Result<join::Welcome, String> {
    let members = settings.members().map_err(|error| error.to_string())?;
    let own = members.iter().find(|member| member.name == settings.name);
    let own = own.expect("validate() found it").address.to_string();
    let (token_text, address) = (settings.initial_cluster_token.clone(), own.clone());
    let request = join::Request { token: token_text, address, incarnation };
    let named = members.iter().map(|member| member.address.to_string());
    let mut addresses: Vec<String> = known.iter().cloned().chain(named).collect();
    addresses.retain(|address| *address != own);
    if addresses.is_empty() {
        return Err(format!("initial_cluster names no other member than {own} to ask"));
    }
    let mut told = String::new();
    loop {
        for address in &addresses {
            let (net, wait) = (world.peers(), Timing::default().join);
            let asked = request.encode();
            let asked = pgraft_transport::join(&net, address, token(settings), asked, wait).await;
            match asked.map_err(|error| error.to_string()) {
                Ok(welcome) => {
                    return join::Welcome::decode(&welcome).map_err(|error| error.to_string());
                }
                Err(why) if why != told => {
                    tracing::warn!(peer = address, why, "not admitted yet");
                    told = why;
                }
                Err(_said_already) => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

/// Who this node is, for the transport.
pub(crate) fn local(
    world: &dyn World,
    settings: &Settings,
    identity: &Identity,
) -> Result<Local, String> {
    Ok(Local {
        cluster: identity.cluster,
        genesis_hash: identity.genesis_hash,
        node: identity.node,
        incarnation: identity.incarnation,
        token: token(settings),
        seed: world.random()?,
        timing: Timing::default(),
    })
}
