#include "guest/console/places.h"

#include "arch/x86/lib/format.h"
#include "guest/vm/control.h"
#include "mm/heap.h"

static struct place {
    unsigned vm;
    int port;
    unsigned ports; /* of a serial port: the number of the VM's first other one */
} * places;
static unsigned count; /* of them; 0: there was no memory */

unsigned places_make(void)
{
    unsigned vms = control_count(), next = vms, all = vms;

    for (unsigned i = 0; i < vms; i++)
        all += control_slot(i)->config->console;
    places = heap_alloc((all + 1) * sizeof(*places));
    count = places ? all : 0;
    for (unsigned i = 0; i < vms && places; i++) {
        places[i] = (struct place){.vm = i, .port = VM_SERIAL, .ports = next};
        for (unsigned n = 0; n < control_slot(i)->config->console; n++)
            places[next++] = (struct place){.vm = i, .port = (int)n};
    }
    return places ? all : vms;
}

unsigned place_vm(unsigned id)
{
    return id < count ? places[id].vm : id;
}

int place_port(unsigned id)
{
    return id < count ? places[id].port : VM_SERIAL;
}

unsigned place_number(unsigned vm, int port)
{
    return port == VM_SERIAL || vm >= count ? vm : places[vm].ports + (unsigned)port;
}

const char *place_name(unsigned id, char name[PLACE_NAME])
{
    int port = place_port(id);

    format(name, PLACE_NAME, port == VM_SERIAL ? "%s" : "%s.%u", control_slot(place_vm(id))->name,
           (unsigned)port);
    return name;
}
