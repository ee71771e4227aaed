//! The statements and settings of the README and of docs/WRITE_A_MACHINE.md, as written.
#![allow(clippy::unwrap_used, reason = "a statement that fails fails the test")]

use pgraft_cluster_tests::{Cluster, Module, Server, Tree, free_ports, until};

const README: &str = include_str!("../../../README.md");
const TUTORIAL: &str = include_str!("../../../docs/WRITE_A_MACHINE.md");

/// The lines of the page's code block that begins with `first`.
fn block(page: &str, first: &str) -> Vec<String> {
    let lines = page.lines().skip_while(|line| !line.starts_with(first));
    let lines: Vec<String> =
        lines.take_while(|line| !line.starts_with("```")).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "the page has no block that begins with {first}");
    lines
}

#[test]
fn the_statements_of_the_readme_work_as_written() {
    let cluster = Cluster::start(3);
    cluster.leader();
    cluster.connect(1).run("CREATE DATABASE readme").unwrap();
    let mut sql = cluster.servers[1].try_connect("readme").unwrap();
    let statements = block(README, "CREATE EXTENSION");
    for statement in &statements {
        // A member can be removed when its addition is through.
        until(statement, || sql.run(statement).ok());
    }
    assert!(statements.len() >= 8, "only {statements:?}");
}

#[test]
fn the_settings_of_the_readme_work_as_written() {
    let tree = Tree::default_major();
    let lines = block(README, "shared_preload_libraries");
    let mut settings: Vec<(String, String)> = lines
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(" = ").unwrap();
            (name.to_owned(), value.trim_matches('\'').to_owned())
        })
        .collect();
    // The README's port may be taken on this machine; everything else is as written.
    let listen = settings.iter_mut().find(|(name, _)| name == "pgraft.listen_address").unwrap();
    listen.1 = format!("0.0.0.0:{}", free_ports(1)[0]);
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut server = Server::create(&tree, "readme", &settings);
    server.start(&tree);
    let mut sql = server.connect();
    sql.run("CREATE EXTENSION pgraft").unwrap();
    let text = "SELECT string_agg(node_id || ' ' || address || ' ' || port, ',' ORDER BY node_id) \
                FROM pgraft_get_nodes()";
    let nodes = until("the node answers", || sql.one::<String>(text).ok());
    assert_eq!(nodes, "1 10.0.1.11 7001,2 10.0.1.12 7002,3 10.0.1.13 7003");
    assert!(!sql.one::<bool>("SELECT pgraft_is_leader()").unwrap(), "one of three leads alone");
    server.assert_never_crashed();
}

#[test]
fn the_statements_of_the_tutorial_work_as_written() {
    let stock = Module::of_new_project("stock");
    let cluster = Cluster::start(3);
    cluster.leader();
    let mut sql = cluster.connect(1);
    let install = format!("SELECT pgraft_machine_install('stock', {})", stock.literal());
    sql.run(&install).unwrap();
    let statements = block(TUTORIAL, "SELECT pgraft_call('stock'");
    for statement in &statements {
        let rows = sql.rows(statement).unwrap();
        assert!(!rows.is_empty(), "{statement}");
    }
    assert!(statements.len() >= 4, "only {statements:?}");
    let asked = "SELECT pgraft_query('stock', '{\"get\":\"apples\"}'::jsonb)::text";
    assert_eq!(sql.one::<String>(asked).unwrap(), "3");
    cluster.assert_never_crashed();
}
