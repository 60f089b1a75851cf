/* The files that the loader has brought into memory for the VMs. */
#include "guest/vm/files.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"

static const struct handover *handover;

void files_init(const struct handover *h)
{
    handover = h;
}

const char *files_status_text(int status)
{
    switch (status) {
    case -ENOENT:
        return "there is no such file";
    case -ENODEV:
        return "corbel.conf names it nowhere, and so it was not loaded when the machine started";
    case -EISDIR:
        return "it is a directory";
    case -ENOMEM:
        return "it does not fit into this machine's memory";
    case -E2BIG:
        return "it is too large";
    default:
        return "the boot disk could not be read";
    }
}

int files_find_one(struct config_span path, struct file *out)
{
    const struct handover_file *files = phys_to_virt(handover->files);
    int status = -ENODEV;

    for (uint32_t i = 0; i < handover->file_count; i++) {
        if (files[i].path_length != path.length ||
            memcmp(phys_to_virt(files[i].path), path.data, path.length) != 0)
            continue;
        status = files[i].status;
        if (status == 0) {
            out->data = phys_to_virt(files[i].base);
            out->size = files[i].size;
            return 0;
        }
        break;
    }
    return status;
}

/* The same; an error is logged with the line. */
static int find_file(const struct vm_config *vm, uint32_t line, struct config_span path,
                     struct file *out)
{
    int status = files_find_one(path, out);

    if (status < 0)
        log_error("corbel.conf:%u: [vm %.*s]: '%.*s' cannot be loaded: %s", line,
                  (int)vm->name.length, vm->name.data, (int)path.length, path.data,
                  files_status_text(status));
    return status;
}

int files_find(const struct vm_config *c, struct vm_files *out)
{
    int e = c->firmware.data
                ? find_file(c, config_vm_line(c, CONFIG_VM_FIRMWARE), c->firmware, &out->firmware)
                : find_file(c, config_vm_line(c, CONFIG_VM_KERNEL), c->kernel, &out->kernel);

    if (e == 0 && c->initrd.data)
        e = find_file(c, config_vm_line(c, CONFIG_VM_INITRD), c->initrd, &out->initrd);
    for (unsigned i = 0; i < c->modules.count && e == 0; i++)
        e = find_file(c, c->modules.item[i].line, c->modules.item[i].file, &out->module[i]);
    return e;
}
