/* See arp.h. */
#include "guest/net/arp.h"

#include "arch/x86/lib/string.h"

#define TO         0u
#define FROM       6u
#define HEADER     12u /* type; then hardware, protocol, their lengths */
#define OPERATION  20u
#define SENDER_MAC 22u
#define SENDER_IP  28u
#define TARGET_MAC 32u
#define TARGET_IP  38u

static const uint8_t header[] = {0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4};

bool arp_read(const uint8_t *frame, uint32_t length, struct arp *out)
{
    if (length < ARP_FRAME || memcmp(frame + HEADER, header, sizeof(header)) != 0 ||
        memcmp(frame + FROM, frame + SENDER_MAC, 6) != 0 || (frame[FROM] & 1))
        return false;
    out->operation = (uint16_t)(frame[OPERATION] << 8 | frame[OPERATION + 1]);
    memcpy(out->from_mac, frame + SENDER_MAC, 6);
    memcpy(out->from_ip, frame + SENDER_IP, 4);
    memcpy(out->to_mac, frame + TARGET_MAC, 6);
    memcpy(out->to_ip, frame + TARGET_IP, 4);
    return out->operation == ARP_REQUEST || out->operation == ARP_REPLY;
}

void arp_make(uint8_t frame[ARP_FRAME], uint16_t operation, const uint8_t *mac, const uint8_t *ip,
              const uint8_t *to_mac, const uint8_t *to_ip)
{
    memset(frame, 0, ARP_FRAME);
    memset(frame + TO, 0xff, 6);
    if (to_mac) {
        memcpy(frame + TO, to_mac, 6);
        memcpy(frame + TARGET_MAC, to_mac, 6);
    }
    memcpy(frame + FROM, mac, 6);
    memcpy(frame + HEADER, header, sizeof(header));
    frame[OPERATION + 1] = (uint8_t)operation;
    memcpy(frame + SENDER_MAC, mac, 6);
    memcpy(frame + SENDER_IP, ip, 4);
    memcpy(frame + TARGET_IP, to_ip, 4);
}

void arp_own_address(const uint8_t *mac, uint8_t ip[4])
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (unsigned i = 0; i < 6; i++)
        h = (h ^ mac[i]) * 16777619u;
    ip[0] = 169;
    ip[1] = 254;
    ip[2] = (uint8_t)(1 + (h >> 8) % 254);
    ip[3] = (uint8_t)h;
}
