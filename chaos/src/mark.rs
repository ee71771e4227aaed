//! The names of what a run may report to have happened ("sometimes" conditions). A scenario says
//! which of them it wants; one that never happened means that the run tested nothing. Not here:
//! who notices them (`sim`).

/// Every mark with what it means. Sorted by name.
pub const MARKS: [(&str, &str); 41] = [
    ("bit_flipped", "a bit of a stored file flipped"),
    ("clock_jumped", "the wall clock of a running node jumped"),
    ("crash_inside_commit", "a process died between the first and the last disk call of a commit"),
    ("crash_with_unsynced_writes", "the power failed while writes were not synced"),
    ("damaged_node_stopped", "a node stopped by itself because its disk had been damaged"),
    ("disk_full_seen", "a write was refused because the disk was full"),
    ("follower_forwarded", "a follower forwarded a client's request to the leader"),
    ("frame_refused", "a node refused a damaged or foreign frame"),
    ("joint_crashed_through", "a node died while the configuration was joint"),
    ("joint_entered", "the configuration became joint"),
    ("leader_changed_during_upgrade", "a leader was elected while a machine was being upgraded"),
    ("leader_changed_with_write_in_flight", "a leader was elected while a client's write waited"),
    ("leader_elected", "a leader was elected"),
    ("leader_paused", "all clocks of a leader stood still, and it went on"),
    ("leadership_transferred", "leadership was handed over on purpose"),
    ("lease_expired", "a lease ended because its time was over"),
    (
        "log_loss_noticed",
        "a node was told of entries that it had acknowledged and lost, and stopped",
    ),
    ("member_added", "a new node became a voter"),
    ("member_removed", "a member left for good"),
    ("migration_failed_back", "a migration failed on the way, and the old module runs again"),
    ("module_migrated_in_steps", "a machine came to another schema in several steps"),
    ("module_rolled_back", "a machine went back to the module that it ran before"),
    ("module_upgraded", "a machine came to run another module"),
    ("node_found_itself_removed", "a node stopped because it is no member any more"),
    ("node_joined", "a new node was accepted"),
    ("node_refused_old_disk", "a node with an older or damaged disk refused to take part"),
    ("node_refused_wiped_disk", "a node with an empty disk did not take part under its old name"),
    ("node_rejoined", "a node that lost its disk took part again as a new member"),
    ("node_stopped_on_io_error", "a node stopped because its disk failed"),
    ("node_stopped_on_slow_disk", "a node stopped because its disk had not answered for too long"),
    ("other_build_started", "a node came back with a build that carries another module"),
    ("read_refused_without_quorum", "a linearizable read was refused because of no majority"),
    ("session_reply_replayed", "a repeated command was answered with the reply of the first time"),
    ("snapshot_installed", "a follower replaced its state by a snapshot"),
    ("snapshot_sent", "a leader sent a snapshot"),
    ("state_rebuilt", "a damaged state was rebuilt from the log or fetched from a peer"),
    ("stranger_refused", "a node refused one of another cluster, for that reason"),
    ("time_jump_noticed", "a process noticed that it had not run for a while"),
    ("torn_write", "the power failed in the middle of a write, and part of it stayed"),
    ("unknown_operation", "a client never learned whether its command was carried out"),
    ("write_misdirected", "a write went to another place of its file"),
];

/// Whether `name` is one of [`MARKS`].
pub fn is_known(name: &str) -> bool {
    MARKS.binary_search_by_key(&name, |(known, _)| known).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_sorted_and_found() {
        assert!(MARKS.is_sorted_by(|one, next| one.0 < next.0));
        assert!(MARKS.iter().all(|(name, _)| is_known(name)));
        assert!(!is_known("leader_elect"));
    }
}
