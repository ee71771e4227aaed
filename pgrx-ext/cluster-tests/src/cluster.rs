//! Several servers that form one cluster on loopback.

use std::net::TcpListener;

use crate::{Server, Setting, Sql, Tree, poll, until};

/// Servers `node1`, `node2`, ... with the ids 1, 2, ...; field order is the order of dropping.
pub struct Cluster {
    /// Position + 1 is the id.
    pub servers: Vec<Server>,
    addresses: Vec<String>,
    settings: Vec<(String, String)>,
    /// What the servers are made of.
    pub tree: Tree,
}

impl Cluster {
    /// `size` servers of the default major, running, with the extension and a leader.
    pub fn start(size: usize) -> Cluster {
        Cluster::start_with(Tree::default_major(), size, &[])
    }

    /// The same with another major or more settings.
    pub fn start_with(tree: Tree, size: usize, settings: &[Setting<'_>]) -> Cluster {
        let addresses = free_ports(size).iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let owned = |(name, value): &Setting<'_>| ((*name).to_owned(), (*value).to_owned());
        let settings = settings.iter().map(owned).collect();
        let mut cluster = Cluster { servers: Vec::new(), addresses, settings, tree };
        for position in 0..size {
            let server = cluster.create(position);
            cluster.servers.push(server);
        }
        for position in 0..size {
            cluster.start_server(position);
        }
        for server in &cluster.servers {
            let mut sql = server.connect();
            sql.run("CREATE EXTENSION pgraft").unwrap_or_else(|e| panic!("{}: {e}", server.name));
        }
        cluster.leader();
        cluster
    }

    fn create(&self, position: usize) -> Server {
        let name = format!("node{}", position + 1);
        let members = self.addresses.iter().enumerate();
        let members = members.map(|(at, address)| format!("node{}={address}", at + 1));
        let members = members.collect::<Vec<_>>().join(",");
        let mut settings: Vec<Setting<'_>> = vec![
            ("shared_preload_libraries", "pgraft"),
            ("pgraft.name", &name),
            ("pgraft.listen_address", &self.addresses[position]),
            ("pgraft.initial_cluster", &members),
        ];
        settings.extend(self.settings.iter().map(|(name, value)| (&**name, &**value)));
        Server::create(&self.tree, &name, &settings)
    }

    /// One more server, which is to join; running, but not yet added to the cluster.
    pub fn start_joining(&mut self) -> usize {
        let port = free_ports(1)[0];
        self.addresses.push(format!("127.0.0.1:{port}"));
        let position = self.servers.len();
        let server = self.create(position);
        server.configure(&[("pgraft.initial_cluster_state", "existing")]);
        self.servers.push(server);
        self.start_server(position);
        let mut sql = self.connect(position);
        sql.run("CREATE EXTENSION pgraft").unwrap_or_else(|e| panic!("joining server: {e}"));
        position
    }

    /// Host and port on which a server talks to its peers.
    pub fn address(&self, position: usize) -> (&str, &str) {
        self.addresses[position].split_once(':').expect("made by free_ports")
    }

    /// Starts a server that does not run.
    pub fn start_server(&mut self, position: usize) {
        self.servers[position].start(&self.tree);
    }

    /// A session with a server, as soon as it accepts one.
    pub fn connect(&self, position: usize) -> Sql {
        self.servers[position].connect()
    }

    /// The position of the leader, once exactly one of the running servers leads and all others
    /// follow it.
    pub fn leader(&self) -> usize {
        let running: Vec<usize> =
            (0..self.servers.len()).filter(|at| self.servers[*at].runs()).collect();
        self.leader_among(&running)
    }

    /// The same among some of the servers; the others are not asked.
    pub fn leader_among(&self, positions: &[usize]) -> usize {
        let mut sessions: Vec<Sql> = positions.iter().map(|at| self.connect(*at)).collect();
        let found = poll(std::time::Duration::from_secs(60), || {
            let mut leaders = Vec::new();
            let mut followed = Vec::new();
            for (sql, at) in sessions.iter_mut().zip(positions) {
                if sql.one("SELECT pgraft_is_leader()").ok()? {
                    leaders.push(*at);
                }
                followed.push(sql.one::<i64>("SELECT pgraft_get_leader()").ok()?);
            }
            let [leader] = leaders.as_slice() else { return None };
            followed.iter().all(|id| *id == id_of(*leader)).then_some(*leader)
        });
        found.unwrap_or_else(|| {
            for server in &self.servers {
                eprintln!("== {}\n{}", server.name, server.log());
            }
            panic!("no agreement about one leader within 60 s")
        })
    }

    /// Waits until a server reads `value` from its own state.
    pub fn wait_has(&self, position: usize, key: &str, value: &str) {
        let mut sql = self.connect(position);
        sql.run("SET pgraft.read_consistency = 'stale'").expect("a user may set it");
        let what = format!("{} has {key} = {value}", self.servers[position].name);
        until(&what, || (sql.get(key).ok()?.as_deref() == Some(value)).then_some(()));
    }

    /// # Panics
    /// When any server crashed.
    pub fn assert_never_crashed(&self) {
        self.servers.iter().for_each(Server::assert_never_crashed);
    }
}

fn id_of(position: usize) -> i64 {
    i64::try_from(position + 1).expect("few servers")
}

/// Ports that are free on loopback now.
pub fn free_ports(count: usize) -> Vec<u16> {
    // All held at once, so that they differ.
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"))
        .collect();
    listeners.iter().map(|one| one.local_addr().expect("it is bound").port()).collect()
}
