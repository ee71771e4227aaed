//! Writes keys without pause, while a test kills things, and remembers which were acknowledged.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Cluster, Sql, until};

/// Pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(10);
/// Time a write may take, so that a server that is cut off is left soon.
const REQUEST_TIMEOUT_MS: u32 = 2000;

/// One writer; each attempt has a key of its own, and goes to the next server after a failure.
pub struct Writer {
    stop: Arc<AtomicBool>,
    attempts: Arc<AtomicUsize>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Begins to write to the servers that the cluster has now; keys begin with `name`.
    pub fn start(cluster: &Cluster, name: &str) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let attempts = Arc::new(AtomicUsize::new(0));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let folders: Vec<PathBuf> =
            cluster.servers.iter().map(|server| server.socket_folder().to_owned()).collect();
        let name = name.to_owned();
        let thread = {
            let (stop, attempts) = (Arc::clone(&stop), Arc::clone(&attempts));
            let acknowledged = Arc::clone(&acknowledged);
            std::thread::spawn(move || write(&folders, &name, &stop, &attempts, &acknowledged))
        };
        Writer { stop, attempts, acknowledged, thread }
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until `more` further writes were acknowledged.
    pub fn wait_for(&self, more: usize) {
        let goal = self.acknowledged() + more;
        until(&format!("{goal} writes are acknowledged"), || {
            (self.acknowledged() >= goal).then_some(())
        });
    }

    /// Ends it and looks for every acknowledged write on every running server, by linearizable
    /// reads. Returns how many there were.
    ///
    /// # Panics
    /// When one is lost.
    pub fn judge(self, cluster: &Cluster) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer does not panic");
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!acknowledged.is_empty(), "no write was ever acknowledged");
        for server in cluster.servers.iter().filter(|server| server.runs()) {
            let mut sql = server.connect();
            let keys = sql.one::<String>("SELECT pgraft_kv_list_keys()");
            let keys = keys.unwrap_or_else(|e| panic!("{}: {e}", server.name));
            let lost = missing(&acknowledged, &keys);
            assert!(lost.is_empty(), "{} lost acknowledged writes: {lost:?}", server.name);
        }
        let attempts = self.attempts.load(Ordering::Relaxed);
        println!("{} of {attempts} writes acknowledged, none lost", acknowledged.len());
        acknowledged.len()
    }
}

fn write(
    folders: &[PathBuf],
    name: &str,
    stop: &AtomicBool,
    attempts: &AtomicUsize,
    acknowledged: &Mutex<Vec<String>>,
) {
    let (mut at, mut session) = (0, None);
    while !stop.load(Ordering::Relaxed) {
        let key = format!("{name}/{}", attempts.fetch_add(1, Ordering::Relaxed));
        if attempt(&mut session, &folders[at], &key).is_some() {
            acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        } else {
            at = (at + 1) % folders.len();
            std::thread::sleep(PAUSE);
        }
    }
}

fn attempt(session: &mut Option<Sql>, folder: &std::path::Path, key: &str) -> Option<()> {
    let mut sql = match session.take() {
        Some(sql) => sql,
        None => {
            let mut sql = Sql::connect(folder, "postgres").ok()?;
            sql.run(&format!("SET pgraft.request_timeout = {REQUEST_TIMEOUT_MS}")).ok()?;
            sql
        }
    };
    sql.put(key, "written").ok()?;
    *session = Some(sql);
    Some(())
}

/// Which of `keys` do not stand in a JSON array of plain strings.
fn missing<'a>(keys: &'a [String], json: &str) -> Vec<&'a str> {
    let list = json.trim_start_matches("[ ").trim_end_matches(" ]");
    let present: std::collections::BTreeSet<&str> =
        list.split(", ").map(|key| key.trim_matches('"')).collect();
    keys.iter().map(String::as_str).filter(|key| !present.contains(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_there_are_found() {
        let keys = ["w/1".to_owned(), "w/2".to_owned()];
        assert!(missing(&keys, r#"[ "w/1", "w/2", "w/3" ]"#).is_empty());
    }

    /// Canary: a lost write is what the writer is for.
    #[test]
    fn canary_a_lost_write_is_seen() {
        let keys = ["w/1".to_owned(), "w/2".to_owned()];
        assert_eq!(missing(&keys, r#"[ "w/1" ]"#), ["w/2"]);
        assert_eq!(missing(&keys, "[ ]"), ["w/1", "w/2"]);
    }
}
