// The counter of ../counter, in C: same commands, same answers.
//
// A command is {"add":NAME} or {"reset":NAME}, a query {"get":NAME}. A row is the name and its
// count, 8 bytes little endian.
#include "pgraft.h"

#include <string.h>

#define EMPTY_NAME 101
#define LONG_NAME 102
#define NAME_BYTES_MAX 64
// Room for a name that is too long, so that it is refused for its length; more is malformed.
#define PARSED_BYTES_MAX 4096

struct asked {
  char verb[8];
  char name[PARSED_BYTES_MAX];
  size_t name_length;
};

// What is left of a text in JSON.
struct text {
  const uint8_t *at, *end;
};

static bool skip(struct text *text, char wanted) {
  while (text->at < text->end && strchr(" \t\r\n", *text->at) && *text->at) text->at++;
  if (wanted == '\0' || text->at == text->end || *text->at != (uint8_t)wanted) return false;
  text->at++;
  return true;
}

static bool hex4(struct text *text, uint32_t *code) {
  *code = 0;
  for (int i = 0; i < 4; i++, text->at++) {
    if (text->at == text->end) return false;
    uint8_t c = *text->at;
    uint8_t letter = c | 0x20;
    if (c >= '0' && c <= '9') *code = *code << 4 | (uint32_t)(c - '0');
    else if (letter >= 'a' && letter <= 'f') *code = *code << 4 | (uint32_t)(letter - 'a' + 10);
    else return false;
  }
  return true;
}

// The bytes of a code point; a pair of surrogates is one.
static bool escaped(struct text *text, char *to, size_t *length) {
  uint32_t code, low;
  if (!hex4(text, &code)) return false;
  if (code >= 0xdc00 && code <= 0xdfff) return false;
  if (code >= 0xd800 && code <= 0xdbff) {
    if (text->end - text->at < 6 || text->at[0] != '\\' || text->at[1] != 'u') return false;
    text->at += 2;
    if (!hex4(text, &low) || low < 0xdc00 || low > 0xdfff) return false;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const uint8_t lead[] = {0x00, 0xc0, 0xe0, 0xf0};
  to[(*length)++] = (char)(lead[more] | code >> (6 * more));
  while (more-- > 0) to[(*length)++] = (char)(0x80 | (code >> (6 * more) & 0x3f));
  return true;
}

// A string, of at most `max` bytes.
static bool string(struct text *text, char *to, size_t max, size_t *length) {
  *length = 0;
  if (!skip(text, '"')) return false;
  while (text->at < text->end && *text->at != '"') {
    if (*length + 4 > max || *text->at < 0x20) return false;
    uint8_t c = *text->at++;
    if (c != '\\') {
      to[(*length)++] = (char)c;
      continue;
    }
    if (text->at == text->end) return false;
    c = *text->at++;
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *found = c ? strchr(letters, c) : NULL;
    if (found) to[(*length)++] = meant[found - letters];
    else if (c != 'u' || !escaped(text, to, length)) return false;
  }
  return text->at++ < text->end;
}

static bool parse(const machine_list_u8_t *payload, struct asked *asked) {
  struct text text = {payload->ptr, payload->ptr + payload->len};
  size_t verb_length;
  // A payload in JSON begins with it, not with a space.
  if (payload->len == 0 || *text.at != '{' || !skip(&text, '{')) return false;
  if (!string(&text, asked->verb, sizeof asked->verb, &verb_length)) return false;
  asked->verb[verb_length] = '\0';
  if (!skip(&text, ':')) return false;
  if (!string(&text, asked->name, sizeof asked->name, &asked->name_length)) return false;
  if (!skip(&text, '}')) return false;
  skip(&text, '\0');
  return text.at == text.end;
}

static machine_list_u8_t row_of(const struct asked *asked) {
  return (machine_list_u8_t){(uint8_t *)asked->name, asked->name_length};
}

static uint64_t count_of(const struct asked *asked) {
  machine_list_u8_t row = row_of(asked), value;
  uint64_t count = 0;
  if (storage_get(&row, &value)) {
    memcpy(&count, value.ptr, sizeof count);
    machine_list_u8_free(&value);
  }
  return count;
}

static machine_list_u8_t decimal(uint64_t number) {
  char digits[20];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + number % 10);
  while (number /= 10);
  return pgraft_bytes(digits + at, sizeof digits - at);
}

static void tell(const struct asked *asked, uint64_t count) {
  machine_list_u8_t topic = row_of(asked), payload = decimal(count);
  events_emit(&topic, &payload);
  machine_list_u8_free(&payload);
}

bool machine_apply(const types_context_t *ctx, const types_command_t *command,
                   machine_list_u8_t *reply, types_error_t *error) {
  static struct asked asked;
  bool known = parse(&command->payload, &asked) &&
               (strcmp(asked.verb, "add") == 0 || strcmp(asked.verb, "reset") == 0);
  if (!known) {
    return pgraft_reject(error, PGRAFT_MALFORMED, "malformed: not a command of the counter");
  }
  if (asked.name_length == 0) return pgraft_reject(error, EMPTY_NAME, "a counter has a name");
  if (asked.name_length > NAME_BYTES_MAX) {
    return pgraft_reject(error, LONG_NAME, "a name has at most 64 bytes");
  }
  machine_list_u8_t row = row_of(&asked);
  uint64_t count = count_of(&asked);
  if (strcmp(asked.verb, "add") == 0) {
    count++;
    machine_list_u8_t value = {(uint8_t *)&count, sizeof count};
    storage_put(&row, &value);
    tell(&asked, count);
  } else {
    storage_delete(&row);
    tell(&asked, 0);
  }
  *reply = decimal(count);
  return true;
}

bool exports_guest_query(exports_guest_context_t *ctx, machine_list_u8_t *request,
                         machine_list_u8_t *answer, types_error_t *error) {
  static struct asked asked;
  if (!parse(request, &asked) || strcmp(asked.verb, "get") != 0) {
    return pgraft_reject(error, PGRAFT_MALFORMED, "malformed: not a query of the counter");
  }
  *answer = decimal(count_of(&asked));
  return true;
}

static bool key_of(machine_list_u8_t *payload, machine_list_u8_t *key) {
  static struct asked asked;
  if (!parse(payload, &asked)) return false;
  *key = pgraft_bytes(asked.name, asked.name_length);
  return true;
}

bool exports_verification_command_key(machine_list_u8_t *payload, machine_list_u8_t *key) {
  return key_of(payload, key);
}

bool exports_verification_query_key(machine_list_u8_t *request, machine_list_u8_t *key) {
  return key_of(request, key);
}

void exports_guest_describe(exports_guest_manifest_t *manifest) {
  machine_string_dup(&manifest->name, "counter");
  machine_string_dup(&manifest->version, "1.0.0");
  machine_string_dup(&manifest->api, "commands {\"add\":NAME} {\"reset\":NAME}, query {\"get\":NAME}");
  manifest->schema = 1;
  manifest->migrates_from = 1;
  manifest->keyed = true;
}
