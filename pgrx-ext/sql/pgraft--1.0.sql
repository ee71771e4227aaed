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

-- 4. Who may. What tells who leads is for everyone. Addresses are for monitoring roles. Keys,
-- values and membership are for whom an administrator grants them to.

REVOKE ALL ON FUNCTION pgraft_get_nodes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgraft_get_nodes() TO pg_monitor;
REVOKE ALL ON FUNCTION pgraft_add_node(integer, text, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_remove_node(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_kv_put(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_kv_get(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_kv_delete(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_kv_exists(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgraft_kv_list_keys() FROM PUBLIC;
