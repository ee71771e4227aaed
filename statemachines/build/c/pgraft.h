// What a machine in C is written with, beside the generated "machine.h".
//
// Write `exports_guest_describe`, `machine_apply` and `exports_guest_query`; everything else that
// the interface asks for stands in defaults.c and gives way to a function of yours of that name.
// What you return is freed by the generated glue: allocate it with malloc.
#ifndef PGRAFT_H
#define PGRAFT_H

#include "machine.h"

// Rejection of a payload that is not a command or query.
#define PGRAFT_MALFORMED 100

// Carries out one command: true with a reply, or false with an error (code 100 and above), and
// then everything it wrote is undone. Whatever you return may be kept empty.
bool machine_apply(const types_context_t *ctx, const types_command_t *command,
                   machine_list_u8_t *reply, types_error_t *error);

// A copy of these bytes.
machine_list_u8_t pgraft_bytes(const void *bytes, size_t length);

// Fills in an error and returns false, so that `return pgraft_reject(error, 101, "no");` ends it.
bool pgraft_reject(types_error_t *error, uint32_t code, const char *message);

#endif
