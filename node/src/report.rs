//! The status report as JSON: what `pgraft status --json` prints and scripts read.

use pgraft_membership::Member;
use pgraft_replica::View;
use pgraft_transport::PeerStatus;
use serde_json::{Value, json};

use crate::status::Status;

/// This node's view of itself, the members and its connections.
pub(crate) fn json(
    status: &Status,
    view: &View,
    members: &[Member],
    connections: &[PeerStatus],
) -> String {
    let members: Vec<Value> = members.iter().map(|one| member(one, view, connections)).collect();
    json!({
        "node_id": status.node_id,
        "state": status.state.name(),
        "term": status.term,
        "leader_id": status.leader_id,
        "commit_index": status.commit,
        "applied_index": status.applied,
        "last_index": status.last_index,
        "first_index": status.first_index,
        "snapshot_index": status.snapshot_index,
        "voters": status.voters,
        "joint": view.joint,
        "messages_sent": status.messages_sent,
        "heartbeats_sent": status.heartbeats_sent,
        "elections_started": status.elections_started,
        "errors": status.errors,
        "log_writes": status.log_writes,
        "pid": status.pid,
        "members": members,
    })
    .to_string()
}

fn member(member: &Member, view: &View, connections: &[PeerStatus]) -> Value {
    let progress = view.peers.iter().find(|peer| peer.id.get() == member.id);
    let connection = connections.iter().find(|peer| peer.node.get() == member.id);
    json!({
        "id": member.id,
        "name": member.name,
        "address": member.address,
        "role": format!("{:?}", member.role).to_lowercase(),
        "leader": view.leader.map_or(0, pgraft_replica::NodeId::get) == member.id,
        "match_index": progress.map(|peer| peer.match_index.0),
        "active": progress.map(|peer| peer.active),
        "connected": connection.map(|peer| peer.connected),
    })
}
