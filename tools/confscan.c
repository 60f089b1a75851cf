/*
 * What tools/image must know of a config, said by the parser that will read it on the machine:
 *     confscan FILE
 * prints "report LINE SENTENCE" for each problem, "path OFFSET LENGTH" for each file that a VM
 * names, "firmware OFFSET LENGTH" where it names that as its firmware or video BIOS, and "disk NAME
 * SIZE OFFSET LENGTH" for each partition, where LENGTH 0 is no file.
 */
#include <stdio.h>
#include <stdlib.h>
#include "guest/config/config.h"
#include "guest/config/disk.h"
#include "guest/watch/handler.h"

static void report(void *ctx, uint32_t line, const char *sentence)
{
    printf("report %u %s\n", line, sentence);
}

static void path(const char *text, struct config_span span)
{
    if (span.data)
        printf("path %zu %zu\n", (size_t)(span.data - text), span.length);
}

static void firmware(const char *text, struct config_span span)
{
    if (span.data)
        printf("firmware %zu %zu\n", (size_t)(span.data - text), span.length);
}

static void disk(const char *text, const struct config_line *line)
{
    struct config_disk d;
    char error[CONFIG_MESSAGE];

    if (config_disk_parse(line->text.data, line->text.length, &d, error) == 0 &&
        d.kind == CONFIG_DISK_RAM)
        path(text, d.name);
}

static void disc(const char *text, const struct config_line *line)
{
    struct config_span file;

    if (config_cdrom_file(line->text, &file))
        path(text, file);
}

static char *read_file(const char *name, size_t *length)
{
    FILE *f = fopen(name, "rb");
    size_t room = 1 << 16, n;
    char *text = malloc(room);

    if (!f || !text) {
        perror(name);
        exit(1);
    }
    *length = 0;
    while ((n = fread(text + *length, 1, room - *length, f)) > 0) {
        *length += n;
        if (*length == room) {
            room *= 2;
            text = realloc(text, room);
            if (!text)
                exit(1);
        }
    }
    if (ferror(f)) {
        perror(name);
        exit(1);
    }
    fclose(f);
    return text;
}

int main(int argc, char **argv)
{
    struct config config;
    struct vm_config *vms;
    size_t length, count;
    char *text;

    if (argc != 2)
        return 2;
    text = read_file(argv[1], &length);
    count = config_count_vms(text, length);
    vms = calloc(count + 1, sizeof(*vms));
    if (!vms)
        return 1;
    config_set_check("watch", watch_check);
    config_set_check("disk", config_disk_check);
    config_parse(text, length, &config, vms, count, report, NULL);
    for (size_t i = 0; i < config.vm_count; i++) {
        path(text, vms[i].kernel);
        firmware(text, vms[i].firmware);
        if (config_has_display(&vms[i]))
            firmware(text, vms[i].display);
        path(text, vms[i].initrd);
        for (size_t j = 0; j < vms[i].modules.count; j++)
            path(text, vms[i].modules.item[j].file);
        for (size_t j = 0; j < vms[i].disks.count; j++)
            disk(text, &vms[i].disks.item[j]);
        for (size_t j = 0; j < vms[i].cdroms.count; j++)
            disc(text, &vms[i].cdroms.item[j]);
    }
    for (size_t i = 0; i < config.disk_count; i++) {
        const struct disk_config *d = &config.disks[i];
        bool file = d->from.data != NULL;

        if (d->size || file)
            printf("disk %.*s %llu %zu %zu\n", (int)d->name.length, d->name.data,
                   (unsigned long long)d->size, file ? (size_t)(d->from.data - text) : 0,
                   d->from.length);
    }
    free(vms);
    free(text);
    return 0;
}
