/* What no single line of corbel.conf shows: sections that lack something, or name what is not
 * there.
 */
#include "guest/config/config_parser.h"
#include "guest/config/disk.h"
#include "guest/config/net.h"
#include "guest/config/password.h"
#include "arch/x86/lib/string.h"

static void check_kernel(struct config_parser *p, struct vm_config *vm)
{
    if (vm->broken || vm->key_line[CONFIG_VM_KERNEL] || vm->key_line[CONFIG_VM_FIRMWARE])
        return;
    vm->broken = true;
    config_report_line(p, vm->section_line,
                       "[vm %.*s] has no kernel; add a line 'kernel = FILE', or 'firmware = uefi'",
                       (int)vm->name.length, vm->name.data);
}

/* What firmware starts it finds itself. */
static void check_firmware(struct config_parser *p, struct vm_config *vm)
{
    static const uint8_t others[] = {CONFIG_VM_KERNEL, CONFIG_VM_INITRD, CONFIG_VM_MODULE,
                                     CONFIG_VM_CMDLINE};

    if (vm->broken || !vm->key_line[CONFIG_VM_FIRMWARE])
        return;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (!vm->key_line[others[i]])
            continue;
        vm->broken = true;
        config_report_line(p, vm->key_line[others[i]],
                           "'%s' does not go with 'firmware' in [vm %.*s], which starts what is on "
                           "the VM's disks; keep one of them",
                           config_vm_keys[others[i]].name, (int)vm->name.length, vm->name.data);
    }
}

static void check_boot(struct config_parser *p, struct vm_config *vm)
{
    struct config_boot order;
    struct config_quote q;

    if (vm->broken || !vm->boot.data)
        return;
    vm->broken = !vm->key_line[CONFIG_VM_FIRMWARE] || !config_parse_boot(vm->boot, &order);
    if (!vm->key_line[CONFIG_VM_FIRMWARE])
        config_report_line(p, vm->key_line[CONFIG_VM_BOOT],
                           "'boot' is firmware's: it does not go with 'kernel' in [vm %.*s]",
                           (int)vm->name.length, vm->name.data);
    else if (vm->broken)
        config_report_line(p, vm->key_line[CONFIG_VM_BOOT],
                           "boot = '%s' in [vm %.*s] is no order; it must be of cd, disk and net, "
                           "each at most once, such as cd,disk",
                           config_quote(&q, vm->boot), (int)vm->name.length, vm->name.data);
}

/* Whichever line of the section comes first. */
static void check_whole_disks(struct config_parser *p, struct vm_config *vm)
{
    for (size_t i = 0; i < vm->disks.count && !vm->allow_whole_disk; i++) {
        const struct config_line *line = &vm->disks.item[i];
        struct config_disk disk;
        struct config_quote q;
        char error[CONFIG_MESSAGE];

        if (config_disk_parse(line->text.data, line->text.length, &disk, error) ||
            disk.kind != CONFIG_DISK_WHOLE)
            continue;
        vm->broken = true;
        config_report_line(p, line->line, "disk = %s needs `allow_whole_disk = yes` in [vm %.*s]",
                           config_quote(&q, disk.source), (int)vm->name.length, vm->name.data);
    }
}

/* Their switches may stand behind them in the file. */
static void check_nets(struct config_parser *p, struct vm_config *vm)
{
    for (size_t i = 0; i < vm->nets.count; i++) {
        const struct config_line *line = &vm->nets.item[i];
        struct config_net net;
        char error[CONFIG_MESSAGE];

        if (config_net_parse(line->text.data, line->text.length, &net, error) == 0 &&
            config_net_fits(&net, p->out, error) == 0)
            continue;
        vm->broken = true;
        config_report_line(p, line->line, "[vm %.*s]: %s", (int)vm->name.length, vm->name.data,
                           error);
    }
}

static void check_switches(struct config_parser *p)
{
    for (size_t i = 0; i < p->out->switch_count; i++) {
        struct switch_config *s = &p->out->switches[i];
        struct config_uplink uplink;
        struct config_quote q;

        if (!s->uplink.data || config_uplink_parse(s->uplink, &uplink))
            continue;
        config_report_line(p, s->key_line[CONFIG_SWITCH_UPLINK],
                           "uplink = %s in [switch %.*s] must be `first`, a network card's "
                           "place such as 00:03.0, or its MAC address",
                           config_quote(&q, s->uplink), (int)s->name.length, s->name.data);
        s->uplink = (struct config_span){NULL, 0};
    }
}

static void check_attach(struct config_parser *p)
{
    struct config_span name = p->out->attach;
    struct config_quote q;

    if (!name.data || config_span_is(name, CONFIG_MONITOR))
        return;
    for (size_t i = 0; i < p->out->vm_count; i++)
        if (config_span_equal(p->vms[i].name, name))
            return;
    config_report_line(
        p, p->out->key_line[CONFIG_HOST_ATTACH],
        "attach = '%s': there is no such VM; it must be the name of one, or " CONFIG_MONITOR,
        config_quote(&q, name));
    p->out->attach = (struct config_span){NULL, 0};
}

/* A plain port is one user's alone. */
static void check_com2(struct config_parser *p)
{
    bool trace = p->out->trace && !(p->out->trace & BIT(CONFIG_TRACE_OFF));

    if (p->out->com2 || !p->out->gdb || !trace)
        return;
    config_report_line(
        p, p->out->key_line[CONFIG_HOST_GDB],
        "gdb = com2 and trace in [host] cannot both have the second serial port as it "
        "is: the trace gets it; add a line 'com2 = framed', by which they share it, "
        "or keep one of them");
    p->out->gdb = 0;
}

static void check_check_disks(struct config_parser *p)
{
    struct config_span how = p->out->check_disks;
    struct config_quote q;

    if (!how.data || config_span_is(how, "read") ||
        (how.length > 6 && memcmp(how.data, "write:", 6) == 0))
        return;
    config_report_line(p, p->out->key_line[CONFIG_HOST_CHECK_DISKS],
                       "check_disks = '%s' is not known; it must be read or write:NAME",
                       config_quote(&q, how));
    p->out->check_disks = (struct config_span){NULL, 0};
}

static void check_state(struct config_parser *p)
{
    struct config_span where = p->out->state;
    struct config_quote q;

    if (!where.data || (where.length > 5 && memcmp(where.data, "part:", 5) == 0))
        return;
    config_report_line(p, p->out->key_line[CONFIG_HOST_STATE],
                       "state = '%s' names no partition; it must be part:NAME",
                       config_quote(&q, where));
    p->out->state = (struct config_span){NULL, 0};
}

/* What it says is nobody's business, on a screen neither. */
static void check_password(struct config_parser *p)
{
    struct config_password password;

    if (!p->out->password.data || config_password_parse(p->out->password, &password) == 0)
        return;
    config_report_line(p, p->out->key_line[CONFIG_HOST_PASSWORD],
                       "password is not what `make password` says: nobody can log in");
    p->out->password = (struct config_span){NULL, 0};
}

static void check_partitions(struct config_parser *p)
{
    for (size_t i = 0; i < p->out->disk_count; i++) {
        const struct disk_config *d = &p->out->disks[i];

        if (!d->key_line[CONFIG_DISK_SIZE] && !d->key_line[CONFIG_DISK_FROM])
            config_report_line(p, d->section_line,
                               "[disk %.*s] has neither size nor from; add a line 'size = 1G'",
                               (int)d->name.length, d->name.data);
    }
}

void config_check_vm(struct config_parser *p, struct vm_config *vm)
{
    check_kernel(p, vm);
    check_firmware(p, vm);
    check_boot(p, vm);
    check_whole_disks(p, vm);
    check_nets(p, vm);
}

void config_check_rest(struct config_parser *p)
{
    check_partitions(p);
    check_switches(p);
    check_attach(p);
    check_com2(p);
    check_check_disks(p);
    check_state(p);
    check_password(p);
}
