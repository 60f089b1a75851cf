/*
 * Flows: the frames that two ends send each other, by their addresses, and by their ports where
 * there are any. Pure.
 */
#pragma once

#include "guest/net/frame.h"

/*
 * A number of the flow that a frame belongs to, the same in both directions. first: its first
 * bytes, of which there are so many; what they say is believed. Fragments have no ports, and what
 * is not IP is one flow: 0.
 */
uint32_t net_flow(const uint8_t *first, uint32_t length);
