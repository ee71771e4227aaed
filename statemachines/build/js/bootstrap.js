// What a machine in JavaScript stands on: `quickjs.c` calls `dispatch`, which calls the machine.
// Texts go in and out; a rejection is thrown as an object with a numeric `code`.
import * as machine from "machine.js";

const MALFORMED = 100;

const reject = (code, message) => {
  throw { code, message };
};

function parse(payload) {
  if (payload === null) reject(MALFORMED, "malformed: not UTF-8");
  if (!['{', "[", '"'].includes(payload[0])) reject(MALFORMED, "malformed: not JSON");
  let value;
  try {
    value = JSON.parse(payload);
  } catch (error) {
    reject(MALFORMED, `malformed: ${error.message}`);
  }
  return value;
}

/// The answer as JSON; one that is not there is null.
const json = (value) => JSON.stringify(value === undefined ? null : value);

const key = (of, payload) => {
  if (!of) return null;
  try {
    return of(parse(payload)) ?? null;
  } catch (error) {
    if (typeof error?.code === "number") return null;
    throw error;
  }
};

globalThis.dispatch = {
  describe: () => [
    machine.name ?? "machine",
    machine.version ?? "0.0.0",
    machine.schema ?? 1,
    machine.migratesFrom ?? machine.schema ?? 1,
    machine.api ?? "",
    machine.keyed ?? false,
  ],
  init: (ctx, config) => machine.init?.(ctx, config === "" ? undefined : parse(config)),
  check: (ctx, from, payload) => machine.check?.(ctx, from, parse(payload)),
  apply: (ctx, from, payload) => json(machine.apply(ctx, from, parse(payload))),
  query: (ctx, request) => json(machine.query(ctx, parse(request))),
  wake: (ctx) => machine.wake?.(ctx),
  effectDone: (ctx, id, reply, error) =>
    machine.effectDone?.(ctx, id, error === null ? { ok: reply } : { error }),
  migrate: (ctx, fromSchema, step) => (machine.migrate?.(ctx, fromSchema, step) ?? "done") === "more",
  commandKey: (payload) => key(machine.commandKey, payload),
  queryKey: (request) => key(machine.queryKey, request),
  invariant: (ctx) => machine.invariant?.(ctx) ?? null,
};
