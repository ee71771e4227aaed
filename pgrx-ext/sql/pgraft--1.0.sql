-- Extension pgraft 1.0: run by CREATE EXTENSION pgraft.
-- Written by hand; scripts/test compares it with the library. Never edit it after the release of
-- 1.0: a change goes into pgraft--1.0--1.1.sql.

\echo Use "CREATE EXTENSION pgraft" to load this file. \quit

-- Fails with the way out where the library is not in shared_preload_libraries.
CREATE FUNCTION pgraft_assert_preloaded() RETURNS void
STRICT VOLATILE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_assert_preloaded_wrapper';

SELECT pgraft_assert_preloaded();

-- 1. This node and its cluster, from shared memory.

CREATE FUNCTION pgraft_get_version() RETURNS text
STRICT STABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_get_version_wrapper';

CREATE FUNCTION pgraft_get_worker_state() RETURNS text
STRICT VOLATILE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_get_worker_state_wrapper';

CREATE FUNCTION pgraft_is_leader() RETURNS boolean
STRICT VOLATILE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_is_leader_wrapper';

CREATE FUNCTION pgraft_get_leader() RETURNS bigint
STRICT VOLATILE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_get_leader_wrapper';

CREATE FUNCTION pgraft_get_term() RETURNS bigint
STRICT VOLATILE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_get_term_wrapper';

CREATE FUNCTION pgraft_get_cluster_status() RETURNS TABLE (
    node_id integer,
    current_term bigint,
    leader_id bigint,
    state text,
    num_nodes integer,
    messages_processed bigint,
    heartbeats_sent bigint,
    elections_triggered bigint
)
STRICT VOLATILE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_get_cluster_status_wrapper';

CREATE FUNCTION pgraft_log_get_stats() RETURNS TABLE (
    log_size bigint,
    last_index bigint,
    commit_index bigint,
    last_applied bigint,
    replicated bigint,
    committed bigint,
    applied bigint,
    errors bigint
)
STRICT VOLATILE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_log_get_stats_wrapper';

CREATE FUNCTION pgraft_log_get_replication_status() RETURNS TABLE (
    log_size bigint,
    last_index bigint,
    commit_index bigint,
    last_applied bigint,
    replicated bigint,
    committed bigint,
    applied bigint,
    errors bigint
)
STRICT VOLATILE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_log_get_replication_status_wrapper';

-- 2. Members.

CREATE FUNCTION pgraft_get_nodes() RETURNS TABLE (
    node_id integer,
    address text,
    port integer,
    is_leader boolean
)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_get_nodes_wrapper';

CREATE FUNCTION pgraft_add_node(node_id integer, address text, port integer) RETURNS boolean
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_add_node_wrapper';

CREATE FUNCTION pgraft_remove_node(node_id integer) RETURNS boolean
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_remove_node_wrapper';

-- 3. The key-value store.

CREATE FUNCTION pgraft_kv_put(key text, value text) RETURNS boolean
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_kv_put_wrapper';

CREATE FUNCTION pgraft_kv_get(key text) RETURNS text
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_kv_get_wrapper';

CREATE FUNCTION pgraft_kv_delete(key text) RETURNS boolean
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_kv_delete_wrapper';

CREATE FUNCTION pgraft_kv_exists(key text) RETURNS boolean
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_kv_exists_wrapper';

CREATE FUNCTION pgraft_kv_list_keys() RETURNS text
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_kv_list_keys_wrapper';

-- 4. State machines: any machine's commands, queries and events, and the machines themselves.

CREATE FUNCTION pgraft_call(machine text, command jsonb) RETURNS jsonb
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_call_jsonb_wrapper';

-- Without it a call with two plain literals would be ambiguous.
CREATE FUNCTION pgraft_call(machine text, command text) RETURNS jsonb
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_call_text_wrapper';

CREATE FUNCTION pgraft_call(machine text, command bytea) RETURNS bytea
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_call_bytea_wrapper';

CREATE FUNCTION pgraft_query(machine text, query jsonb) RETURNS jsonb
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_query_jsonb_wrapper';

CREATE FUNCTION pgraft_query(machine text, query text) RETURNS jsonb
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_query_text_wrapper';

CREATE FUNCTION pgraft_query(machine text, query bytea) RETURNS bytea
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_query_bytea_wrapper';

CREATE FUNCTION pgraft_events(
    machine text,
    since bigint DEFAULT 0,
    max integer DEFAULT 1000
) RETURNS TABLE (
    number bigint,
    index bigint,
    topic bytea,
    payload bytea
)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_events_wrapper';

CREATE FUNCTION pgraft_machine_install(
    name text,
    module bytea,
    config text DEFAULT '',
    limits jsonb DEFAULT NULL,
    dry_run boolean DEFAULT false,
    force boolean DEFAULT false
) RETURNS jsonb
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_machine_install_wrapper';

CREATE FUNCTION pgraft_machine_install(
    name text,
    module bytea,
    config bytea,
    limits jsonb DEFAULT NULL,
    dry_run boolean DEFAULT false,
    force boolean DEFAULT false
) RETURNS jsonb
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_machine_install_bytea_wrapper';

CREATE FUNCTION pgraft_machine_upgrade(
    name text,
    module bytea DEFAULT NULL,
    keep_copy boolean DEFAULT false,
    any_version boolean DEFAULT false,
    limits jsonb DEFAULT NULL,
    dry_run boolean DEFAULT false,
    force boolean DEFAULT false
) RETURNS jsonb
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_machine_upgrade_wrapper';

CREATE FUNCTION pgraft_machine_rollback(
    name text,
    restore boolean DEFAULT false,
    dry_run boolean DEFAULT false,
    force boolean DEFAULT false
) RETURNS jsonb
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_machine_rollback_wrapper';

CREATE FUNCTION pgraft_machine_limits(name text, limits jsonb) RETURNS jsonb
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_machine_limits_wrapper';

CREATE FUNCTION pgraft_machine_remove(name text) RETURNS jsonb
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_machine_remove_wrapper';

CREATE FUNCTION pgraft_machine_drop_copy(name text) RETURNS jsonb
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_machine_drop_copy_wrapper';

CREATE FUNCTION pgraft_get_machines() RETURNS TABLE (
    name text,
    module text,
    version text,
    state text,
    schema bigint,
    rows bigint,
    bytes bigint,
    limits jsonb,
    sha256 text,
    previous_sha256 text,
    has_copy boolean,
    migrating_to text,
    migration_step bigint,
    keyed boolean,
    api text,
    changed_index bigint,
    changed_at timestamp with time zone,
    changed_by text,
    last_failure text
)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'pgraft_get_machines_wrapper';

-- The schema is there already where the extension itself was asked into it.
DO $$
BEGIN
    IF '@extschema@' <> 'pgraft' THEN
        CREATE SCHEMA pgraft;
    END IF;
END
$$;

CREATE VIEW pgraft.machines AS SELECT * FROM pgraft_get_machines();

COMMENT ON FUNCTION pgraft_is_leader() IS
    'whether this node leads, confirmed by a majority within the last election timeout';
COMMENT ON FUNCTION pgraft_get_leader() IS 'id of the leader, 0 when none is known';
COMMENT ON FUNCTION pgraft_kv_put(text, text) IS
    'writes a key; true = durable on a majority of the nodes; not undone by ROLLBACK';
COMMENT ON FUNCTION pgraft_kv_get(text) IS
    'the value of a key, NULL when there is none; see pgraft.read_consistency';
COMMENT ON FUNCTION pgraft_kv_delete(text) IS
    'deletes a key; true = durable on a majority of the nodes, also when there was no such key';
COMMENT ON FUNCTION pgraft_add_node(integer, text, integer) IS
    'adds a node; it becomes a voter by itself once it has caught up';
COMMENT ON FUNCTION pgraft_remove_node(integer) IS
    'removes a node for good; its id is not used again';
COMMENT ON FUNCTION pgraft_call(text, jsonb) IS
    'gives a machine a command in JSON; its reply; not undone by ROLLBACK';
COMMENT ON FUNCTION pgraft_call(text, text) IS
    'gives a machine a command, JSON text that is sent as it stands; its reply';
COMMENT ON FUNCTION pgraft_call(text, bytea) IS
    'gives a machine a command in bytes; its reply; not undone by ROLLBACK';
COMMENT ON FUNCTION pgraft_query(text, jsonb) IS
    'asks a machine in JSON; see pgraft.read_consistency';
COMMENT ON FUNCTION pgraft_query(text, text) IS
    'asks a machine in JSON text that is sent as it stands; see pgraft.read_consistency';
COMMENT ON FUNCTION pgraft_query(text, bytea) IS
    'asks a machine in bytes; see pgraft.read_consistency';
COMMENT ON FUNCTION pgraft_events(text, bigint, integer) IS
    'kept events of a machine from a number on, oldest first';
COMMENT ON FUNCTION pgraft_machine_install(text, bytea, text, jsonb, boolean, boolean) IS
    'creates a machine that runs a module';
COMMENT ON FUNCTION pgraft_machine_install(text, bytea, bytea, jsonb, boolean, boolean) IS
    'creates a machine that runs a module, with a configuration in bytes';
COMMENT ON FUNCTION
    pgraft_machine_upgrade(text, bytea, boolean, boolean, jsonb, boolean, boolean) IS
    'has a machine run another module, with its rows';
COMMENT ON FUNCTION pgraft_machine_rollback(text, boolean, boolean, boolean) IS
    'goes back to the module that a machine ran before';
COMMENT ON FUNCTION pgraft_machine_limits(text, jsonb) IS 'sets limits of a machine';
COMMENT ON FUNCTION pgraft_machine_remove(text) IS 'removes a machine with all its rows, for good';
COMMENT ON FUNCTION pgraft_machine_drop_copy(text) IS
    'forgets the copy of a machine''s rows that an upgrade has kept';
COMMENT ON VIEW pgraft.machines IS 'the state machines of the cluster';

-- 5. Who may. What tells who leads is for everyone. Addresses and the list of machines are for
-- monitoring roles. Keys, values and membership are for whom an administrator grants them to, and
-- so are commands, queries and events of machines. Machines are changed by pgraft_admin, a role of
-- the server: another database may have made it, and dropping the extension leaves it.

DO $$
BEGIN
    CREATE ROLE pgraft_admin NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

REVOKE ALL ON FUNCTION pgraft_get_nodes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgraft_get_nodes() TO pg_monitor;
REVOKE ALL ON FUNCTION pgraft_add_node(integer, text, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_remove_node(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_kv_put(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_kv_get(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_kv_delete(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_kv_exists(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_kv_list_keys() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_call(text, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_call(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_call(text, bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_query(text, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_query(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_query(text, bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_events(text, bigint, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION
    pgraft_machine_install(text, bytea, text, jsonb, boolean, boolean),
    pgraft_machine_install(text, bytea, bytea, jsonb, boolean, boolean),
    pgraft_machine_upgrade(text, bytea, boolean, boolean, jsonb, boolean, boolean),
    pgraft_machine_rollback(text, boolean, boolean, boolean),
    pgraft_machine_limits(text, jsonb),
    pgraft_machine_remove(text),
    pgraft_machine_drop_copy(text),
    pgraft_get_machines()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    pgraft_call(text, jsonb),
    pgraft_call(text, text),
    pgraft_call(text, bytea),
    pgraft_query(text, jsonb),
    pgraft_query(text, text),
    pgraft_query(text, bytea),
    pgraft_events(text, bigint, integer),
    pgraft_machine_install(text, bytea, text, jsonb, boolean, boolean),
    pgraft_machine_install(text, bytea, bytea, jsonb, boolean, boolean),
    pgraft_machine_upgrade(text, bytea, boolean, boolean, jsonb, boolean, boolean),
    pgraft_machine_rollback(text, boolean, boolean, boolean),
    pgraft_machine_limits(text, jsonb),
    pgraft_machine_remove(text),
    pgraft_machine_drop_copy(text),
    pgraft_get_machines()
TO pgraft_admin;
GRANT EXECUTE ON FUNCTION pgraft_get_machines() TO pg_monitor;
GRANT USAGE ON SCHEMA pgraft TO pgraft_admin, pg_monitor;
GRANT SELECT ON pgraft.machines TO pgraft_admin, pg_monitor;
