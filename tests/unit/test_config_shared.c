/* links: guest/config/config.c guest/config/config_check.c guest/config/password.c guest/config/config_keys.c guest/config/config_text.c guest/config/config_value.c guest/config/disk.c guest/config/net.c guest/watch/spec.c arch/x86/lib/format.c */
/* What a config says of what VMs share: [disk NAME] and [switch NAME]. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/config/config_text.h"
#include "guest/config/net.h"
#include "tests/unit/config_read.h"

static void test_disks(void **state)
{
    char many[1000] = "";

    assert_int_equal(
        parse("[disk root]\nsize = 256M # of it\nfrom = a/root.qcow2\n[vm a]\nkernel = "
              "k\n[disk more]\nfrom = m\n"),
        1);
    assert_int_equal(told_count, 0);
    assert_int_equal(config.disk_count, 2);
    expect_span(config.disks[0].name, "root");
    assert_int_equal(config.disks[0].size, 256 * MIB);
    expect_span(config.disks[0].from, "a/root.qcow2");
    assert_int_equal(config.disks[1].size, 0);
    expect_one("[disk a]\nsize = 1M\n[disk a]\nsize = 2M\n", 3,
               "[disk a] is given twice, first in line 1; give each disk its own name");
    expect_one("[disk a b]\nsize = 1M\n", 1,
               "'a b' is not a disk's name; it must be 1 to 31 of A-Z, a-z, 0-9, '_' and '-'");
    expect_one("[disk a]\n[host]\n", 1,
               "[disk a] has neither size nor from; add a line 'size = 1G'");
    expect_one("[disk a]\nsize = 1M\nmemory = 1M\n", 3,
               "'memory' does not belong in [disk a] but in a [vm NAME] section");
    expect_one("[host]\nsize = 1M\n", 2,
               "'size' does not belong in [host] but in a [disk NAME] section");
    expect_one("[disk a]\nsize = 1K\n", 2,
               "size = 1K in [disk a] is too small; it must be from 1M to 16384G");
    expect_one("[disk a]\nsize = 1\n", 2,
               "size = '1' in [disk a] is not a size; write a number and K, M or G, such as 1M");
    for (unsigned i = 0; i <= CONFIG_MAX_DISKS; i++)
        snprintf(many + strlen(many), 40, "[disk d%u]\nsize = 1M\n", i);
    expect_one(many, 2 * CONFIG_MAX_DISKS + 1,
               "[disk d16] is one too many: at most 16 are possible");
}

static void test_switches_and_cards(void **state)
{
    static const struct {
        const char *net, *sentence;
    } wrong[] = {
        {"wan", "[vm a]: net = wan: there is no [switch wan] in this file"},
        {",vlan=4", "[vm a]: net names no switch; write the name of a [switch NAME]"},
        {"lan,vlan=4", "[vm a]: net = lan: vlan=4 needs `vlans = yes` in the switch's section"},
        {"parts", "[vm a]: net = parts: that switch has VLANs; say which by vlan=N"},
        {"parts,vlan=4095", "[vm a]: vlan=4095 must be from 1 to 4094"},
        {"lan,rate=10", "[vm a]: rate=10 must be from 64Kbit to 100Gbit, such as 10Mbit"},
        {"lan,rate=63Kbit", "[vm a]: rate=63Kbit must be from 64Kbit to 100Gbit, such as 10Mbit"},
        {"lan,rate=101Gbit", "[vm a]: rate=101Gbit must be from 64Kbit to 100Gbit, such as 10Mbit"},
        {"lan,mac=52:54:00:12:34", "[vm a]: mac=52:54:00:12:34 must be the address of one network "
                                   "card, such as 52:54:00:12:34:56"},
        {"lan,mac=53:54:00:12:34:56", "[vm a]: mac=53:54:00:12:34:56 must be the address of one "
                                      "network card, such as 52:54:00:12:34:56"},
        {"lan,mac=5x:54:00:12:34:56", "[vm a]: mac=5x:54:00:12:34:56 must be the address of one "
                                      "network card, such as 52:54:00:12:34:56"},
        {"lan,model=ne2000", "[vm a]: model=ne2000 of a network card is not known; it must be "
                             "virtio or e1000"},
        {"lan,fast", "[vm a]: 'fast' of a network card is not known; known are mac=MAC, vlan=N, "
                     "rate=RATE, queues=N, isolated, any-mac and model=MODEL"},
        {"lan,queues=0", "[vm a]: queues=0 must be from 1 to 16"},
        {"lan,queues=17", "[vm a]: queues=17 must be from 1 to 16"},
        {"lan,queues=2x", "[vm a]: queues=2x must be from 1 to 16"},
        {"lan,queues=2,model=e1000", "[vm a]: queues=2 needs model=virtio: an e1000 has one pair"},
    };
    static const char *const uplinks[] = {"eth0",   "00:20.0", "00:03.8",  "00-03.0",
                                          "0:03.0", "0x:03.0", "00:03.00", "53:54:00:12:34:56"};
    char text[300], line[100], error[CONFIG_MESSAGE];
    struct config_uplink uplink;
    struct config_net net;
    uint8_t mac[3][CONFIG_MAC];

    assert_int_equal(parse("[vm a]\nkernel=k\nnet = lan\nnet=parts , vlan=7,rate=10Mbit, "
                           "isolated,any-mac,model=virtio,mac=52:54:00:aB:cd:ef\n"
                           "[switch lan]\nmtu=9000\n[switch parts]\nvlans=yes\n"),
                     1);
    assert_int_equal(told_count, 0);
    assert_int_equal(config.switch_count, 2);
    assert_int_equal(config.switches[0].mtu, 9000);
    assert_int_equal(config.switches[0].vlans, 0);
    assert_int_equal(config.switches[1].mtu, 1500);
    assert_int_equal(config.switches[1].vlans, 1);
    assert_int_equal(vms[0].nets.count, 2);
    assert_int_equal(config_net_parse(vms[0].nets.item[1].text.data,
                                      vms[0].nets.item[1].text.length, &net, error),
                     0);
    assert_true(config_switch(&config, net.on) == &config.switches[1]);
    assert_int_equal(net.vlan, 7);
    assert_int_equal(net.rate, 10000000);
    assert_true(net.isolated && net.any_mac && net.has_mac && !net.e1000);
    assert_memory_equal(net.mac, "\x52\x54\x00\xab\xcd\xef", 6);
    assert_int_equal(net.queues, 0);
    assert_int_equal(config_net_parse("lan,queues=16", 13, &net, error), 0);
    assert_int_equal(net.queues, 16);
    assert_int_equal(config_net_parse("lan,queues=1,model=e1000", 24, &net, error), 0);
    assert_int_equal(config_net_parse("lan,model=e1000", 15, &net, error), 0);
    assert_true(net.e1000 && !net.isolated);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text),
                 "[vm a]\nkernel=k\nnet=%s\n[switch lan]\n[switch parts]\nvlans=yes\n",
                 wrong[i].net);
        expect_one(text, 3, wrong[i].sentence);
        assert_true(vms[0].broken);
    }
    for (size_t i = 0; i < ARRAY_SIZE(uplinks); i++) {
        snprintf(text, sizeof(text),
                 "uplink = %s in [switch lan] must be `first`, a network "
                 "card's place such as 00:03.0, or its MAC address",
                 uplinks[i]);
        snprintf(line, sizeof(line), "[switch lan]\nuplink = %s\n", uplinks[i]);
        expect_one(line, 2, text);
        assert_null(config.switches[0].uplink.data);
    }
    assert_true(config_uplink_parse(config_span_of("first", 5), &uplink));
    assert_false(uplink.by_place || uplink.by_mac);
    assert_true(config_uplink_parse(config_span_of("a1:1f.7", 7), &uplink));
    assert_true(uplink.by_place && uplink.place == 0xa1ff);
    assert_true(config_uplink_parse(config_span_of("52:54:00:ab:cd:ef", 17), &uplink));
    assert_true(uplink.by_mac && uplink.mac[5] == 0xef);
    expect_one("[switch lan]\n[switch lan]\n", 2,
               "[switch lan] is given twice, first in line 1; give each switch its own name");
    expect_one("[switch l n]\n", 1,
               "'l n' is not a switch's name; it must be 1 to 31 of A-Z, a-z, 0-9, '_' and '-'");
    expect_one("[switch lan]\nmtu = 500\n", 2,
               "mtu = 500 in [switch lan] is too small; it must be from 576 to 9216");
    expect_one("[host]\nmtu = 1500\n", 2,
               "'mtu' does not belong in [host] but in a [switch NAME] section");
    /* Of one card, locally administered, and the same each time. */
    config_net_mac(config_span_of("a", 1), 0, mac[0]);
    config_net_mac(config_span_of("a", 1), 1, mac[1]);
    config_net_mac(config_span_of("b", 1), 0, mac[2]);
    assert_int_equal(mac[0][0] & 3, 2);
    assert_memory_not_equal(mac[0], mac[1], CONFIG_MAC);
    assert_memory_not_equal(mac[0], mac[2], CONFIG_MAC);
    assert_memory_equal(mac[0], "\x02\x4e\x48\xe2\x19\x21", CONFIG_MAC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disks),
        cmocka_unit_test(test_switches_and_cards),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
