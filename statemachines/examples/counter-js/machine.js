// The counter of ../counter, in JavaScript: same commands, same answers.
//
// Commands and queries come as values, parsed from JSON; what is returned becomes JSON. A row is
// the name and its count, as text.
import { emit, reject, storage } from "pgraft";

const MALFORMED = 100, EMPTY_NAME = 101, LONG_NAME = 102, NAME_BYTES_MAX = 64;

export const name = "counter";
export const version = "1.0.0";
export const api = 'commands {"add":NAME} {"reset":NAME}, query {"get":NAME}';
export const keyed = true;

/// The one verb of `verbs` and its name. Half a pair of surrogates is no text.
function parse(asked, verbs, what) {
  const [[verb, name] = [], ...more] = Object.entries(asked);
  const sound = typeof name === "string" && name.isWellFormed();
  if (!sound || more.length > 0 || !verbs.includes(verb)) {
    reject(MALFORMED, `malformed: not a ${what} of the counter`);
  }
  return [verb, name];
}

const count = (name) => Number(storage.get(name) ?? 0);

const utf8Length = (text) => encodeURIComponent(text).replace(/%../g, "x").length;

export function apply(ctx, from, command) {
  const [verb, name] = parse(command, ["add", "reset"], "command");
  if (name === "") reject(EMPTY_NAME, "a counter has a name");
  if (utf8Length(name) > NAME_BYTES_MAX) reject(LONG_NAME, "a name has at most 64 bytes");
  const before = count(name);
  if (verb === "reset") {
    storage.delete(name);
    emit(name, 0);
    return before;
  }
  storage.put(name, String(before + 1));
  emit(name, before + 1);
  return before + 1;
}

export const query = (ctx, asked) => count(parse(asked, ["get"], "query")[1]);

export const commandKey = (command) => parse(command, ["add", "reset"], "command")[1];

export const queryKey = (asked) => parse(asked, ["get"], "query")[1];
