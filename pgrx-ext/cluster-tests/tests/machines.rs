//! State machines from SQL: installed, used, changed and removed, from servers that do not lead.
#![allow(clippy::unwrap_used, reason = "a statement that fails fails the test")]

use pgraft_cluster_tests::{Cluster, Module, Sql, bytea, until};

/// The counter as a user writes it: it takes JSON.
fn counter() -> Module {
    Module::build("examples/counter", &[])
}

/// What a JSON machine answers, as text.
fn json(sql: &mut Sql, expression: &str) -> String {
    sql.one(&format!("SELECT ({expression})::text")).unwrap_or_else(|e| panic!("{expression}: {e}"))
}

fn refused(sql: &mut Sql, expression: &str, code: &str, words: &str) {
    let refusal = sql.refused(&format!("SELECT {expression}"));
    let shown: String = expression.chars().take(200).collect();
    assert_eq!(refusal.code, code, "{shown}: {refusal}");
    assert!(refusal.to_string().contains(words), "{shown}: {refusal}");
}

/// A column of a machine's row, as text.
fn shows(sql: &mut Sql, machine: &str, column: &str) -> Option<String> {
    let row = format!("SELECT ({column})::text FROM pgraft.machines WHERE name = '{machine}'");
    sql.rows(&row).unwrap().first().and_then(|row| row.get(0))
}

#[test]
fn a_machine_lives_from_install_to_remove() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut sql = cluster.connect((leader + 1) % 3);
    let module = counter();
    install(&mut sql, &module);
    use_it(&cluster, leader, &mut sql);
    events(&mut sql);
    upgrade(&mut sql, &module);
    limits(&mut sql);
    json(&mut sql, "pgraft_machine_remove('fruit')");
    assert_eq!(shows(&mut sql, "fruit", "name"), None);
    refused(&mut sql, "pgraft_call('fruit', '{}')", "42704", "code 10");
    refused(&mut sql, "pgraft_query('fruit', '{}')", "42704", "code 10");
    refused(&mut sql, "pgraft_machine_remove('fruit')", "42704", "no machine \"fruit\"");
    refused(&mut sql, "pgraft_machine_remove('kv')", "55000", "code 16");
    cluster.assert_never_crashed();
}

fn install(sql: &mut Sql, module: &Module) {
    let literal = module.literal();
    let dry = json(sql, &format!("pgraft_machine_install('fruit', {literal}, dry_run => true)"));
    assert!(dry.contains("\"module\": \"counter\"") && dry.contains("\"complete\": true"), "{dry}");
    assert_eq!(shows(sql, "fruit", "name"), None, "a dry run changes nothing");
    let limits = "limits => '{\"events_kept\": 5}'";
    let done = json(sql, &format!("pgraft_machine_install('fruit', {literal}, {limits})"));
    assert!(done.contains("\"index\": ") && done.contains("\"machine\": \"fruit\""), "{done}");
    for (column, value) in
        [("state", "running"), ("module", "counter"), ("schema", "1"), ("changed_by", "postgres")]
    {
        assert_eq!(shows(sql, "fruit", column).as_deref(), Some(value), "{column}");
    }
    assert_eq!(shows(sql, "kv", "changed_at"), None, "nobody changed it");
    assert_eq!(shows(sql, "fruit", "limits->>'events_kept'").as_deref(), Some("5"));
    assert_eq!(shows(sql, "fruit", "now() - changed_at < '10 minutes'").as_deref(), Some("true"));
    assert_eq!(shows(sql, "fruit", "api LIKE '%{\"add\":NAME}%'").as_deref(), Some("true"));
    refused(sql, &format!("pgraft_machine_install('fruit', {literal})"), "42710", "already");
    refused(sql, &format!("pgraft_machine_install('Fruit', {literal})"), "22023", "lower-case");
    refused(sql, &format!("pgraft_machine_install('machines', {literal})"), "22023", "reserved");
    for (bytes, words) in [
        (&b"hello, world"[..], "no WebAssembly component"),
        (b"\0asm\x01\0\0\0", "core module"),
        (b"", "begins with []"),
    ] {
        let literal = Module::of(bytes).literal();
        refused(sql, &format!("pgraft_machine_install('bad', {literal})"), "22023", words);
    }
    let broken = Module::of(b"\0asm\x0d\0\x01\0garbage").literal();
    refused(sql, &format!("pgraft_machine_install('bad', {broken})"), "22023", "code 15");
    let empty = Module::of(b"\0asm\x0d\0\x01\0").literal();
    refused(sql, &format!("pgraft_machine_install('bad', {empty})"), "22023", "code 15");
    let large = "pgraft_machine_install('bad', decode(repeat('00', (16 << 20) + 1), 'hex'))";
    refused(sql, large, "54000", "16777217 bytes");
    for statement in [
        "pgraft_machine_install(NULL, '')",
        "pgraft_machine_install('bad', NULL)",
        "pgraft_machine_install('bad', '', dry_run => NULL)",
        "pgraft_machine_upgrade('fruit')",
    ] {
        refused(sql, statement, "22004", "must not be null");
    }
}

fn use_it(cluster: &Cluster, leader: usize, sql: &mut Sql) {
    assert_eq!(json(sql, "pgraft_call('fruit', '{\"add\":\"apples\"}')"), "1", "a plain literal");
    let typed = "pgraft_call('fruit', jsonb_build_object('add', 'apples'))";
    assert_eq!(json(sql, typed), "2", "a jsonb");
    let bytes = bytea(b"{\"add\":\"apples\"}");
    let reply: Vec<u8> = sql.one(&format!("SELECT pgraft_call('fruit', {bytes})")).unwrap();
    assert_eq!(reply, b"3", "JSON is bytes too");
    sql.run("BEGIN; SELECT pgraft_call('fruit', '{\"add\":\"pears\"}'); ROLLBACK").unwrap();
    let pears = "pgraft_query('fruit', '{\"get\":\"pears\"}')";
    for position in 0..3 {
        let mut sql = cluster.connect(position);
        assert_eq!(json(&mut sql, pears), "1", "not undone by ROLLBACK");
        let typed = "pgraft_query('fruit', jsonb_build_object('get', 'apples'))";
        assert_eq!(json(&mut sql, typed), "3", "node{}", position + 1);
        sql.run("SET pgraft.read_consistency = 'stale'").unwrap();
        until("an old state has it too", || (json(&mut sql, pears) == "1").then_some(()));
    }
    let asked: Vec<u8> = sql
        .one(&format!("SELECT pgraft_query('fruit', {})", bytea(b"{\"get\":\"apples\"}")))
        .unwrap();
    assert_eq!(asked, b"3");
    assert_eq!(shows(sql, "fruit", "rows").as_deref(), Some("2"));

    // The machine's own "no", the SDK's, and what is no JSON.
    refused(sql, "pgraft_call('fruit', '{\"add\":\"\"}')", "22023", "code 101");
    refused(sql, "pgraft_call('fruit', '{\"add\":\"\"}')", "22023", "a counter has a name");
    refused(sql, "pgraft_call('fruit', '{\"eat\":\"apples\"}')", "22023", "code 100");
    refused(sql, "pgraft_query('fruit', '{\"eat\":\"apples\"}')", "22023", "code 100");
    refused(sql, "pgraft_call('fruit', 'apples')", "22P02", "command is not JSON");
    refused(sql, "pgraft_query('fruit', 'apples')", "22P02", "query is not JSON");
    refused(sql, "pgraft_call('fruit', NULL)", "22004", "command");
    refused(sql, "pgraft_call(NULL, '{}')", "22004", "machine");
    let empty: Option<String> = sql.one("SELECT pgraft_query('fruit', NULL)::text").unwrap();
    assert_eq!(empty, None);
    let kv = cluster.connect(leader).refused("SELECT pgraft_query('kv', '{}')");
    assert_eq!((kv.code.as_str(), kv.detail.is_empty()), ("22023", false), "{kv}");
    let huge = "pgraft_call('fruit', decode(repeat('00', 5 << 20), 'hex'))";
    refused(sql, huge, "54000", "4194304");
}

fn events(sql: &mut Sql) {
    for _ in 0..4 {
        json(sql, "pgraft_call('fruit', '{\"add\":\"plums\"}')");
    }
    let rows = sql.rows("SELECT * FROM pgraft_events('fruit')").unwrap();
    let numbers: Vec<i64> = rows.iter().map(|row| row.get("number")).collect();
    assert_eq!(numbers, [3, 4, 5, 6, 7], "five are kept");
    let indexes: Vec<i64> = rows.iter().map(|row| row.get("index")).collect();
    assert!(indexes.is_sorted() && indexes[0] > 0, "{indexes:?}");
    let last = rows.last().unwrap();
    let (topic, payload): (Vec<u8>, Vec<u8>) = (last.get("topic"), last.get("payload"));
    assert_eq!((topic.as_slice(), payload.as_slice()), (&b"plums"[..], &b"4"[..]));
    for (arguments, count) in
        [("'fruit', 6", 2), ("'fruit', 100", 0), ("'fruit', 0, 3", 3), ("'fruit', max => 0", 0)]
    {
        let rows = sql.rows(&format!("SELECT * FROM pgraft_events({arguments})")).unwrap();
        assert_eq!(rows.len(), count, "{arguments}");
    }
    refused(sql, "* FROM pgraft_events('nobody')", "42704", "code 10");
    refused(sql, "* FROM pgraft_events('fruit', -1)", "22023", "since is -1");
    refused(sql, "* FROM pgraft_events('fruit', 0, -1)", "22023", "max is -1");
}

fn upgrade(sql: &mut Sql, module: &Module) {
    let (other, before) = (module.resealed("again").literal(), shows(sql, "fruit", "sha256"));
    let apples = "pgraft_query('fruit', '{\"get\":\"apples\"}')";
    refused(sql, &format!("pgraft_machine_upgrade('fruit', {other})"), "55000", "code 16");
    refused(sql, &format!("pgraft_machine_upgrade('nobody', {other})"), "42704", "nobody");
    let how = "any_version => true, keep_copy => true";
    json(sql, &format!("pgraft_machine_upgrade('fruit', {other}, {how}, dry_run => true)"));
    assert_eq!(shows(sql, "fruit", "sha256"), before, "a dry run changes nothing");
    json(sql, &format!("pgraft_machine_upgrade('fruit', {other}, {how})"));
    assert_eq!(shows(sql, "fruit", "previous_sha256"), before);
    assert_eq!(shows(sql, "fruit", "has_copy").as_deref(), Some("true"));
    assert_eq!(
        json(sql, "pgraft_call('fruit', '{\"add\":\"apples\"}')"),
        "4",
        "the rows are there"
    );

    json(sql, "pgraft_machine_rollback('fruit', dry_run => true)");
    json(sql, "pgraft_machine_rollback('fruit', restore => true)");
    assert_eq!(shows(sql, "fruit", "sha256"), before);
    assert_eq!(json(sql, apples), "3", "the rows are what they were before the upgrade");

    let third = module.resealed("third").literal();
    json(sql, &format!("pgraft_machine_upgrade('fruit', {third}, {how})"));
    json(sql, "pgraft_machine_drop_copy('fruit')");
    assert_eq!(shows(sql, "fruit", "has_copy").as_deref(), Some("false"));
    refused(sql, "pgraft_machine_drop_copy('fruit')", "55000", "code 16");
    refused(sql, "pgraft_machine_rollback('fruit', restore => true)", "55000", "code 16");
    json(sql, "pgraft_call('fruit', '{\"add\":\"apples\"}')");
    json(sql, "pgraft_machine_rollback('fruit')");
    assert_eq!(json(sql, apples), "4", "without restore the rows stay");
}

fn limits(sql: &mut Sql) {
    json(sql, "pgraft_machine_limits('fruit', '{\"total_bytes\": 1}')");
    assert_eq!(shows(sql, "fruit", "limits->>'total_bytes'").as_deref(), Some("1"));
    let full = "pgraft_call('fruit', '{\"add\":\"grapes\"}')";
    refused(sql, full, "53100", "code 6");
    refused(sql, full, "53100", "pgraft_machine_limits");
    sql.put("others", "go on").unwrap();
    json(sql, "pgraft_machine_limits('fruit', '{\"total_bytes\": 1000000}')");
    assert_eq!(json(sql, full), "1");
    json(sql, "pgraft_machine_limits('fruit', '{\"share_fuel\": 18446744073709551615}')");
    for (limits, words) in [
        ("{\"fuel\": 1}", "there is no limit \"fuel\""),
        ("{\"fuel\": 1}", "command_fuel"),
        ("{\"total_bytes\": \"1 GB\"}", "not a whole number"),
        ("{\"total_bytes\": -1}", "not a whole number"),
        ("[1]", "not an object"),
        ("{}", "names no limit"),
    ] {
        refused(sql, &format!("pgraft_machine_limits('fruit', '{limits}')"), "22023", words);
    }
    let beyond = "pgraft_machine_limits('fruit', '{\"memory_bytes\": 999999999999}')";
    let refusal = sql.refused(&format!("SELECT {beyond}"));
    assert!(refusal.message.contains("at most"), "{refusal}");
    refused(sql, "pgraft_machine_limits('fruit', NULL)", "22004", "limits");
    refused(sql, "pgraft_machine_limits('nobody', '{\"key_bytes\": 9}')", "42704", "code 10");
}

/// A machine that takes bytes, and traps when it is told to; its second version has another schema.
#[test]
fn a_machine_that_speaks_bytes_migrates_and_fails_in_words() {
    let cluster = Cluster::start(1);
    let mut sql = cluster.connect(0);
    let first = Module::build("bundle/counter", &["v1"]).literal();
    let second = Module::build("bundle/counter", &[]).literal();
    json(&mut sql, &format!("pgraft_machine_install('old', {first}, ''::bytea)"));
    let call = |name: &[u8]| format!("pgraft_call('old', {})", bytea(name));
    let reply: Vec<u8> = sql.one(&format!("SELECT {}", call(b"a"))).unwrap();
    assert_eq!(reply[..4], 1_u32.to_le_bytes());

    let dry = format!("pgraft_machine_upgrade('old', {second}, dry_run => true)");
    let dry = json(&mut sql, &dry);
    for field in ["\"schema_now\": 1", "\"schema_then\": 2", "\"version\": \"0.2.0\""] {
        assert!(dry.contains(field), "{dry}");
    }
    json(&mut sql, &format!("pgraft_machine_upgrade('old', {second})"));
    until("it is migrated", || {
        (shows(&mut sql, "old", "state").as_deref() == Some("running")).then_some(())
    });
    assert_eq!(shows(&mut sql, "old", "schema").as_deref(), Some("2"));
    let count: Vec<u8> = sql.one(&format!("SELECT pgraft_query('old', {})", bytea(b"a"))).unwrap();
    assert_eq!(count, 1_u64.to_le_bytes());
    refused(&mut sql, "pgraft_machine_rollback('old')", "55000", "code 16");

    for (command, code, words) in [
        (&b"!panic"[..], "38000", "code 1."),
        (b"!spin", "38000", "code 2."),
        (b"!spin", "38000", "command_fuel"),
        (b"!big", "38000", "code 3."),
        (b"!deep", "38000", "code 4."),
        (b"", "22023", "code 100."),
        (b"!half", "22023", "code 101."),
    ] {
        refused(&mut sql, &call(command), code, words);
    }
    refused(&mut sql, &format!("pgraft_query('old', {})", bytea(b"!write")), "38000", "code 5.");
    refused(&mut sql, "pgraft_call('old', '{\"a\": 1}')", "22P02", "did not answer in JSON");
    cluster.assert_never_crashed();
}

#[test]
fn machines_are_changed_by_pgraft_admin_and_called_by_grant() {
    let cluster = Cluster::start(1);
    let mut sql = cluster.connect(0);
    let literal = counter().literal();
    sql.run("CREATE ROLE plain; CREATE ROLE teller; CREATE ROLE boss IN ROLE pgraft_admin")
        .unwrap();
    sql.run("CREATE ROLE monitor IN ROLE pg_monitor").unwrap();
    sql.run(
        "GRANT EXECUTE ON FUNCTION pgraft_call(text, jsonb), pgraft_call(text, bytea), \
             pgraft_query(text, jsonb) TO teller",
    )
    .unwrap();
    let changes = [
        format!("pgraft_machine_install('fruit', {literal})"),
        format!("pgraft_machine_install('fruit', {literal}, ''::bytea)"),
        format!("pgraft_machine_upgrade('fruit', {literal})"),
        "pgraft_machine_rollback('fruit')".to_owned(),
        "pgraft_machine_limits('fruit', '{\"key_bytes\": 9}')".to_owned(),
        "pgraft_machine_drop_copy('fruit')".to_owned(),
        "pgraft_machine_remove('fruit')".to_owned(),
    ];
    let uses = [
        "pgraft_call('fruit', '{\"add\":\"a\"}'::jsonb)",
        "pgraft_call('fruit', '{\"add\":\"a\"}')",
        "pgraft_call('fruit', '{\"add\":\"a\"}'::bytea)",
        "pgraft_query('fruit', '{\"get\":\"a\"}'::jsonb)",
        "pgraft_query('fruit', '{\"get\":\"a\"}')",
        "pgraft_query('fruit', '{\"get\":\"a\"}'::bytea)",
        "* FROM pgraft_events('fruit')",
        "* FROM pgraft_get_machines()",
        "* FROM pgraft.machines",
    ];
    sql.run("SET ROLE plain").unwrap();
    for statement in changes.iter().map(String::as_str).chain(uses) {
        refused(&mut sql, statement, "42501", "permission denied");
    }
    sql.run("RESET ROLE; SET ROLE boss").unwrap();
    json(&mut sql, &changes[0]);
    assert_eq!(shows(&mut sql, "fruit", "changed_by").as_deref(), Some("boss"));
    for statement in uses {
        sql.run(&format!("SELECT {statement}")).unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
    sql.run("RESET ROLE; SET ROLE teller").unwrap();
    for statement in [uses[0], uses[2], uses[3]] {
        sql.run(&format!("SELECT {statement}")).unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
    for statement in [&changes[6], uses[1], uses[6], uses[8]] {
        refused(&mut sql, statement, "42501", "permission denied");
    }
    // A grant for all machines is none for those that have functions of their own.
    for machine in ["kv", "membership"] {
        let call = format!("pgraft_call('{machine}', ''::bytea)");
        refused(&mut sql, &call, "42501", "built-in machine");
        let query = format!("pgraft_query('{machine}', '{{}}'::jsonb)");
        refused(&mut sql, &query, "42501", "built-in machine");
    }
    sql.run("RESET ROLE; SET ROLE monitor").unwrap();
    assert_eq!(shows(&mut sql, "fruit", "name").as_deref(), Some("fruit"));
    refused(&mut sql, uses[3], "42501", "permission denied");
    sql.run("RESET ROLE; SET ROLE boss").unwrap();
    json(&mut sql, &changes[6]);
    sql.run("RESET ROLE").unwrap();
    other_databases(&cluster, &mut sql);
}

/// The role is there already, and the schema may be the extension's own.
fn other_databases(cluster: &Cluster, sql: &mut Sql) {
    sql.run("CREATE DATABASE second").unwrap();
    let mut second = cluster.servers[0].try_connect("second").unwrap();
    second.run("CREATE SCHEMA pgraft; CREATE EXTENSION pgraft SCHEMA pgraft").unwrap();
    assert_eq!(shows(&mut second, "kv", "module").as_deref(), Some("kv"));
    second.run("DROP EXTENSION pgraft").unwrap();
    sql.run("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0").unwrap();
    let mut latin = cluster.servers[0].try_connect("latin").unwrap();
    latin.run("CREATE EXTENSION pgraft").unwrap();
    let literal = counter().literal();
    json(&mut latin, &format!("pgraft_machine_install('umlauts', {literal})"));
    assert_eq!(json(&mut latin, "pgraft_call('umlauts', '{\"add\":\"größer\"}'::jsonb)"), "1");
    assert_eq!(json(sql, "pgraft_query('umlauts', '{\"get\":\"größer\"}')"), "1");
}

/// The program that compiles is missing: an error in words, long before any timeout.
#[test]
fn without_a_compiler_nothing_is_installed_and_the_error_says_why() {
    let tree = pgraft_cluster_tests::Tree::default_major();
    let cluster = Cluster::start_with(tree, 1, &[("pgraft.compiler", "/nonexistent/compiler")]);
    let mut sql = cluster.connect(0);
    let install = format!("pgraft_machine_install('fruit', {})", counter().literal());
    refused(&mut sql, &install, "57P03", "/nonexistent/compiler");
    assert_eq!(shows(&mut sql, "fruit", "name"), None);
    sql.run("SET statement_timeout = 500").unwrap();
    refused(&mut sql, &install, "57014", "timeout");
    sql.run("RESET statement_timeout").unwrap();
    sql.put("others", "go on").unwrap();
    cluster.assert_never_crashed();
}
