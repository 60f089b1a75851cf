/* What mmc.c and mmc_info.c share: packets, sense, the disc. */
#pragma once

#include "arch/x86/lib/string.h"
#include "guest/devices/ide/ide.h"

/* Sense keys; codes with their qualifiers. */
#define NOT_READY       2
#define MEDIUM_ERROR    3
#define ILLEGAL_REQUEST 5
#define UNIT_ATTENTION  6

#define UNRECOVERED       0x1100
#define BAD_OPERATION     0x2000
#define BAD_BLOCK         0x2100
#define BAD_FIELD         0x2400
#define NEW_DISC          0x2800
#define NO_SAVED_VALUES   0x3900
#define NO_DISC           0x3a01 /* the tray is closed */
#define NO_DISC_OPEN      0x3a02
#define REMOVAL_PREVENTED 0x5302

enum {
    TEST_UNIT_READY = 0x00,
    REQUEST_SENSE = 0x03,
    INQUIRY = 0x12,
    MODE_SENSE_6 = 0x1a,
    START_STOP = 0x1b,
    PREVENT_ALLOW = 0x1e,
    READ_CAPACITY = 0x25,
    READ_10 = 0x28,
    SEEK_10 = 0x2b,
    READ_TOC = 0x43,
    GET_CONFIGURATION = 0x46,
    GET_EVENT = 0x4a,
    READ_DISC_INFORMATION = 0x51,
    MODE_SENSE_10 = 0x5a,
    READ_12 = 0xa8,
    SET_SPEED = 0xbb,
    MECHANISM_STATUS = 0xbd,
    READ_CD = 0xbe,
};

static inline void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

static inline uint32_t get16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t get32(const uint8_t *at)
{
    return get16(at) << 16 | get16(at + 2);
}

static inline bool has_disc(const struct ide_drive *d)
{
    return d->disk.block;
}

static inline uint32_t blocks(const struct ide_drive *d)
{
    return has_disc(d) ? (uint32_t)(d->disk.block->sectors / IDE_CD_SECTORS) : 0;
}

static inline void illegal(struct ide_drive *d, uint16_t code)
{
    ide_cd_fail(d, ILLEGAL_REQUEST, code);
}

/* Answers of mmc_info.c. */
void ide_cd_inquiry(struct ide_drive *d, const uint8_t *packet);
void ide_cd_mode_sense(struct ide_drive *d, const uint8_t *packet);
void ide_cd_toc(struct ide_drive *d, const uint8_t *packet);
void ide_cd_configuration(struct ide_drive *d, const uint8_t *packet);
void ide_cd_disc_information(struct ide_drive *d, const uint8_t *packet);
