/*
 * Where the virtual platform's fixed devices live: I/O ports and interrupt lines, shared by the
 * device models and by the builder of the ACPI tables that describe them.
 */
#pragma once

#define PORT_PIC_MASTER    0x20  /* and 0x21 */
#define PORT_PIC_SLAVE     0xa0  /* and 0xa1 */
#define PORT_PIC_ELCR      0x4d0 /* and 0x4d1 */
#define PORT_PIT           0x40  /* 0x40-0x42 counters, 0x43 control */
#define PORT_KEYBOARD_DATA 0x60
#define PORT_SYSTEM_B      0x61 /* gate and output of the 8254's channel 2 */
#define PORT_KEYBOARD      0x64 /* status and command */
#define PORT_RTC           0x70 /* 0x70/0x71, extended RAM 0x72/0x73 */
#define PORT_DEBUG_E9      0xe9
#define PORT_SYSTEM_A      0x92  /* A20 and fast reset */
#define PORT_UART1         0x3f8 /* 8 ports */
#define PORT_DEBUG         0x402 /* the debug console, as E9h is */
#define PORT_FW_CFG        0x510 /* the key, 16 bits; 511h: data */
#define PORT_FW_CFG_DMA    0x514 /* the address of a transfer's record, big-endian */
#define PORTS_FW_CFG_DMA   8
#define PORT_IDE1          0x1f0 /* 8 ports, and: */
#define PORT_IDE1_CONTROL  0x3f6
#define PORT_IDE2          0x170
#define PORT_IDE2_CONTROL  0x376
#define IDE_COMMAND_PORTS  8
#define PORT_DISPI         0x1ce /* the Bochs display: index, 16 bits; data, at the next two */
#define PORTS_DISPI        3
#define PORT_VGA_MONO      0x3b0
#define PORTS_VGA_MONO     12
#define PORT_VGA           0x3c0
#define PORTS_VGA          32
#define PORT_PCI_ADDRESS   0xcf8
#define PORT_PCI_DATA      0xcfc
#define PORT_RESET_CONTROL 0xcf9

#define PORT_PM1A_EVENT   0x600 /* status 2 bytes, enable 2 bytes */
#define PM1A_EVENT_SIZE   4
#define PORT_PM1A_CONTROL 0x604
#define PM1A_CONTROL_SIZE 2
#define PORT_PM_TIMER     0x608 /* 32 bits wide: the FADT sets TMR_VAL_EXT */
#define PM_TIMER_SIZE     4
#define PORT_GPE0         0x620 /* status 2 bytes, enable 2 bytes */
#define GPE0_SIZE         4

#define GPE_HOTPLUG   1 /* the general-purpose event behind which the next are */
#define PORT_HOTPLUG  0xae00
#define HOTPLUG_COME  0 /* registers of 32 bits: devices of PCI that have come, */
#define HOTPLUG_GO    4 /* are to go, */
#define HOTPLUG_EJECT 8 /* are let go of: a bit for each */
#define HOTPLUG_SIZE  16

#define PM_SLP_TYP_S5       0    /* what \_S5 returns for PM1a; OVMF and SeaBIOS write it unasked */
#define RESET_CONTROL_VALUE 6    /* the FADT's RESET_VALUE: a full reset */
#define RTC_CENTURY         0x32 /* the FADT's CENTURY: index into CMOS RAM */

#define GSI_PIT      0 /* the 8259's IR0; the I/O APIC sees it as input 2 (MADT override) */
#define GSI_KEYBOARD 1
#define GSI_UART1    4
#define GSI_RTC      8
#define GSI_MOUSE    12
#define GSI_SCI      9
#define GSI_IDE1     14
#define GSI_IDE2     15

/* PIRQA to PIRQD, the four lines that PCI's INTx pins lead to: what OVMF and SeaBIOS set up. */
#define GSI_PIRQ(line) ((line) < 2 ? 10 : 11)

/* Memory of PCI: configuration space of bus 0 (ECAM), and where BARs are. */
#define GPA_ECAM           0xb0000000u
#define GPA_ECAM_SIZE      0x100000u
#define PORT_PCI           0xc000 /* I/O BARs, from here on */
#define GPA_PCI_MEMORY     0xc0000000u
#define GPA_PCI_MEMORY_END 0xfec00000u
