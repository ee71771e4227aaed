//! What every PostgreSQL major must show: one server, the whole SQL surface.
#![allow(clippy::unwrap_used, reason = "a statement that fails fails the test")]

use std::time::Duration;

use pgraft_cluster_tests::{Cluster, Module, Server, Sql, Tree, until};

#[test]
fn postgresql_14() {
    smoke(14);
}

#[test]
fn postgresql_15() {
    smoke(15);
}

#[test]
fn postgresql_16() {
    smoke(16);
}

#[test]
fn postgresql_17() {
    smoke(17);
}

#[test]
fn postgresql_18() {
    smoke(18);
}

fn smoke(major: u32) {
    let tree = Tree::of(major);
    not_preloaded(&tree);
    wrong_settings(&tree);
    // After another library that wants shared memory: its hooks must still be called.
    let libraries = ("shared_preload_libraries", "pg_stat_statements, pgraft");
    let mut cluster = Cluster::start_with(tree, 1, &[libraries]);
    let mut sql = cluster.connect(0);
    sql.run("CREATE EXTENSION pg_stat_statements; SELECT count(*) FROM pg_stat_statements")
        .unwrap();
    status(&mut sql);
    store(&mut sql);
    machines(&mut sql);
    arguments(&mut sql);
    privileges(&mut sql);
    settings(&mut sql, major);
    cancel(&cluster, &mut sql);
    other_databases(&cluster, &mut sql);
    worker_restart(&cluster, &mut sql);
    cluster.servers[0].stop();
    cluster.start_server(0);
    cluster.leader();
    assert_eq!(cluster.connect(0).get("a").unwrap().as_deref(), Some("1"), "lost by a restart");
    cluster.assert_never_crashed();
}

fn not_preloaded(tree: &Tree) {
    let mut server = Server::create(tree, "plain", &[]);
    server.start(tree);
    let mut sql = server.connect();
    let refusal = sql.refused("CREATE EXTENSION pgraft");
    assert_eq!(refusal.code, "55000", "{refusal}");
    assert!(refusal.message.contains("shared_preload_libraries"), "{refusal}");
    assert!(refusal.hint.contains("restart the server"), "{refusal}");
    sql.run("LOAD 'pgraft'").expect("loading does no harm");
    server.stop();
}

/// A server whose node cannot start says why, and runs on.
fn wrong_settings(tree: &Tree) {
    let mut server = Server::create(
        tree,
        "wrong",
        &[
            ("shared_preload_libraries", "pgraft"),
            ("pgraft.name", "node9"),
            ("pgraft.listen_address", "127.0.0.1:1"),
            ("pgraft.initial_cluster", "node1=127.0.0.1:1"),
        ],
    );
    server.start(tree);
    server.wait_logged("does not stand in initial_cluster");
    let mut sql = server.connect();
    sql.run("CREATE EXTENSION pgraft").unwrap();
    until("the worker is gone", || (worker_state(&mut sql) == "ERROR").then_some(()));
    assert!(!sql.one::<bool>("SELECT pgraft_is_leader()").unwrap(), "nobody leads here");
    let refusal = sql.refused("SELECT pgraft_kv_put('a', 'b')");
    assert_eq!(refusal.code, "57P03", "{refusal}");
    assert!(refusal.hint.contains("restart the server"), "{refusal}");
    assert_eq!(server.worker(), None, "wrong settings are not tried again and again");
    server.stop();
    server.assert_never_crashed();
}

fn worker_state(sql: &mut Sql) -> String {
    sql.one("SELECT pgraft_get_worker_state()").unwrap()
}

fn status(sql: &mut Sql) {
    assert_eq!(sql.one::<String>("SELECT pgraft_get_version()").unwrap(), "pgraft-1.0.0");
    assert_eq!(worker_state(sql), "RUNNING");
    assert!(sql.one::<bool>("SELECT pgraft_is_leader()").unwrap());
    assert_eq!(sql.one::<i64>("SELECT pgraft_get_leader()").unwrap(), 1);
    assert!(sql.one::<i64>("SELECT pgraft_get_term()").unwrap() >= 1);
    let row = sql.rows("SELECT * FROM pgraft_get_cluster_status()").unwrap().remove(0);
    let (node, state, nodes): (i32, String, i32) =
        (row.get("node_id"), row.get("state"), row.get("num_nodes"));
    assert_eq!((node, state.as_str(), nodes), (1, "leader", 1));
    let _counted: i64 = row.get("elections_triggered");
    let row = sql.rows("SELECT * FROM pgraft_get_nodes()").unwrap().remove(0);
    let (address, leads): (String, bool) = (row.get("address"), row.get("is_leader"));
    assert_eq!((address.as_str(), leads), ("127.0.0.1", true));
    assert!(row.get::<_, i32>("port") > 0);
    for function in ["pgraft_log_get_stats", "pgraft_log_get_replication_status"] {
        until("the first entries are applied", || {
            let row = sql.rows(&format!("SELECT * FROM {function}()")).unwrap().remove(0);
            let (last, applied): (i64, i64) = (row.get("last_index"), row.get("last_applied"));
            assert!(applied <= last, "{function}: {applied} of {last}");
            (applied > 0).then_some(())
        });
    }
    sql.run("DO $$ BEGIN IF NOT pgraft_is_leader() THEN RAISE 'follower'; END IF; END $$").unwrap();
}

fn store(sql: &mut Sql) {
    assert_eq!(sql.one::<String>("SELECT pgraft_kv_list_keys()").unwrap(), "[ ]");
    assert_eq!(sql.get("a").unwrap(), None);
    sql.put("a", "1").unwrap();
    sql.put("b \" ü \n", "{\"timeout\":30,\"retries\":3}").unwrap();
    sql.put("c", "").unwrap();
    assert_eq!(sql.get("a").unwrap().as_deref(), Some("1"));
    assert_eq!(sql.get("b \" ü \n").unwrap().as_deref(), Some("{\"timeout\":30,\"retries\":3}"));
    assert_eq!(sql.get("c").unwrap().as_deref(), Some(""), "an empty value is a value");
    let keys = sql.one::<String>("SELECT pgraft_kv_list_keys()").unwrap();
    assert_eq!(keys, r#"[ "a", "b \" ü \n", "c" ]"#);
    assert!(sql.one::<bool>("SELECT pgraft_kv_exists('c')").unwrap());
    assert!(sql.one::<bool>("SELECT pgraft_kv_delete('c')").unwrap());
    assert!(sql.one::<bool>("SELECT pgraft_kv_delete('c')").unwrap(), "also when it is gone");
    assert!(!sql.one::<bool>("SELECT pgraft_kv_exists('c')").unwrap());
    sql.run("BEGIN; SELECT pgraft_kv_put('kept', '1'); ROLLBACK").unwrap();
    assert_eq!(sql.get("kept").unwrap().as_deref(), Some("1"), "ROLLBACK does not undo a put");
    let (long_key, long_value) = ("k".repeat(1024), "v".repeat(1 << 20));
    sql.put(&long_key, &long_value).unwrap();
    assert_eq!(sql.get(&long_key).unwrap(), Some(long_value), "the limits themselves are allowed");
    sql.run("SELECT count(pgraft_kv_put('many/' || i, 'x')) FROM generate_series(1, 1200) i")
        .unwrap();
    let counted = "SELECT json_array_length(pgraft_kv_list_keys()::json)";
    assert_eq!(sql.one::<i32>(counted).unwrap(), 1204, "more than a page of keys");
    sql.run("SET pgraft.read_consistency = 'stale'").unwrap();
    assert_eq!(sql.get("a").unwrap().as_deref(), Some("1"), "a node reads its own write");
    sql.run("RESET pgraft.read_consistency").unwrap();
}

/// Types and defaults of the functions; tests/machines.rs has what they do.
fn machines(sql: &mut Sql) {
    let module = Module::build("examples/counter", &[]).literal();
    sql.run(&format!("SELECT pgraft_machine_install('fruit', {module})")).unwrap();
    let call = "SELECT pgraft_call('fruit', '{\"add\":\"apples\"}')::text";
    assert_eq!(sql.one::<String>(call).unwrap(), "1");
    let query = "SELECT pgraft_query('fruit', jsonb_build_object('get', 'apples'))::text";
    assert_eq!(sql.one::<String>(query).unwrap(), "1");
    let payload = "SELECT convert_from(payload, 'UTF8') FROM pgraft_events('fruit')";
    assert_eq!(sql.one::<String>(payload).unwrap(), "1");
    let names = "SELECT string_agg(name || ' ' || state, ',' ORDER BY name) FROM pgraft.machines";
    let shown = sql.one::<String>(names).unwrap();
    assert_eq!(shown, "fruit running,kv running,membership running");
}

/// Every wrong argument has its SQLSTATE, and none of them harms the server.
fn arguments(sql: &mut Sql) {
    for (statement, code) in [
        ("SELECT pgraft_kv_put(NULL, 'x')", "22004"),
        ("SELECT pgraft_kv_put('x', NULL)", "22004"),
        ("SELECT pgraft_kv_delete(NULL)", "22004"),
        ("SELECT pgraft_add_node(NULL, 'h', 1)", "22004"),
        ("SELECT pgraft_add_node(9, NULL, 1)", "22004"),
        ("SELECT pgraft_add_node(9, 'h', NULL)", "22004"),
        ("SELECT pgraft_remove_node(NULL)", "22004"),
        ("SELECT pgraft_kv_put('', 'x')", "22023"),
        ("SELECT pgraft_kv_get('')", "22023"),
        ("SELECT pgraft_kv_put(repeat('k', 1025), 'x')", "54000"),
        ("SELECT pgraft_kv_put('k', repeat('v', 1048577))", "54000"),
        ("SELECT pgraft_add_node(0, 'h', 1)", "22023"),
        ("SELECT pgraft_add_node(-1, 'h', 1)", "22023"),
        ("SELECT pgraft_add_node(9, 'h', 0)", "22023"),
        ("SELECT pgraft_add_node(9, 'h', 65536)", "22023"),
        ("SELECT pgraft_add_node(9, 'no host', 1)", "22023"),
        ("SELECT pgraft_remove_node(9)", "42704"),
        ("SELECT pgraft_remove_node(1)", "55000"),
    ] {
        let refusal = sql.refused(statement);
        assert_eq!(refusal.code, code, "{statement}: {refusal}");
    }
    let too_long = sql.refused("SELECT pgraft_kv_put(repeat('k', 1025), 'x')");
    assert_eq!(too_long.message, "key is 1025 bytes long, at most 1024 are allowed");
    for statement in ["SELECT pgraft_kv_get(NULL)", "SELECT pgraft_kv_exists(NULL)::text"] {
        assert_eq!(sql.one::<Option<String>>(statement).unwrap(), None, "{statement}");
    }
}

fn privileges(sql: &mut Sql) {
    sql.run("CREATE ROLE plain; CREATE ROLE monitor IN ROLE pg_monitor; SET ROLE plain").unwrap();
    for statement in [
        "SELECT pgraft_kv_put('a', '2')",
        "SELECT pgraft_kv_delete('a')",
        "SELECT pgraft_kv_get('a')",
        "SELECT pgraft_kv_exists('a')",
        "SELECT pgraft_kv_list_keys()",
        "SELECT pgraft_add_node(9, 'h', 1)",
        "SELECT pgraft_remove_node(1)",
        "SELECT * FROM pgraft_get_nodes()",
    ] {
        assert_eq!(sql.refused(statement).code, "42501", "{statement}");
    }
    for statement in [
        "SELECT pgraft_is_leader(), pgraft_get_leader(), pgraft_get_term(), pgraft_get_version()",
        "SELECT * FROM pgraft_get_cluster_status(), pgraft_log_get_stats()",
    ] {
        sql.run(statement).unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
    sql.run("SET ROLE monitor; SELECT * FROM pgraft_get_nodes(); RESET ROLE").unwrap();
}

fn settings(sql: &mut Sql, major: u32) {
    let count = "SELECT count(*) FROM pg_settings WHERE name LIKE 'pgraft.%'";
    assert_eq!(sql.one::<i64>(count).unwrap(), 12);
    assert_eq!(sql.one::<String>("SHOW pgraft.election_timeout").unwrap(), "1s");
    assert_eq!(sql.refused("SET pgraft.read_consistency = 'wrong'").code, "22023");
    assert_eq!(sql.refused("SET pgraft.name = 'other'").code, "55P02");
    if major >= 15 {
        assert_eq!(sql.refused("SET pgraft.nonsense = 1").code, "42602", "the prefix is reserved");
    }
    sql.run("ALTER SYSTEM SET pgraft.log_level = 'debug'").unwrap();
    sql.run("SELECT pg_reload_conf()").unwrap();
    until("the setting is reloaded", || {
        (sql.one::<String>("SHOW pgraft.log_level").ok()? == "debug").then_some(())
    });
    sql.put("a", "1").unwrap();
}

/// A worker that does not answer holds nobody: timeouts and cancels work.
fn cancel(cluster: &Cluster, sql: &mut Sql) {
    let server = &cluster.servers[0];
    server.signal_worker(libc::SIGSTOP);
    sql.run("SET statement_timeout = 200").unwrap();
    assert_eq!(sql.refused("SELECT pgraft_kv_get('a')").code, "57014");
    sql.run("SET statement_timeout = 0; SET pgraft.request_timeout = 300").unwrap();
    let refusal = sql.refused("SELECT pgraft_kv_put('unknown', '1')");
    assert_eq!(refusal.code, "40003", "{refusal}");
    assert!(refusal.detail.contains("may have taken effect"), "{refusal}");
    assert_eq!(sql.refused("SELECT pgraft_kv_get('a')").code, "57P03", "a read has no effect");
    until("nobody believes a worker that is silent", || {
        (!sql.one::<bool>("SELECT pgraft_is_leader()").ok()?).then_some(())
    });
    until("the worker's silence shows", || (worker_state(sql) == "UNKNOWN").then_some(()));
    server.signal_worker(libc::SIGCONT);
    sql.run("RESET pgraft.request_timeout; SET statement_timeout = 60000").unwrap();
    cluster.leader();
    until("it answers again", || sql.get("a").ok());
    assert_eq!(sql.get("a").unwrap().as_deref(), Some("1"), "no late answer to an old request");
}

fn other_databases(cluster: &Cluster, sql: &mut Sql) {
    sql.run("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0").unwrap();
    let mut latin = cluster.servers[0].try_connect("latin").unwrap();
    latin.run("CREATE EXTENSION pgraft").unwrap();
    latin.put("umlaut ü", "größer").unwrap();
    assert_eq!(latin.get("umlaut ü").unwrap().as_deref(), Some("größer"));
    assert_eq!(sql.get("umlaut ü").unwrap().as_deref(), Some("größer"), "one store per server");
    sql.put("sign", "日本").unwrap();
    assert_eq!(latin.refused("SELECT pgraft_kv_get('sign')").code, "22P05");
}

/// The worker comes back by itself, and no session notices more than an error.
fn worker_restart(cluster: &Cluster, sql: &mut Sql) {
    let server = &cluster.servers[0];
    let before = server.worker().expect("the worker runs");
    server.signal_worker(libc::SIGTERM);
    until("another worker runs", || server.worker().filter(|now| *now != before));
    until("it leads again", || sql.one::<bool>("SELECT pgraft_is_leader()").ok()?.then_some(()));
    let written =
        pgraft_cluster_tests::poll(Duration::from_secs(60), || sql.put("after", "1").ok());
    written.expect("the same session writes again");
}
