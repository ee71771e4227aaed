// What a machine in C need not write: see pgraft.h.
#include "pgraft.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT __attribute__((weak))

machine_list_u8_t pgraft_bytes(const void *bytes, size_t length) {
  machine_list_u8_t copy = {NULL, 0};
  if (length > 0) {
    copy.ptr = malloc(length);
    if (copy.ptr == NULL) abort();
    memcpy(copy.ptr, bytes, length);
    copy.len = length;
  }
  return copy;
}

bool pgraft_reject(types_error_t *error, uint32_t code, const char *message) {
  error->code = code;
  machine_string_dup(&error->message, message);
  return false;
}

DEFAULT void exports_guest_apply(exports_guest_context_t *ctx,
                                 exports_guest_list_command_t *commands,
                                 exports_guest_list_outcome_t *outcomes) {
  outcomes->len = commands->len;
  outcomes->ptr = calloc(commands->len, sizeof *outcomes->ptr);
  if (commands->len > 0 && outcomes->ptr == NULL) abort();
  for (size_t i = 0; i < commands->len; i++) {
    exports_guest_outcome_t *outcome = &outcomes->ptr[i];
    machine_list_u8_t reply = {NULL, 0};
    types_error_t error = {0, {NULL, 0}};
    uint32_t mark = storage_mark();
    outcome->is_err = !machine_apply(ctx, &commands->ptr[i], &reply, &error);
    if (outcome->is_err) {
      storage_rollback_to(mark);
      outcome->val.err = error;
    } else {
      storage_release(mark);
      outcome->val.ok = reply;
    }
  }
  exports_guest_list_command_free(commands);
}

DEFAULT bool exports_guest_init(exports_guest_context_t *ctx, machine_list_u8_t *config,
                                exports_guest_error_t *error) {
  machine_list_u8_free(config);
  return true;
}

DEFAULT bool exports_guest_check(exports_guest_context_t *ctx, exports_guest_command_t *command,
                                 exports_guest_error_t *error) {
  exports_guest_command_free(command);
  return true;
}

DEFAULT bool exports_guest_react(exports_guest_context_t *ctx, exports_guest_trigger_t *what,
                                 exports_guest_error_t *error) {
  exports_guest_trigger_free(what);
  return true;
}

DEFAULT bool exports_guest_migrate(exports_guest_context_t *ctx, uint32_t from_schema,
                                   uint32_t step, exports_guest_progress_t *progress,
                                   exports_guest_error_t *error) {
  *progress = EXPORTS_GUEST_PROGRESS_DONE;
  return true;
}

DEFAULT bool exports_verification_command_key(machine_list_u8_t *payload, machine_list_u8_t *key) {
  machine_list_u8_free(payload);
  return false;
}

DEFAULT bool exports_verification_query_key(machine_list_u8_t *request, machine_list_u8_t *key) {
  machine_list_u8_free(request);
  return false;
}

DEFAULT bool exports_verification_invariant(exports_verification_context_t *ctx,
                                            machine_string_t *wrong) {
  return true;
}
