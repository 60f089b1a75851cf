/* links: guest/watch/spec.c arch/x86/lib/format.c */
/* Whatever a watch's text is, what is taken of it makes sense, and what is refused has a sentence.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "guest/watch/handler.h"
#include "tests/fuzz/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct watch_handler h = {
    .name = "linux-process", .parameter = {"rq", "comm", "pid"}, .kinds = BIT(WATCH_CR3)};
static const struct watch_handler *const table[] = {&h};
static const struct watch_handlers handlers = {table, table + 1};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[WATCH_ERROR] = "", text[WATCH_TEXT];
    struct watch_spec spec;

    if (watch_parse((const char *)data, size, &handlers, &spec, error) < 0) {
        REQUIRE(error[0] && strnlen(error, sizeof(error)) < sizeof(error));
        return 0;
    }
    REQUIRE(spec.kind < WATCH_KINDS && spec.policy <= WATCH_CALL);
    REQUIRE((spec.policy == WATCH_CALL) == (spec.handler == &h));
    REQUIRE(!spec.handler || spec.kind == WATCH_CR3);
    if (watch_is_memory(spec.kind)) {
        REQUIRE(spec.length && spec.length <= WATCH_REGION);
        REQUIRE(spec.address + (spec.length - 1) >= spec.address);
    }
    REQUIRE(spec.kind != WATCH_MSR || spec.msr < 0x800 || spec.msr > 0x8ff);
    REQUIRE(strlen(watch_event_text(&spec, text)) < WATCH_TEXT && watch_policy_text(&spec)[0]);
    return 0;
}
