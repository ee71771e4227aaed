// Between the interface and QuickJS: starts the engine once per instance, evaluates the machine's
// text, and calls the functions of bootstrap.js.
//
// QuickJS asks its C library for a clock and a console. The clock is the log's time; the console,
// like everything else, is not there. What a machine throws that is no rejection ends the call.
#include "machine.h"
#include "quickjs.h"

#include <stdlib.h>
#include <string.h>

// Files of the machine and ours, generated when it is built: name, text, length.
struct source {
  const char *name, *text;
  size_t length;
};
extern const struct source pgraft_sources[];
extern const size_t pgraft_sources_count;

// Less than the stack of the module, so that a deep recursion is an exception.
#define STACK_BYTES_MAX (192 << 10)

static JSContext *js;
static JSValue dispatch;
// What the clock says, in milliseconds.
static uint64_t now_ms;

_Noreturn static void give_up(const char *message) {
  machine_string_t text;
  machine_string_set(&text, message);
  log_write(LOG_LEVEL_ERROR, &text);
  __builtin_trap();
}

// What the C library below QuickJS would import: its part in C, and under the names that zig gives
// imports, its part in zig.

#define WASI(name) int32_t __imported_wasi_snapshot_preview1_##name

WASI(clock_time_get)(int32_t id, int64_t precision, int32_t time) {
  *(uint64_t *)time = now_ms * 1000000;
  return 0;
}

int32_t closed(int32_t fd) __asm__("fd_close|wasi_snapshot_preview1");
int32_t closed(int32_t fd) { __builtin_trap(); }

WASI(fd_fdstat_get)(int32_t fd, int32_t stat) { __builtin_trap(); }

WASI(fd_seek)(int32_t fd, int64_t offset, int32_t whence, int32_t at) { __builtin_trap(); }

WASI(fd_write)(int32_t fd, int32_t parts, int32_t count, int32_t written) { __builtin_trap(); }

// Values.

static bool utf8(const uint8_t *at, size_t length) {
  const uint8_t *end = at + length;
  while (at < end) {
    uint8_t lead = *at++;
    if (lead < 0x80) continue;
    size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || (size_t)(end - at) < more) return false;
    if (lead == 0xe0 && at[0] < 0xa0) return false;
    if (lead == 0xed && at[0] > 0x9f) return false;
    if (lead == 0xf0 && at[0] < 0x90) return false;
    if (lead == 0xf4 && at[0] > 0x8f) return false;
    while (more-- > 0) {
      if ((*at++ & 0xc0) != 0x80) return false;
    }
  }
  return true;
}

// Text, or null when the bytes are none.
static JSValue text_of(const uint8_t *bytes, size_t length) {
  return utf8(bytes, length) ? JS_NewStringLen(js, (const char *)bytes, length) : JS_NULL;
}

// A copy of a text; the C library's, so that the glue frees it.
static machine_list_u8_t bytes_of(JSValueConst value) {
  machine_list_u8_t bytes = {NULL, 0};
  size_t length;
  const char *text = JS_ToCStringLen(js, &length, value);
  if (text == NULL) give_up("a value is no text");
  if (length > 0) {
    bytes.ptr = malloc(length);
    if (bytes.ptr == NULL) abort();
    memcpy(bytes.ptr, text, length);
    bytes.len = length;
  }
  JS_FreeCString(js, text);
  return bytes;
}

static machine_string_t string_of(JSValueConst value) {
  machine_list_u8_t bytes = bytes_of(value);
  return (machine_string_t){bytes.ptr, bytes.len};
}

static uint64_t number_of(JSValueConst value) {
  int64_t number;
  if (JS_ToInt64(js, &number, value) != 0 || number < 0) give_up("a value is no number");
  return (uint64_t)number;
}

static void set(JSValue object, const char *name, JSValue value) {
  JS_SetPropertyStr(js, object, name, value);
}

// The functions of `host` in pgraft.js.

#define HOST(name) \
  static JSValue host_##name(JSContext *c, JSValueConst self, int count, JSValueConst *given)

HOST(get) {
  machine_list_u8_t key = bytes_of(given[0]), value;
  bool found = storage_get(&key, &value);
  free(key.ptr);
  if (!found) return JS_NULL;
  JSValue text = text_of(value.ptr, value.len);
  machine_list_u8_free(&value);
  return text;
}

HOST(put) {
  machine_list_u8_t key = bytes_of(given[0]), value = bytes_of(given[1]);
  storage_put(&key, &value);
  free(key.ptr);
  free(value.ptr);
  return JS_UNDEFINED;
}

HOST(delete) {
  machine_list_u8_t key = bytes_of(given[0]);
  bool existed = storage_delete(&key);
  free(key.ptr);
  return JS_NewBool(c, existed);
}

HOST(deleteRange) {
  machine_list_u8_t start = bytes_of(given[0]), end = bytes_of(given[1]);
  uint64_t rows = storage_delete_range(&start, &end);
  free(start.ptr);
  free(end.ptr);
  return JS_NewInt64(c, (int64_t)rows);
}

HOST(scan) {
  machine_list_u8_t start = bytes_of(given[0]), end = bytes_of(given[1]);
  storage_page_t page;
  uint32_t limit = (uint32_t)number_of(given[2]);
  storage_scan(&start, &end, limit, 64 << 10, JS_ToBool(c, given[3]) == 1, false, &page);
  free(start.ptr);
  free(end.ptr);
  JSValue rows = JS_NewArray(c);
  const uint8_t *at = page.rows.ptr;
  for (uint32_t i = 0; i < page.count; i++) {
    uint32_t lengths[2];
    memcpy(lengths, at, sizeof lengths);
    at += sizeof lengths;
    JSValue row = JS_NewArray(c);
    JS_SetPropertyUint32(c, row, 0, text_of(at, lengths[0]));
    JS_SetPropertyUint32(c, row, 1, text_of(at + lengths[0], lengths[1]));
    at += lengths[0] + lengths[1];
    JS_SetPropertyUint32(c, rows, i, row);
  }
  JSValue told = JS_NewArray(c);
  JS_SetPropertyUint32(c, told, 0, rows);
  JS_SetPropertyUint32(c, told, 1, JS_NewBool(c, page.more));
  machine_list_u8_free(&page.rows);
  return told;
}

HOST(wakeAt) {
  storage_wake_at(number_of(given[0]));
  return JS_UNDEFINED;
}

HOST(emit) {
  machine_list_u8_t topic = bytes_of(given[0]), payload = bytes_of(given[1]);
  events_emit(&topic, &payload);
  free(topic.ptr);
  free(payload.ptr);
  return JS_UNDEFINED;
}

HOST(request) {
  machine_list_u8_t machine = bytes_of(given[0]), command = bytes_of(given[1]);
  uint32_t length = (uint32_t)machine.len;
  machine_list_u8_t payload = {NULL, sizeof length + machine.len + command.len};
  payload.ptr = malloc(payload.len);
  if (payload.ptr == NULL) abort();
  memcpy(payload.ptr, &length, sizeof length);
  if (machine.len > 0) memcpy(payload.ptr + sizeof length, machine.ptr, machine.len);
  memcpy(payload.ptr + sizeof length + machine.len, command.ptr, command.len);
  machine_string_t kind;
  machine_string_set(&kind, "command");
  uint64_t id = effects_request(&kind, &payload);
  free(machine.ptr);
  free(command.ptr);
  free(payload.ptr);
  return JS_NewInt64(c, (int64_t)id);
}

HOST(log) {
  machine_string_t message = string_of(given[0]);
  log_write(LOG_LEVEL_INFO, &message);
  free(message.ptr);
  return JS_UNDEFINED;
}

static const JSCFunctionListEntry host_functions[] = {
    JS_CFUNC_DEF("get", 1, host_get),
    JS_CFUNC_DEF("put", 2, host_put),
    JS_CFUNC_DEF("delete", 1, host_delete),
    JS_CFUNC_DEF("deleteRange", 2, host_deleteRange),
    JS_CFUNC_DEF("scan", 4, host_scan),
    JS_CFUNC_DEF("wakeAt", 1, host_wakeAt),
    JS_CFUNC_DEF("emit", 2, host_emit),
    JS_CFUNC_DEF("request", 2, host_request),
    JS_CFUNC_DEF("log", 1, host_log),
};

// The engine.

// Ends the call with what was thrown.
_Noreturn static void thrown(JSValue error) {
  JSValue stack = JS_GetPropertyStr(js, error, "stack");
  JSValue words = JS_ToString(js, error);
  machine_list_u8_t message = bytes_of(words), place = {NULL, 0};
  if (JS_IsString(stack)) place = bytes_of(stack);
  char *text = malloc(message.len + place.len + 2);
  if (text == NULL) abort();
  memcpy(text, message.ptr, message.len);
  text[message.len] = '\n';
  if (place.len > 0) memcpy(text + message.len + 1, place.ptr, place.len);
  text[message.len + 1 + place.len] = '\0';
  give_up(text);
}

static JSModuleDef *load(JSContext *c, const char *name, void *opaque) {
  const char *bare = strncmp(name, "./", 2) == 0 ? name + 2 : name;
  for (size_t i = 0; i < pgraft_sources_count; i++) {
    const struct source *source = &pgraft_sources[i];
    if (strcmp(source->name, bare) != 0) continue;
    int flags = JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY;
    JSValue module = JS_Eval(c, source->text, source->length, source->name, flags);
    if (JS_IsException(module)) return NULL;
    return JS_VALUE_GET_PTR(module);
  }
  JS_ThrowReferenceError(c, "there is no module %s", name);
  return NULL;
}

static char *plain_name(JSContext *c, const char *base, const char *name, void *opaque) {
  return js_strdup(c, name);
}

// Starts the engine, once per instance. Its chance comes from the seed of the first call.
static void start(uint64_t seed) {
  if (js != NULL) return;
  JSRuntime *runtime = JS_NewRuntime();
  if (runtime == NULL) abort();
  JS_SetMaxStackSize(runtime, STACK_BYTES_MAX);
  JS_SetModuleLoaderFunc(runtime, plain_name, load, NULL);
  uint64_t time = now_ms;
  now_ms = seed >> 12;
  js = JS_NewContext(runtime);
  now_ms = time;
  if (js == NULL) abort();
  JSValue global = JS_GetGlobalObject(js), host = JS_NewObject(js);
  int functions = (int)(sizeof host_functions / sizeof *host_functions);
  JS_SetPropertyFunctionList(js, host, host_functions, functions);
  set(global, "host", host);
  static const char main[] = "import \"bootstrap.js\";";
  JSValue done = JS_Eval(js, main, sizeof main - 1, "main", JS_EVAL_TYPE_MODULE);
  if (JS_IsException(done)) thrown(JS_GetException(js));
  JSContext *of;
  while (JS_ExecutePendingJob(runtime, &of) > 0) {
  }
  if (JS_PromiseState(js, done) == JS_PROMISE_REJECTED) thrown(JS_PromiseResult(js, done));
  dispatch = JS_GetPropertyStr(js, global, "dispatch");
  if (!JS_IsObject(dispatch)) give_up("machine.js waits for something at its top");
}

static JSValue context(const types_context_t *ctx) {
  now_ms = ctx->time_ms;
  start(ctx->seed);
  JSValue object = JS_NewObject(js);
  set(object, "index", JS_NewInt64(js, (int64_t)ctx->index));
  set(object, "term", JS_NewInt64(js, (int64_t)ctx->term));
  set(object, "timeMs", JS_NewInt64(js, (int64_t)ctx->time_ms));
  set(object, "seed", JS_NewBigUint64(js, ctx->seed));
  return object;
}

static JSValue caller(const types_caller_t *from) {
  JSValue object = JS_NewObject(js);
  set(object, "principal", text_of(from->principal.ptr, from->principal.len));
  set(object, "session", JS_NewInt64(js, (int64_t)from->session));
  set(object, "seq", JS_NewInt64(js, (int64_t)from->seq));
  return object;
}

// Calls a function of bootstrap.js, whose arguments are used up. False with an error when it throws
// a rejection; what else it throws ends the call.
static bool call(const char *name, int count, JSValue *given, JSValue *told, types_error_t *error) {
  JSValue function = JS_GetPropertyStr(js, dispatch, name);
  *told = JS_Call(js, function, dispatch, count, given);
  JS_FreeValue(js, function);
  for (int i = 0; i < count; i++) JS_FreeValue(js, given[i]);
  if (!JS_IsException(*told)) return true;
  JSValue why = JS_GetException(js);
  JSValue code = JS_IsObject(why) ? JS_GetPropertyStr(js, why, "code") : JS_UNDEFINED;
  if (error == NULL || !JS_IsNumber(code)) thrown(why);
  error->code = (uint32_t)number_of(code);
  JSValue message = JS_GetPropertyStr(js, why, "message");
  error->message = string_of(message);
  JS_FreeValue(js, message);
  JS_FreeValue(js, why);
  return false;
}

#define CALL(name, told, error, ...) \
  call(name, (int)(sizeof(JSValue[]){__VA_ARGS__} / sizeof(JSValue)), (JSValue[]){__VA_ARGS__}, \
       told, error)

#define TEXT(bytes) text_of((bytes)->ptr, (bytes)->len)

// The interface.

void exports_guest_describe(exports_guest_manifest_t *manifest) {
  start(0);
  JSValue told;
  call("describe", 0, NULL, &told, NULL);
  manifest->name = string_of(JS_GetPropertyUint32(js, told, 0));
  manifest->version = string_of(JS_GetPropertyUint32(js, told, 1));
  manifest->schema = (uint32_t)number_of(JS_GetPropertyUint32(js, told, 2));
  manifest->migrates_from = (uint32_t)number_of(JS_GetPropertyUint32(js, told, 3));
  manifest->api = string_of(JS_GetPropertyUint32(js, told, 4));
  manifest->keyed = JS_ToBool(js, JS_GetPropertyUint32(js, told, 5)) == 1;
}

bool exports_guest_init(exports_guest_context_t *ctx, machine_list_u8_t *config,
                        exports_guest_error_t *error) {
  JSValue told, at = context(ctx);
  return CALL("init", &told, error, at, TEXT(config));
}

bool exports_guest_check(exports_guest_context_t *ctx, exports_guest_command_t *command,
                         exports_guest_error_t *error) {
  JSValue told, at = context(ctx);
  return CALL("check", &told, error, at, caller(&command->caller), TEXT(&command->payload));
}

void exports_guest_apply(exports_guest_context_t *ctx, exports_guest_list_command_t *commands,
                         exports_guest_list_outcome_t *outcomes) {
  outcomes->len = commands->len;
  outcomes->ptr = calloc(commands->len, sizeof *outcomes->ptr);
  if (commands->len > 0 && outcomes->ptr == NULL) abort();
  for (size_t i = 0; i < commands->len; i++) {
    const types_command_t *command = &commands->ptr[i];
    exports_guest_outcome_t *outcome = &outcomes->ptr[i];
    types_error_t error;
    JSValue told, at = context(ctx);
    uint32_t mark = storage_mark();
    JSValue from = caller(&command->caller);
    outcome->is_err = !CALL("apply", &told, &error, at, from, TEXT(&command->payload));
    if (outcome->is_err) {
      storage_rollback_to(mark);
      outcome->val.err = error;
    } else {
      storage_release(mark);
      outcome->val.ok = bytes_of(told);
      JS_FreeValue(js, told);
    }
  }
}

bool exports_guest_react(exports_guest_context_t *ctx, exports_guest_trigger_t *what,
                         exports_guest_error_t *error) {
  JSValue told, at = context(ctx);
  if (what->tag == TYPES_TRIGGER_WAKE) return CALL("wake", &told, error, at);
  types_tuple2_u64_outcome_t *done = &what->val.effect_done;
  JSValue reply = JS_NULL, refused = JS_NULL;
  if (done->f1.is_err) {
    refused = JS_NewObject(js);
    set(refused, "code", JS_NewInt64(js, done->f1.val.err.code));
    set(refused, "message", TEXT(&done->f1.val.err.message));
  } else {
    reply = TEXT(&done->f1.val.ok);
  }
  return CALL("effectDone", &told, error, at, JS_NewInt64(js, (int64_t)done->f0), reply, refused);
}

bool exports_guest_query(exports_guest_context_t *ctx, machine_list_u8_t *request,
                         machine_list_u8_t *answer, types_error_t *error) {
  JSValue told, at = context(ctx);
  if (!CALL("query", &told, error, at, TEXT(request))) return false;
  *answer = bytes_of(told);
  return true;
}

bool exports_guest_migrate(exports_guest_context_t *ctx, uint32_t from_schema, uint32_t step,
                           exports_guest_progress_t *progress, exports_guest_error_t *error) {
  JSValue told, at = context(ctx);
  JSValue from = JS_NewInt64(js, from_schema), number = JS_NewInt64(js, step);
  if (!CALL("migrate", &told, error, at, from, number)) return false;
  bool more = JS_ToBool(js, told) == 1;
  *progress = more ? EXPORTS_GUEST_PROGRESS_MORE : EXPORTS_GUEST_PROGRESS_DONE;
  return true;
}

static bool key(const char *function, machine_list_u8_t *payload, machine_list_u8_t *key) {
  start(0);
  JSValue told;
  CALL(function, &told, NULL, TEXT(payload));
  if (JS_IsNull(told)) return false;
  *key = bytes_of(told);
  return true;
}

bool exports_verification_command_key(machine_list_u8_t *payload, machine_list_u8_t *found) {
  return key("commandKey", payload, found);
}

bool exports_verification_query_key(machine_list_u8_t *request, machine_list_u8_t *found) {
  return key("queryKey", request, found);
}

bool exports_verification_invariant(exports_verification_context_t *ctx, machine_string_t *wrong) {
  JSValue told, at = context(ctx);
  CALL("invariant", &told, NULL, at);
  if (JS_IsNull(told)) return true;
  *wrong = string_of(told);
  return false;
}
