/* See net.h. */
#include "guest/config/net.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/config/config_text.h"

static const char *const models[] = {"virtio", "e1000", NULL};

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Six times two digits; of one card, and not of nobody. */
static bool parse_address(struct config_span s, uint8_t *mac)
{
    bool good = s.length == 3 * CONFIG_MAC - 1;
    unsigned sum = 0;

    for (unsigned i = 0; i < CONFIG_MAC && good; i++) {
        int high = hex(s.data[3 * i]), low = hex(s.data[3 * i + 1]);

        good = high >= 0 && low >= 0 && (i == CONFIG_MAC - 1 || s.data[3 * i + 2] == ':');
        mac[i] = good ? (uint8_t)(high << 4 | low) : 0;
        sum += mac[i];
    }
    return good && sum > 0 && !(mac[0] & 1);
}

/* BUS:DEV.FN, as lspci writes it. */
static bool parse_place(struct config_span s, uint16_t *place)
{
    int digit[5];

    if (s.length != 7 || s.data[2] != ':' || s.data[5] != '.')
        return false;
    for (unsigned i = 0, at = 0; i < 5; i++, at += i == 2 || i == 4 ? 2 : 1)
        if ((digit[i] = hex(s.data[at])) < 0)
            return false;
    if (digit[2] > 1 || digit[4] > 7)
        return false;
    *place = (uint16_t)(digit[0] << 12 | digit[1] << 8 | digit[2] << 7 | digit[3] << 3 | digit[4]);
    return true;
}

bool config_uplink_parse(struct config_span text, struct config_uplink *out)
{
    *out = (struct config_uplink){0};
    out->by_place = parse_place(text, &out->place);
    out->by_mac = parse_address(text, out->mac);
    return out->by_place || out->by_mac || config_span_is(text, "first");
}

static int parse_mac(struct config_span value, struct config_net *out, char *error)
{
    struct config_quote q;

    out->has_mac = parse_address(value, out->mac);
    if (out->has_mac)
        return 0;
    format(error, CONFIG_MESSAGE,
           "mac=%s must be the address of one network card, such as 52:54:00:12:34:56",
           config_quote(&q, value));
    return -EINVAL;
}

static int parse_vlan(struct config_span value, struct config_net *out, char *error)
{
    struct config_quote q;
    uint64_t n;

    if (!config_parse_number(value, &n) || n < 1 || n > CONFIG_VLAN_MAX) {
        format(error, CONFIG_MESSAGE, "vlan=%s must be from 1 to %u", config_quote(&q, value),
               CONFIG_VLAN_MAX);
        return -EINVAL;
    }
    out->vlan = (uint16_t)n;
    return 0;
}

static int parse_queues(struct config_span value, struct config_net *out, char *error)
{
    struct config_quote q;
    uint64_t n;

    if (!config_parse_number(value, &n) || n < 1 || n > CONFIG_PAIRS) {
        format(error, CONFIG_MESSAGE, "queues=%s must be from 1 to %u", config_quote(&q, value),
               CONFIG_PAIRS);
        return -EINVAL;
    }
    out->queues = (uint8_t)n;
    return 0;
}

static int parse_rate(struct config_span value, struct config_net *out, char *error)
{
    static const char *const units[] = {"Kbit", "Mbit", "Gbit", NULL};
    static const uint64_t sizes[] = {1000, 1000000, 1000000000};
    struct config_span number = value, unit;
    struct config_quote q;
    uint32_t which;
    uint64_t n;

    number.length = 0;
    while (number.length < value.length && value.data[number.length] >= '0' &&
           value.data[number.length] <= '9')
        number.length++;
    unit = config_span_of(value.data + number.length, value.length - number.length);
    if (!config_parse_number(number, &n) || !config_find_choice(units, unit, &which) ||
        n > CONFIG_RATE_MAX || n * sizes[which] < CONFIG_RATE_MIN ||
        n * sizes[which] > CONFIG_RATE_MAX) {
        format(error, CONFIG_MESSAGE, "rate=%s must be from 64Kbit to 100Gbit, such as 10Mbit",
               config_quote(&q, value));
        return -EINVAL;
    }
    out->rate = n * sizes[which];
    return 0;
}

static int parse_model(struct config_span value, struct config_net *out, char *error)
{
    struct config_quote q;
    char list[40];
    uint32_t which;

    if (config_find_choice(models, value, &which)) {
        out->e1000 = which > 0;
        return 0;
    }
    format(error, CONFIG_MESSAGE, "model=%s of a network card is not known; it must be %s",
           config_quote(&q, value), config_list_choices(models, list, sizeof(list)));
    return -EINVAL;
}

/* Whether option begins with name, which ends in '='; *value is the rest then. */
static bool is_option(struct config_span option, const char *name, struct config_span *value)
{
    size_t length = strlen(name);

    if (option.length < length || memcmp(option.data, name, length) != 0)
        return false;
    *value = config_span_of(option.data + length, option.length - length);
    return true;
}

static int parse_option(struct config_span option, struct config_net *out, char *error)
{
    struct config_span value;
    struct config_quote q;

    if (is_option(option, "mac=", &value))
        return parse_mac(value, out, error);
    if (is_option(option, "vlan=", &value))
        return parse_vlan(value, out, error);
    if (is_option(option, "rate=", &value))
        return parse_rate(value, out, error);
    if (is_option(option, "queues=", &value))
        return parse_queues(value, out, error);
    if (is_option(option, "model=", &value))
        return parse_model(value, out, error);
    if (config_span_is(option, "isolated")) {
        out->isolated = true;
    } else if (config_span_is(option, "any-mac")) {
        out->any_mac = true;
    } else {
        format(error, CONFIG_MESSAGE,
               "'%s' of a network card is not known; known are mac=MAC, vlan=N, rate=RATE, "
               "queues=N, isolated, any-mac and model=MODEL",
               config_quote(&q, option));
        return -EINVAL;
    }
    return 0;
}

int config_net_parse(const char *text, size_t length, struct config_net *out, char *error)
{
    struct config_span on = config_span_of(text, length), rest = config_cut(&on, ',');
    int result = 0;

    *out = (struct config_net){.on = config_trim(on)};
    if (out->on.length == 0) {
        format(error, CONFIG_MESSAGE, "net names no switch; write the name of a [switch NAME]");
        return -EINVAL;
    }
    while (result == 0 && rest.data) {
        struct config_span option = rest;

        rest = config_cut(&option, ',');
        result = parse_option(config_trim(option), out, error);
    }
    if (result == 0 && out->e1000 && out->queues > 1) {
        format(error, CONFIG_MESSAGE, "queues=%u needs model=virtio: an e1000 has one pair",
               out->queues);
        return -EINVAL;
    }
    return result;
}

const struct switch_config *config_switch(const struct config *config, struct config_span name)
{
    for (size_t i = 0; i < config->switch_count; i++)
        if (config_span_equal(config->switches[i].name, name))
            return &config->switches[i];
    return NULL;
}

int config_net_fits(const struct config_net *net, const struct config *config, char *error)
{
    const struct switch_config *s = config_switch(config, net->on);
    struct config_quote q;

    if (!s)
        format(error, CONFIG_MESSAGE, "net = %s: there is no [switch %s] in this file",
               config_quote(&q, net->on), config_quote(&q, net->on));
    else if (s->vlans && !net->vlan)
        format(error, CONFIG_MESSAGE, "net = %s: that switch has VLANs; say which by vlan=N",
               config_quote(&q, net->on));
    else if (!s->vlans && net->vlan)
        format(error, CONFIG_MESSAGE,
               "net = %s: vlan=%u needs `vlans = yes` in the switch's section",
               config_quote(&q, net->on), net->vlan);
    else
        return 0;
    return -EINVAL;
}

/* FNV-1a, of 64 bits. */
void config_net_mac(struct config_span vm, unsigned index, uint8_t *mac)
{
    uint64_t h = 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < vm.length; i++)
        h = (h ^ (uint8_t)vm.data[i]) * 0x100000001b3ULL;
    h = (h ^ '/') * 0x100000001b3ULL;
    h = (h ^ index) * 0x100000001b3ULL;
    h ^= h >> 32;
    for (unsigned i = 0; i < CONFIG_MAC; i++)
        mac[i] = (uint8_t)(h >> 8 * i);
    mac[0] = (uint8_t)((mac[0] & ~1) | 2); /* of one card; locally administered */
}
