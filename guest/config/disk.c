/* See disk.h. */
#include "guest/config/disk.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/config/config_text.h"

static const char *const kinds[] = {[CONFIG_DISK_RAM] = "ram",
                                    [CONFIG_DISK_PARTITION] = "part",
                                    [CONFIG_DISK_WHOLE] = "disk",
                                    NULL};

static const char *const buses[] = {[CONFIG_DISK_VIRTIO] = "virtio",
                                    [CONFIG_DISK_IDE] = "ide",
                                    [CONFIG_DISK_AHCI] = "ahci",
                                    [CONFIG_DISK_NVME] = "nvme",
                                    NULL};

static int parse_source(struct config_span source, struct config_disk *out, char *error)
{
    struct config_span kind_name = source, name = config_cut(&kind_name, ':');
    struct config_quote q;
    uint32_t kind;

    if (!name.data || !config_find_choice(kinds, config_trim(kind_name), &kind)) {
        format(error, CONFIG_MESSAGE,
               "disk = '%s' is not known; write part:NAME, part:GUID, disk:SERIAL or ram:FILE",
               config_quote(&q, source));
        return -EINVAL;
    }
    out->kind = (enum config_disk_kind)kind;
    out->name = config_trim(name);
    out->source = config_trim(source);
    if (out->name.length == 0) {
        format(error, CONFIG_MESSAGE, "disk = %s: names no %s", kinds[kind],
               kind == CONFIG_DISK_RAM         ? "file"
               : kind == CONFIG_DISK_PARTITION ? "partition"
                                               : "disk");
        return -EINVAL;
    }
    return 0;
}

/* It is printable ASCII, as it is at the guest's. */
static int parse_serial(struct config_span serial, struct config_disk *out, char *error)
{
    struct config_quote q;
    bool good = serial.length > 0 && serial.length <= CONFIG_DISK_SERIAL;

    for (size_t i = 0; i < serial.length && good; i++)
        good = serial.data[i] > ' ' && serial.data[i] <= '~';
    if (!good) {
        format(error, CONFIG_MESSAGE,
               "serial=%s of a disk must be 1 to %u characters of ASCII, without blanks",
               config_quote(&q, serial), CONFIG_DISK_SERIAL);
        return -EINVAL;
    }
    memcpy(out->serial, serial.data, serial.length);
    return 0;
}

static int parse_bus(struct config_span bus, struct config_disk *out, char *error)
{
    struct config_quote q;
    char list[64];
    uint32_t which;

    if (!config_find_choice(buses, bus, &which)) {
        format(error, CONFIG_MESSAGE, "bus=%s of a disk is not known; it must be %s",
               config_quote(&q, bus), config_list_choices(buses, list, sizeof(list)));
        return -EINVAL;
    }
    out->bus = (enum config_disk_bus)which;
    return 0;
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

int config_disk_parse(const char *text, size_t length, struct config_disk *out, char *error)
{
    struct config_span source = config_span_of(text, length), rest = config_cut(&source, ',');
    struct config_span value;
    struct config_quote q;
    int result;

    *out = (struct config_disk){0};
    result = parse_source(source, out, error);
    while (result == 0 && rest.data) {
        struct config_span option = rest;
        rest = config_cut(&option, ',');
        option = config_trim(option);
        if (config_span_is(option, "ro")) {
            out->read_only = true;
        } else if (is_option(option, "serial=", &value)) {
            result = parse_serial(value, out, error);
        } else if (is_option(option, "bus=", &value)) {
            result = parse_bus(value, out, error);
        } else {
            format(error, CONFIG_MESSAGE,
                   "'%s' of a disk is not known; known are ro, serial=TEXT and bus=BUS",
                   config_quote(&q, option));
            result = -EINVAL;
        }
    }
    return result;
}

int config_disk_check(const char *text, size_t length, char *error)
{
    struct config_disk disk;

    return config_disk_parse(text, length, &disk, error);
}

int config_disk_is_at(enum config_disk_bus bus, const char *text, size_t length, char *error)
{
    struct config_disk disk;
    int result = config_disk_parse(text, length, &disk, error);

    return result < 0 ? result : disk.bus == bus;
}

int config_disk_no_bus(const char *text, size_t length, char *error)
{
    struct config_disk disk;
    int result = config_disk_parse(text, length, &disk, error);

    if (result == 0)
        format(error, CONFIG_MESSAGE, "bus=%s: this Corbel has no such controller for VMs",
               buses[disk.bus]);
    return -EINVAL;
}

bool config_cdrom_file(struct config_span text, struct config_span *file)
{
    *file = config_trim(text);
    return !config_span_is(*file, "none");
}
