// The counter of ../counter, in JavaScript: same commands, same answers.
//
// What a command throws rejects it. QuickJS has no TextDecoder, hence the two functions at the end.
import storage from "pgraft:machine/storage@0.1.0";
import events from "pgraft:machine/events@0.1.0";

const MALFORMED = 100, EMPTY_NAME = 101, LONG_NAME = 102, NAME_BYTES_MAX = 64;

const reject = (code, message) => {
  throw { code, message };
};

/// The one verb and its name; `verbs` are those that there are.
function parse(payload, verbs, what) {
  const malformed = () => reject(MALFORMED, `malformed: not a ${what} of the counter`);
  let asked;
  try {
    asked = payload[0] === 0x7b ? JSON.parse(decode(payload)) : malformed();
  } catch {
    malformed();
  }
  const [[verb, name] = [], ...more] = Object.entries(asked);
  if (more.length > 0 || !verbs.includes(verb) || typeof name !== "string") malformed();
  return [verb, name];
}

function count(row) {
  const value = storage.get(row);
  return value === null ? 0 : Number(decode(value));
}

function command(payload) {
  const [verb, name] = parse(payload, ["add", "reset"], "command");
  const row = encode(name);
  if (row.length === 0) reject(EMPTY_NAME, "a counter has a name");
  if (row.length > NAME_BYTES_MAX) reject(LONG_NAME, "a name has at most 64 bytes");
  const before = count(row);
  if (verb === "reset") {
    storage.delete(row);
    events.emit(row, encode("0"));
    return encode(String(before));
  }
  const after = encode(String(before + 1));
  storage.put(row, after);
  events.emit(row, after);
  return after;
}

function key(payload, verbs) {
  try {
    return encode(parse(payload, verbs, "request")[1]);
  } catch {
    return null;
  }
}

export const guest = {
  describe: () => ({
    name: "counter",
    version: "1.0.0",
    schema: 1,
    migratesFrom: 1,
    api: 'commands {"add":NAME} {"reset":NAME}, query {"get":NAME}',
    keyed: true,
  }),
  init: () => {},
  check: () => {},
  apply: (ctx, commands) =>
    commands.map(({ payload }) => {
      const mark = storage.mark();
      try {
        const val = command(payload);
        storage.release(mark);
        return { tag: "ok", val };
      } catch (error) {
        if (typeof error.code !== "number") throw error;
        storage.rollbackTo(mark);
        return { tag: "err", val: error };
      }
    }),
  react: () => {},
  query: (ctx, request) => encode(String(count(encode(parse(request, ["get"], "query")[1])))),
  migrate: () => "done",
};

export const verification = {
  commandKey: (payload) => key(payload, ["add", "reset"]),
  queryKey: (request) => key(request, ["get"]),
  invariant: () => {},
};

/// UTF-8 to text; throws at what is none.
function decode(bytes) {
  let escaped = "";
  for (const byte of bytes) escaped += "%" + byte.toString(16).padStart(2, "0");
  return decodeURIComponent(escaped);
}

/// Text to UTF-8; throws at half a pair of surrogates.
function encode(text) {
  const bytes = [];
  const escaped = encodeURIComponent(text);
  for (let at = 0; at < escaped.length; at++) {
    if (escaped[at] === "%") {
      bytes.push(parseInt(escaped.slice(at + 1, at + 3), 16));
      at += 2;
    } else {
      bytes.push(escaped.charCodeAt(at));
    }
  }
  return new Uint8Array(bytes);
}
