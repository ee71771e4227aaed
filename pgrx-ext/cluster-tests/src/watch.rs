//! Watches who leads in which term, while a test kills things: no term may have two leaders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Cluster, Sql};

/// Pause between two looks at one server.
const PAUSE: Duration = Duration::from_millis(5);

/// Leaders seen, by term.
type Leaders = BTreeMap<i64, BTreeSet<i32>>;

/// Asks every server again and again, each from a thread of its own.
pub struct Watch {
    stop: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<Leaders>>,
}

impl Watch {
    /// Begins to watch the servers that the cluster has now.
    pub fn start(cluster: &Cluster) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let watch = |folder: PathBuf| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || watch(&folder, &stop))
        };
        let folders = cluster.servers.iter().map(|server| server.socket_folder().to_owned());
        let watchers = folders.map(watch).collect();
        Watch { stop, watchers }
    }

    /// Ends it and judges. Returns how many terms had a leader.
    ///
    /// # Panics
    /// When a term had two leaders, or when none was ever seen: then nothing was watched.
    pub fn judge(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut leaders = Leaders::new();
        for watcher in self.watchers {
            for (term, ids) in watcher.join().expect("a watcher does not panic") {
                leaders.entry(term).or_default().extend(ids);
            }
        }
        judge(&leaders)
    }
}

fn watch(folder: &std::path::Path, stop: &AtomicBool) -> Leaders {
    let (mut leaders, mut session) = (Leaders::new(), None);
    while !stop.load(Ordering::Relaxed) {
        match look(&mut session, folder) {
            Some((term, id)) => {
                leaders.entry(term).or_default().insert(id);
            }
            None => std::thread::sleep(PAUSE),
        }
    }
    leaders
}

/// The term and the id if this server says that it leads.
fn look(session: &mut Option<Sql>, folder: &std::path::Path) -> Option<(i64, i32)> {
    // One row is one reading of the shared memory: term and role belong together.
    const QUERY: &str = "SELECT current_term, node_id FROM pgraft_get_cluster_status() \
                         WHERE state = 'leader'";
    let mut sql = match session.take() {
        Some(sql) => sql,
        None => Sql::connect(folder, "postgres").ok()?,
    };
    let rows = sql.rows(QUERY).ok()?;
    *session = Some(sql);
    let row = rows.first()?;
    std::thread::sleep(PAUSE);
    Some((row.get(0), row.get(1)))
}

fn judge(leaders: &Leaders) -> usize {
    for (term, ids) in leaders {
        assert_eq!(ids.len(), 1, "term {term} had the leaders {ids:?}");
    }
    assert!(!leaders.is_empty(), "no leader was ever seen");
    leaders.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leader_per_term_is_accepted() {
        let leaders = BTreeMap::from([(1, BTreeSet::from([1])), (2, BTreeSet::from([2]))]);
        assert_eq!(judge(&leaders), 2);
    }

    /// Canary: the very thing that is watched for.
    #[test]
    #[should_panic(expected = "term 7 had the leaders {1, 3}")]
    fn canary_two_leaders_in_one_term_are_seen() {
        judge(&BTreeMap::from([(7, BTreeSet::from([1, 3]))]));
    }
}
