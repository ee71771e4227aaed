//! Nodes of another cluster that know ours by its addresses: somebody copied a settings file and
//! changed the token and some addresses only. They call themselves by the names of ours, and found
//! their own cluster with the rest; nobody may let them in. Not here: our own nodes.

use std::sync::Arc;

use pgraft_host::Applied;
use pgraft_node::settings::Settings;
use pgraft_node::world::Observer;
use pgraft_replica::{Config, Effects, Index, Input, Replica, Restored};

use crate::sim::cluster::{Cluster, run};
use crate::sim::process::Process;
use crate::sim::world::{PEER_PORT, SimWorld};

/// Hosts of strangers are numbered from here; no place has such a number.
const STRANGERS: u64 = 900;

/// What a stranger does is nobody's business, as long as it does it alone.
struct NoEye;

impl Observer for NoEye {
    fn started(&self, _config: &Config, _restored: &Restored) {}

    fn stepped(&self, _input: &Input, _effects: &Effects, _replica: &Replica) {}

    fn applied(&self, _applied: &[Applied], _digests: &(Index, Vec<(u32, u128)>)) {}
}

/// Starts so many strangers, which take themselves for the last of a cluster of `nodes`: the one
/// whose turn it is to lead first is among them, so that two leaders of one name and term meet.
pub(super) fn start(cluster: &mut Cluster, strangers: u64, nodes: u64) {
    let first = nodes + 1 - strangers;
    let address = |place| Cluster::address(if place >= first { STRANGERS } else { 0 } + place);
    let members: Vec<String> =
        (1..=nodes).map(|place| format!("n{place}={}", address(place))).collect();
    for place in first..=nodes {
        settle(cluster, place, members.join(","));
    }
}

fn settle(cluster: &mut Cluster, place: u64, initial_cluster: String) {
    let number = STRANGERS + place;
    let settings = Settings {
        name: format!("n{place}"),
        initial_cluster_token: "another".to_owned(),
        listen_address: format!("0.0.0.0:{PEER_PORT}"),
        initial_cluster,
        initial_cluster_state: "new".to_owned(),
        data_dir: cluster.ground.folder.join(format!("stranger-{place}")),
        ..cluster.ground.template.clone()
    };
    let process = Arc::new(Process::new(number, cluster.ground.seed));
    process.set_job_ms_max(cluster.ground.disk_ms_max);
    let (weather, journal) = (Arc::clone(&cluster.weather), cluster.journal.clone());
    let modules = Arc::clone(&cluster.ground.modules);
    cluster.sim.host(format!("n{number}"), move || {
        let process = Arc::clone(&process);
        let world = SimWorld {
            process: Arc::clone(&process),
            weather: Arc::clone(&weather),
            observer: Arc::new(NoEye),
            modules: Arc::clone(&modules),
        };
        run(process, Arc::new(world), settings.clone(), journal.clone())
    });
}
