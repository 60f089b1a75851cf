/* The handlers that there are, and what a watch may say with them: for the microkernel and
 * tools/confscan. */
#include "guest/watch/handler.h"

/* The section's ends, by the linker; NULL where no handler is left. */
extern const struct watch_handler *const __start_watch_handlers[] __attribute__((weak));
extern const struct watch_handler *const __stop_watch_handlers[] __attribute__((weak));

const struct watch_handlers watch_handlers = {__start_watch_handlers, __stop_watch_handlers};

int watch_check(const char *text, size_t length, char *error)
{
    struct watch_spec spec;

    return watch_parse(text, length, &watch_handlers, &spec, error);
}
