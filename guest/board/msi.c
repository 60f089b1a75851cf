/* Message-signalled interrupts. */
#include "guest/board/apic_message.h"

#define ADDRESS_PREFIX   0xfee
#define ADDRESS_DEST(a)  ((uint8_t)((a) >> 12))
#define ADDRESS_REDIRECT BIT(3) /* to the one of lowest priority */
#define ADDRESS_LOGICAL  BIT(2)
#define DATA_VECTOR(d)   ((uint8_t)(d))
#define DATA_MODE(d)     ((d) >> 8 & 7)
#define DATA_ASSERT      BIT(14)
#define DATA_LEVEL       BIT(15)

bool apic_message_of_msi(struct apic_message *m, uint64_t address, uint32_t data)
{
    bool level = data & DATA_LEVEL;

    if (address >> 20 != ADDRESS_PREFIX || (level && !(data & DATA_ASSERT)))
        return false;
    *m = (struct apic_message){
        .dest = ADDRESS_DEST(address) == 0xff ? APIC_BROADCAST : ADDRESS_DEST(address),
        .vector = DATA_VECTOR(data),
        .mode = DATA_MODE(data),
        .logical = (address & ADDRESS_LOGICAL) != 0,
        .level = level,
    };
    if ((address & ADDRESS_REDIRECT) && m->mode == APIC_FIXED)
        m->mode = APIC_LOWEST_PRIORITY;
    return true;
}
