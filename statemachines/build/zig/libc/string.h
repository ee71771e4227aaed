// What the generated glue needs of the C library; root.zig has it. Machines in Zig link no other.
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t size);
size_t strlen(const char *text);
