//! The settings of a node, the same for the extension (GUCs) and the program (flags,
//! environment, file), and what is wrong with them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pgraft_replica::Keep;

use crate::address::Address;

/// Settings as given; [`Settings::validate`] says whether a node can start with them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name; must stand in `initial_cluster`.
    pub name: String,
    /// Where to listen for peers, `host:port`.
    pub listen_address: String,
    /// All first members, `name=host:port,...`; ids follow the position, from 1.
    pub initial_cluster: String,
    /// `new` to form a cluster, `existing` to join one.
    pub initial_cluster_state: String,
    /// Part of the cluster's identity: clusters with different tokens never talk.
    pub initial_cluster_token: String,
    /// Where raft.db, state.db and the socket live.
    pub data_dir: PathBuf,
    /// Milliseconds within which a follower has noticed that its leader is gone.
    pub election_timeout_ms: u64,
    /// Milliseconds between heartbeats.
    pub heartbeat_interval_ms: u64,
    /// Milliseconds a request may take when the client names no deadline.
    pub request_timeout_ms: u64,
    /// `linearizable` or `stale`.
    pub read_consistency: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// The Unix socket for clients.
    pub socket: PathBuf,
    /// How much of the log is kept for followers that are away; no setting of users yet.
    pub log_keep: Keep,
    /// The program that compiles modules; `None` = `pgraft-compile` beside this program.
    pub compiler: Option<PathBuf>,
    /// Where the replica's inputs and outputs are recorded, if anywhere; of `pgraft node` only.
    pub record: Option<PathBuf>,
    /// Milliseconds between two checkpoints of a small write-ahead log; no setting of users yet.
    /// What is not in a checkpoint cannot be truncated from the log.
    pub checkpoint_ms: u64,
}

/// Smallest and largest election timeout, milliseconds.
pub const ELECTION_TIMEOUT_MS_MIN: u64 = 200;
/// See [`ELECTION_TIMEOUT_MS_MIN`].
pub const ELECTION_TIMEOUT_MS_MAX: u64 = 60_000;
/// Smallest heartbeat interval, milliseconds: one tick.
pub const HEARTBEAT_INTERVAL_MS_MIN: u64 = 10;
/// Largest number of members in `initial_cluster`.
pub const INITIAL_MEMBERS_MAX: usize = 31;
/// Longest name of a node, bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// What is wrong with the settings. Each names the setting, the value and the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Must not be empty.
    #[error("setting {0} is empty")]
    Empty(&'static str),
    /// Outside its range.
    #[error("setting {name} is {value} ms, allowed are {min} to {max} ms")]
    Range {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u64,
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// The heartbeat is too slow for the election timeout.
    #[error(
        "setting heartbeat_interval is {heartbeat} ms, at most a fifth of election_timeout \
         ({election} ms) is allowed"
    )]
    HeartbeatTooSlow {
        /// Heartbeat interval.
        heartbeat: u64,
        /// Election timeout.
        election: u64,
    },
    /// Not one of the words.
    #[error("setting {name} is \"{value}\", allowed are {allowed}")]
    Word {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The words.
        allowed: &'static str,
    },
    /// One member of `initial_cluster` is malformed.
    #[error("setting initial_cluster: \"{0}\" is not name=host:port ({1})")]
    Member(String, String),
    /// A name or address stands twice.
    #[error("setting initial_cluster: {0} stands there twice")]
    Twice(String),
    /// Too many members.
    #[error("setting initial_cluster has {0} members, at most {INITIAL_MEMBERS_MAX} are allowed")]
    TooMany(usize),
    /// The node is not in its own list.
    #[error("setting name is \"{0}\", which does not stand in initial_cluster ({1})")]
    NameMissing(String, String),
    /// A name that is too long or has odd characters.
    #[error("name \"{0}\" is not 1 to {NAME_BYTES_MAX} letters, digits, '.', '_' or '-'")]
    Name(String),
    /// An address that does not parse.
    #[error("setting {0} is \"{1}\": {2}")]
    Address(&'static str, String, String),
}

/// One entry of `initial_cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Position from 1.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where its peers reach it.
    pub address: Address,
}

impl Settings {
    /// What a new user starts from: the README's values; name, cluster and folder are empty.
    pub fn defaults() -> Settings {
        Settings {
            name: String::new(),
            listen_address: String::new(),
            initial_cluster: String::new(),
            initial_cluster_state: "new".to_owned(),
            initial_cluster_token: "pgraft".to_owned(),
            data_dir: PathBuf::new(),
            election_timeout_ms: 1000,
            heartbeat_interval_ms: 100,
            request_timeout_ms: 5000,
            read_consistency: "linearizable".to_owned(),
            log_level: "info".to_owned(),
            socket: PathBuf::new(),
            log_keep: Keep::default(),
            compiler: None,
            record: None,
            checkpoint_ms: 10_000,
        }
    }

    /// Checks everything that can be checked without a disk or a network.
    ///
    /// # Errors
    /// The first thing that is wrong, with the value and the limit.
    pub fn validate(&self) -> Result<(), SettingsError> {
        check_name(&self.name)?;
        self.listen()?;
        if self.initial_cluster_token.is_empty() {
            return Err(SettingsError::Empty("initial_cluster_token"));
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err(SettingsError::Empty("data_dir"));
        }
        word("initial_cluster_state", &self.initial_cluster_state, "new, existing")?;
        word("read_consistency", &self.read_consistency, "linearizable, stale")?;
        word("log_level", &self.log_level, "error, warn, info, debug, trace")?;
        self.check_times()?;
        self.members().map(|_| ())
    }

    fn check_times(&self) -> Result<(), SettingsError> {
        let (election, heartbeat) = (self.election_timeout_ms, self.heartbeat_interval_ms);
        if !(ELECTION_TIMEOUT_MS_MIN..=ELECTION_TIMEOUT_MS_MAX).contains(&election) {
            let (min, max) = (ELECTION_TIMEOUT_MS_MIN, ELECTION_TIMEOUT_MS_MAX);
            return Err(SettingsError::Range {
                name: "election_timeout",
                value: election,
                min,
                max,
            });
        }
        if heartbeat < HEARTBEAT_INTERVAL_MS_MIN {
            let (min, max) = (HEARTBEAT_INTERVAL_MS_MIN, election / 5);
            let name = "heartbeat_interval";
            return Err(SettingsError::Range { name, value: heartbeat, min, max });
        }
        if heartbeat > election / 5 {
            return Err(SettingsError::HeartbeatTooSlow { heartbeat, election });
        }
        if self.request_timeout_ms == 0 {
            let (name, max) = ("request_timeout", u64::from(u32::MAX));
            return Err(SettingsError::Range { name, value: 0, min: 1, max });
        }
        Ok(())
    }

    /// The address to listen on.
    ///
    /// # Errors
    /// When it is not `host:port`.
    pub fn listen(&self) -> Result<Address, SettingsError> {
        Address::parse(&self.listen_address).map_err(|why| {
            SettingsError::Address("listen_address", self.listen_address.clone(), why.to_string())
        })
    }

    /// `initial_cluster` taken apart.
    ///
    /// # Errors
    /// When an entry is malformed or stands twice, or this node is not among them.
    pub fn members(&self) -> Result<Vec<InitialMember>, SettingsError> {
        if self.initial_cluster.trim().is_empty() {
            return Err(SettingsError::Empty("initial_cluster"));
        }
        let (mut members, mut seen) = (Vec::new(), BTreeSet::new());
        for (position, text) in self.initial_cluster.split(',').enumerate() {
            let bad = |why: &str| SettingsError::Member(text.trim().to_owned(), why.to_owned());
            let (name, address) = text.trim().split_once('=').ok_or_else(|| bad("no '='"))?;
            check_name(name.trim())?;
            let address = Address::parse(address).map_err(|why| bad(&why.to_string()))?;
            for one in [name.trim().to_owned(), address.to_string()] {
                if !seen.insert(one.clone()) {
                    return Err(SettingsError::Twice(one));
                }
            }
            members.push(InitialMember {
                id: position as u64 + 1,
                name: name.trim().to_owned(),
                address,
            });
        }
        if members.len() > INITIAL_MEMBERS_MAX {
            return Err(SettingsError::TooMany(members.len()));
        }
        if !members.iter().any(|member| member.name == self.name) {
            return Err(SettingsError::NameMissing(
                self.name.clone(),
                self.initial_cluster.clone(),
            ));
        }
        Ok(members)
    }

    /// Whether this node joins a running cluster.
    pub fn joins(&self) -> bool {
        self.initial_cluster_state == "existing"
    }
}

fn check_name(name: &str) -> Result<(), SettingsError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(SettingsError::Name(name.to_owned()));
    }
    Ok(())
}

fn word(name: &'static str, value: &str, allowed: &'static str) -> Result<(), SettingsError> {
    if allowed.split(", ").any(|known| known == value) {
        return Ok(());
    }
    Err(SettingsError::Word { name, value: value.to_owned(), allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readme() -> Settings {
        Settings {
            name: "node1".to_owned(),
            listen_address: "0.0.0.0:7001".to_owned(),
            initial_cluster: "node1=10.0.1.11:7001,node2=10.0.1.12:7002,node3=10.0.1.13:7003"
                .to_owned(),
            data_dir: PathBuf::from("/var/lib/postgresql/pgraft"),
            ..Settings::defaults()
        }
    }

    #[test]
    fn the_predecessors_readme_works_literally() {
        let settings = readme();
        assert_eq!(settings.validate(), Ok(()));
        let members = settings.members().unwrap();
        assert_eq!(members[2].id, 3);
        assert_eq!(members[2].address.to_string(), "10.0.1.13:7003");
    }

    #[test]
    fn etcd_style_urls_are_taken_as_addresses() {
        let settings = Settings {
            initial_cluster: "node1=http://localhost:2380, b=http://[::1]:2381".to_owned(),
            ..readme()
        };
        assert_eq!(settings.members().unwrap()[1].address.to_string(), "[::1]:2381");
    }

    #[test]
    fn errors_name_the_value_and_the_limit() {
        let told = |change: fn(&mut Settings)| {
            let mut settings = readme();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert_eq!(
            told(|s| s.election_timeout_ms = 5),
            "setting election_timeout is 5 ms, allowed are 200 to 60000 ms"
        );
        assert_eq!(
            told(|s| s.heartbeat_interval_ms = 500),
            "setting heartbeat_interval is 500 ms, at most a fifth of election_timeout (1000 ms) \
             is allowed"
        );
        assert!(told(|s| s.name = "node9".to_owned()).contains("does not stand in"));
        assert!(told(|s| s.initial_cluster = "node1".to_owned()).contains("no '='"));
        assert!(told(|s| s.initial_cluster = "node1=a:1,b=a:1".to_owned()).contains("twice"));
        assert!(told(|s| s.initial_cluster_state = "old".to_owned()).contains("new, existing"));
        assert!(told(|s| s.listen_address = "x".to_owned()).contains("listen_address"));
    }
}
