// What the generated glue needs of the C library; root.zig has it. Machines in Zig link no other.
#include <stddef.h>
void *malloc(size_t size);
void *realloc(void *old, size_t size);
void free(void *old);
_Noreturn void abort(void);
