/* ARP over Ethernet (RFC 826), as far as the check of network cards speaks it. Pure. */
#pragma once

#include "arch/x86/lib/types.h"

#define ARP_FRAME   42u
#define ARP_REQUEST 1
#define ARP_REPLY   2

struct arp {
    uint16_t operation;
    uint8_t from_mac[6], from_ip[4], to_mac[6], to_ip[4];
};

/* False: it is no ARP, or one that lies about who sends it. */
bool arp_read(const uint8_t *frame, uint32_t length, struct arp *out);
/* to_mac NULL: to everybody. */
void arp_make(uint8_t frame[ARP_FRAME], uint16_t operation, const uint8_t *mac, const uint8_t *ip,
              const uint8_t *to_mac, const uint8_t *to_ip);
/* One of 169.254.1.0 to 169.254.254.255 (RFC 3927), the same each time for that card. */
void arp_own_address(const uint8_t *mac, uint8_t ip[4]);
