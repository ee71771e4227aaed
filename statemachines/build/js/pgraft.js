// What a machine in JavaScript imports from "pgraft". Keys and values are text, stored as UTF-8 and
// sorted by its bytes.
const host = globalThis.host;

export const storage = {
  /// The value, or null.
  get: (key) => host.get(key),
  put: (key, value) => host.put(key, value),
  /// True when there was a row.
  delete: (key) => host.delete(key),
  /// How many rows there were in [start, end), end "" = no bound.
  deleteRange: (start, end) => host.deleteRange(start, end),
  /// Pairs of key and value of [start, end), in order or reverse, page by page.
  *scan(start = "", end = "", { reverse = false, pageRows = 100 } = {}) {
    for (let more = true; more; ) {
      let rows;
      [rows, more] = host.scan(start, end, pageRows, reverse);
      yield* rows;
      if (rows.length === 0) return;
      const last = rows.at(-1)[0];
      if (reverse) end = last;
      else start = last + "\0";
    }
  },
};

/// Asks to be woken at or after this unix ms; 0 = not at all.
export const wakeAt = (timeMs) => host.wakeAt(timeMs);

/// Tells watchers; what is no text becomes JSON.
export const emit = (topic, payload) =>
  host.emit(topic, typeof payload === "string" ? payload : JSON.stringify(payload));

/// Asks another machine of the cluster to carry out a command; the id under which the outcome comes
/// back to `effectDone`.
export const request = (machine, command) => host.request(machine, JSON.stringify(command));

/// Writes to the node's log.
export const log = (message) => host.log(String(message));

/// Ends a command or query with a rejection; codes below 101 are not yours.
export const reject = (code, message) => {
  throw { code, message };
};
