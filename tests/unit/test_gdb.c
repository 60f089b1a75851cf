/* links: guest/gdb/memory.c guest/gdb/packet.c guest/gdb/query.c guest/gdb/registers.c guest/gdb/stub.c guest/gdb/words.c arch/x86/lib/format.c */
/* GDB's protocol on a target of two threads and 64 bytes of memory. That gdb understands it is
 * tests/machine/gdb.py's to show. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/gdb/stub.h"

#define MEMORY_AT   0x1000
#define PHYSICAL_AT 0x20

static struct gdb_stub stub;
static char sent[8 * GDB_FRAME];
static size_t sent_length;

/* The target. */
static struct gdb_registers registers[2];
static uint8_t memory[64];
static bool away; /* the target runs, unasked */
static unsigned threads, stops, detached, cleared, reads;
static enum gdb_action actions[GDB_THREADS];
static int resume_result;
static struct gdb_point inserted, removed;

static void send(const void *data, size_t size)
{
    assert_true(sent_length + size < sizeof(sent));
    memcpy(sent + sent_length, data, size);
    sent_length += size;
    sent[sent_length] = '\0';
}

static unsigned target_threads(void)
{
    return threads;
}

static bool target_thread_text(unsigned thread, struct gdb_text *out)
{
    gdb_say(out, "vCPU %u", thread);
    return true;
}

static int target_get(unsigned thread, struct gdb_registers *r)
{
    if (thread >= threads)
        return -EBUSY;
    *r = registers[thread];
    return 0;
}

static int target_set(unsigned thread, const struct gdb_registers *r)
{
    registers[thread] = *r;
    return 0;
}

static size_t part(bool physical, uint64_t *address, size_t size)
{
    uint64_t base = physical ? PHYSICAL_AT : MEMORY_AT;

    if (*address < base || *address >= base + sizeof(memory))
        return 0;
    *address -= base;
    return MIN(size, sizeof(memory) - *address);
}

static size_t target_read(unsigned thread, bool physical, uint64_t address, void *data, size_t size)
{
    assert_true(size < GDB_PAYLOAD); /* 4 GiB have no room in data */
    reads++;
    size = part(physical, &address, size);
    memcpy(data, memory + address, size);
    return size;
}

static size_t target_write(unsigned thread, bool physical, uint64_t address, const void *data,
                           size_t size)
{
    size = part(physical, &address, size);
    memcpy(memory + address, data, size);
    return size;
}

static int target_insert(unsigned thread, const struct gdb_point *p)
{
    inserted = *p;
    return p->address == 0xbad ? -EFAULT : 0;
}

static int target_remove(const struct gdb_point *p)
{
    removed = *p;
    return 0;
}

static void target_remove_all(void)
{
    cleared++;
}

static bool target_ready(void)
{
    return !away;
}

static int target_resume(const enum gdb_action *action)
{
    memcpy(actions, action, sizeof(actions));
    return resume_result;
}

static void target_stop(void)
{
    stops++;
}

static void target_detach(void)
{
    detached++;
}

static void target_monitor(const char *line, size_t length, struct gdb_text *out)
{
    gdb_say(out, "<%.*s>", (int)length, line);
}

static const struct gdb_target target = {
    .threads = target_threads,
    .thread_text = target_thread_text,
    .get = target_get,
    .set = target_set,
    .read = target_read,
    .write = target_write,
    .insert = target_insert,
    .remove = target_remove,
    .remove_all = target_remove_all,
    .ready = target_ready,
    .resume = target_resume,
    .stop = target_stop,
    .detach = target_detach,
    .monitor = target_monitor,
};

static int fresh(void **state)
{
    gdb_stub_init(&stub, &target, send);
    sent_length = 0;
    sent[0] = '\0';
    threads = 2;
    away = false;
    stops = detached = cleared = reads = 0;
    resume_result = 0;
    memset(registers, 0, sizeof(registers));
    for (unsigned i = 0; i < sizeof(memory); i++)
        memory[i] = (uint8_t)i;
    return 0;
}

static void type(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        gdb_stub_input(&stub, (uint8_t)bytes[i]);
}

/* Send a command; its answer's payload, "" when there is none. */
static const char *ask(const char *payload)
{
    static char answer[GDB_FRAME];
    char frame[GDB_FRAME];
    const char *end;

    sent_length = 0;
    sent[0] = '\0';
    type(frame, gdb_frame(frame, payload, strlen(payload)));
    if (stub.no_ack)
        return "no acks any more";
    assert_int_equal(sent[0], '+');
    if (sent[1] != '$')
        return "";
    end = sent + sent_length - 3;
    assert_int_equal(*end, '#');
    snprintf(answer, sizeof(answer), "%.*s", (int)(end - sent - 2), sent + 2);
    return answer;
}

static void test_framing(void **state)
{
    char frame[GDB_FRAME];
    size_t n = gdb_frame(frame, "a$}*#", 5);

    assert_int_equal(n, 1 + 9 + 3);
    assert_memory_equal(frame, "$a}\x04}]}\n}\x03#", 11);
    type(frame, n);
    assert_int_equal(stub.in.length, 5);
    assert_memory_equal(stub.in.payload, "a$}*#", 6);
    assert_string_equal(sent, "+$#00"); /* unknown: an empty answer */
}

static void test_bad_checksum(void **state)
{
    type("$qC#b5", 6);
    assert_string_equal(sent, "-");
    type("$qC#zz", 6);
    assert_string_equal(sent, "--");
    type("$qC#b4", 6);
    assert_string_equal(sent, "--+$QC1#c5");
    type("-", 1); /* it was damaged on the way */
    assert_string_equal(sent, "--+$QC1#c5$QC1#c5");
    type("+", 1);
    assert_string_equal(sent, "--+$QC1#c5$QC1#c5");
}

static void test_died_in_mid_packet(void **state)
{
    type("noise$m1000,4", 13);
    type("+$qC#b4", 7);
    assert_string_equal(sent, "+$QC1#c5");
}

static void test_too_long(void **state)
{
    gdb_stub_input(&stub, '$');
    for (unsigned i = 0; i < 3 * GDB_PAYLOAD; i++)
        gdb_stub_input(&stub, 'a');
    type("#00", 3);
    assert_string_equal(sent, "-");
    assert_string_equal(ask("qC"), "QC1");
}

static void test_numbers(void **state)
{
    const char *text = "ffffffffffffffff,1ffffffffffffffff", *end = text + strlen(text);
    uint64_t n;

    assert_true(gdb_get_number(&text, end, &n));
    assert_int_equal(n, UINT64_MAX);
    assert_int_equal(*text, ',');
    assert_false(gdb_get_number(&text, end, &n)); /* no digit */
    text++;
    assert_false(gdb_get_number(&text, end, &n)); /* 65 bits */
    text = end;
    assert_false(gdb_get_number(&text, end, &n));
}

static void test_greeting(void **state)
{
    const char *answer = ask("qSupported:multiprocess+;swbreak+;hwbreak+");

    assert_non_null(strstr(answer, "PacketSize=800;"));
    assert_non_null(strstr(answer, "qXfer:features:read+"));
    assert_string_equal(ask("vMustReplyEmpty"), "");
    assert_string_equal(ask("qAttached"), "1");
    assert_string_equal(ask("qfThreadInfo"), "m1,2");
    assert_string_equal(ask("qsThreadInfo"), "l");
    assert_string_equal(ask("qThreadExtraInfo,2"), "764350552031");
    assert_string_equal(ask("qThreadExtraInfo,3"), "E16");
    assert_string_equal(ask("T2"), "OK");
    assert_string_equal(ask("T3"), "E16");
}

static void test_no_ack(void **state)
{
    ask("qSupported");
    ask("QStartNoAckMode");
    sent_length = 0;
    type("$qC#b4", 6);
    assert_string_equal(sent, "$QC1#c5");
    sent_length = 0;
    type("$qC#b5", 6); /* damaged: nobody listens */
    assert_int_equal(sent_length, 0);
    ask("qSupported"); /* another gdb */
    assert_int_equal(sent[0], '+');
    assert_false(stub.no_ack);
}

/* LLDB greets with "+" and that one; its next question must not be answered by an acknowledgement.
 */
static void test_no_ack_comes_first(void **state)
{
    for (unsigned session = 0; session < 3; session++) {
        sent_length = 0;
        type("+", 1);
        type("$QStartNoAckMode#b0", 19);
        assert_string_equal(sent, "+$OK#9a");
        sent_length = 0;
        type("+$qC#b4", 7);
        assert_string_equal(sent, "$QC1#c5");
        sent_length = 0;
        type("$qSupported#37", 14);
        assert_memory_equal(sent, "$PacketSize", 11);
        sent_length = 0;
        type("$qC#b4", 6);
        assert_string_equal(sent, "$QC1#c5");
    }
    sent_length = 0;
    type("$QStartNoAckMode#b0", 19); /* one that does not even say "+" */
    assert_string_equal(sent, "+$OK#9a");
}

/* Whatever the last session left, "+" where none is due begins one with acknowledgements. */
static void test_new_session(void **state)
{
    ask("qSupported:multi-wp-addr+");
    ask("Qqemu.PhyMemMode:1");
    ask("QStartNoAckMode");
    type("-", 1); /* the OK was damaged on the way */
    assert_string_equal(sent, "+$OK#9a$OK#9a");
    type("+$vCont;c#a8", 12); /* goes on, and dies */
    sent_length = 0;
    type("+$?#3f", 6);
    assert_string_equal(sent, "+");
    sent_length = 0;
    const struct gdb_stop stop = {.why = GDB_STOPPED};
    gdb_stub_stopped(&stub, &stop);
    assert_string_equal(sent, "$T02thread:1;#d4");
    assert_string_equal(ask("qqemu.PhyMemMode"), "0");
    ask("QStartNoAckMode");
    sent_length = 0;
    type("+-$qC#b4", 8); /* a "-" is none of a session without them either */
    assert_string_equal(sent, "+$QC1#c5");
    ask("c");
    ask("qSupported"); /* another one: it waits for nothing */
    sent_length = 0;
    gdb_stub_stopped(&stub, &stop);
    assert_int_equal(sent_length, 0);
}

/* The description is the same whatever pieces it is read in, and says what `g` says. */
static void test_description(void **state)
{
    static char whole[16384], pieces[16384];
    size_t size = gdb_target_xml(0, whole, sizeof(whole) - 1), at = 0, got, bits = 0;
    unsigned count = 0;

    assert_uint_in_range(size, 1000, sizeof(whole) - 2);
    for (; (got = gdb_target_xml(at, pieces + at, 37)); at += got)
        ;
    assert_int_equal(at, size);
    assert_memory_equal(whole, pieces, size);
    for (const char *p = whole; (p = strstr(p, "bitsize=\"")); count++) {
        p += 9;
        bits += (size_t)atoi(p);
    }
    assert_int_equal(count, gdb_register_count());
    assert_int_equal(strlen(ask("g")), bits / 4);
    assert_memory_equal(ask("qXfer:features:read:target.xml:0,ffffffff"), "m<?xml", 6);
    snprintf(pieces, sizeof(pieces), "qXfer:features:read:target.xml:%zx,7ff", size - 3);
    assert_string_equal(ask(pieces), "lt>\n");
    assert_string_equal(ask("qXfer:features:read:target.xml:ffffffffffffffff,1"), "l");
    assert_string_equal(ask("qXfer:features:read:other.xml:0,1"), "E16");
}

static void test_registers(void **state)
{
    char all[GDB_FRAME];

    registers[0].gpr[0] = 0x1122334455667788;
    registers[1].gpr[3] = 0x42;
    registers[0].rip = 0xffffffff81000000;
    assert_memory_equal(ask("g"), "8877665544332211", 16);
    assert_string_equal(ask("p10"), "00000081ffffffff");
    assert_string_equal(ask("pffffffff"), "E16");
    assert_string_equal(ask("P10=0010000000000000"), "OK");
    assert_int_equal(registers[0].rip, 0x1000);
    assert_string_equal(ask("P10=00100000000000"), "E16");     /* a digit too few */
    assert_string_equal(ask("P10=001000000000000000"), "E16"); /* too many */
    assert_string_equal(ask("P12=08000000"), "E16");           /* CS is not to be changed so */
    assert_string_equal(ask("Hg2"), "OK");
    assert_string_equal(ask("p1"), "4200000000000000");
    assert_string_equal(ask("Hg3"), "E16");
    assert_string_equal(ask("Hc-1"), "OK");
    snprintf(all, sizeof(all), "G%s", ask("g"));
    memcpy(all + 1, "efbe", 4);
    assert_string_equal(ask(all), "OK");
    assert_int_equal(registers[1].gpr[0], 0xbeef);
    assert_int_equal(registers[1].gpr[3], 0x42);
    all[strlen(all) - 1] = '\0';
    assert_string_equal(ask(all), "E16");
    threads = 0;
    assert_string_equal(ask("g"), "E10");
}

static void test_memory(void **state)
{
    assert_string_equal(ask("m1000,4"), "00010203");
    assert_string_equal(ask("m103e,8"), "3e3f"); /* as much as there is */
    assert_string_equal(ask("m1040,4"), "E0e");
    assert_string_equal(ask("m1000,100000000"), ask("m1000,40")); /* 4 GiB: bounded */
    assert_string_equal(ask("mffffffffffffffff,ffffffffffffffff"), "E0e");
    assert_string_equal(ask("m1000"), "E16");
    assert_string_equal(ask("M1001,2:aabb"), "OK");
    assert_int_equal(memory[1] << 8 | memory[2], 0xaabb);
    assert_string_equal(ask("M1001,2:aab"), "E16");
    assert_string_equal(ask("M1001,ffffffffffffffff:aabb"), "E16");
    assert_string_equal(ask("M1001,2:xxyy"), "E16");
    assert_string_equal(ask("M103f,2:aabb"), "E0e");
    assert_string_equal(ask("Qqemu.PhyMemMode:1"), "OK");
    assert_string_equal(ask("qqemu.PhyMemMode"), "1");
    assert_string_equal(ask("m20,1"), "00");
    assert_string_equal(ask("m1000,1"), "E0e");
    assert_string_equal(ask("qRcmd,70687973206f6666"),
                        "616464726573736573206f66206d656d6f727920617265207468652076435055277320"
                        "6f776e20616761696e0a");
    assert_string_equal(ask("m1000,1"), "00");
}

/* As bytes: gdb 16 and later, LLDB. */
static void test_binary_memory(void **state)
{
    assert_non_null(strstr(ask("qSupported"), ";binary-upload+"));
    memcpy(memory, "a}#$*b\0\3", 8);
    assert_string_equal(ask("x1000,5"), "ba}]}\3}\4}\n");
    ask("x1005,3");
    assert_memory_equal(sent, "+$bb\0\3#", 7);
    assert_string_equal(ask("x1000,0"), "b");
    assert_memory_equal(ask("x103e,8"), "b>?", 4); /* as much as there is */
    assert_string_equal(ask("x1040,4"), "E0e");
    assert_string_equal(ask("xffffffffffffffff,ffffffffffffffff"), "E0e");
    assert_string_equal(ask("x1000"), "E16");
    assert_memory_equal(ask("x1020,100000000"), "b !\"}\3}\4%", 9);
    assert_string_equal(ask("X1001,3:a}x"), "OK");
    assert_memory_equal(memory, "aa}x", 4);
    assert_string_equal(ask("X1001,0:"), "OK"); /* gdb asks so whether there is such a command */
    assert_string_equal(ask("X1001,3:ab"), "E16");
    assert_string_equal(ask("X1001,1:ab"), "E16");
    assert_string_equal(ask("X1001,ffffffffffffffff:ab"), "E16");
    assert_string_equal(ask("X103f,2:ab"), "E0e");
}

/* Byte by byte, as gdb reads strings and code: that is one look at the target, until something may
 * have changed. */
static void test_neighbours(void **state)
{
    char question[32], answer[4];

    for (unsigned i = 0; i < 64; i++) {
        snprintf(question, sizeof(question), "m%x,1", MEMORY_AT + i);
        snprintf(answer, sizeof(answer), "%02x", i);
        assert_string_equal(ask(question), answer);
    }
    assert_int_equal(reads, 1);
    assert_string_equal(ask("m1040,1"), "E0e"); /* behind the end */
    assert_string_equal(ask("m103e,4"), "3e3f");
    assert_memory_equal(ask("x1010,2"), "b\x10\x11", 3);
    assert_string_equal(ask("M1003,1:aa"), "OK");
    assert_string_equal(ask("m1003,1"), "aa");
    assert_string_equal(ask("X1003,1:b"), "OK");
    assert_string_equal(ask("m1003,1"), "62");
    memory[3] = 0xcc;
    ask("P0=0010000000000000"); /* a register decides where memory is */
    assert_string_equal(ask("m1003,1"), "cc");
    memory[3] = 0xdd;
    ask("vCont;c");
    gdb_stub_stopped(&stub, &(struct gdb_stop){.why = GDB_STOPPED});
    assert_string_equal(ask("m1003,1"), "dd");
    memory[3] = 0xee;
    ask("qRcmd,766d2061"); /* another VM */
    assert_string_equal(ask("m1003,1"), "ee");
    memory[3] = 0xff;
    ask("Hg2"); /* has other page tables */
    assert_string_equal(ask("m1003,1"), "ff");
    memory[3] = 0x11;
    ask("Qqemu.PhyMemMode:1");
    assert_string_equal(ask("m23,1"), "11");
    assert_string_equal(ask("m1003,1"), "E0e");
    memory[3] = 0x22;
    gdb_stub_changed(&stub); /* the monitor has done something */
    assert_string_equal(ask("m23,1"), "22");
}

static void test_points(void **state)
{
    assert_string_equal(ask("Z0,1000,1"), "OK");
    assert_int_equal(inserted.kind, GDB_POINT_SOFTWARE);
    assert_int_equal(inserted.address, 0x1000);
    assert_string_equal(ask("Z4,2000,8"), "OK");
    assert_int_equal(inserted.kind, GDB_POINT_ACCESS);
    assert_int_equal(inserted.size, 8);
    assert_string_equal(ask("z2,3000,4"), "OK");
    assert_int_equal(removed.kind, GDB_POINT_WRITE);
    assert_string_equal(ask("Z0,bad,1"), "E0e");
    assert_string_equal(ask("Z3,1000,1"), ""); /* reads alone: not on this processor */
    assert_string_equal(ask("Z7,1000,1"), "");
    assert_string_equal(ask("Z0,1000"), "E16");
}

static const char *stopped(enum gdb_why why, unsigned thread)
{
    const struct gdb_stop stop = {
        .why = why, .thread = thread, .hits = 3, .hit = {{0xabc}, {0xdef, true}, {8}}};

    sent_length = 0;
    sent[0] = '\0';
    gdb_stub_stopped(&stub, &stop);
    return sent;
}

static void test_running(void **state)
{
    assert_string_equal(ask("?"), ""); /* answered when it has stopped */
    assert_int_equal(cleared, 1);
    assert_int_equal(stops, 1);
    assert_string_equal(stopped(GDB_STOPPED, 0), "$T02thread:1;#d4");
    assert_string_equal(stopped(GDB_STOPPED, 0), ""); /* nobody asked */
    assert_string_equal(ask("vCont?"), "vCont;c;C;s;S");
    assert_string_equal(ask("vCont;s:2;c"), "");
    assert_int_equal(actions[0], GDB_CONTINUE);
    assert_int_equal(actions[1], GDB_STEP);
    assert_non_null(strstr(stopped(GDB_STEPPED, 1), "T05thread:2;#"));
    assert_string_equal(ask("qC"), "QC2"); /* the one that stopped */
    assert_string_equal(ask("vCont;S05:1"), "");
    assert_int_equal(actions[0], GDB_STEP);
    assert_int_equal(actions[1], GDB_STAY);
    assert_non_null(strstr(stopped(GDB_SOFTWARE_BREAK, 0), "T05thread:1;swbreak:;#"));
    assert_string_equal(ask("c"), "");
    type("\x03", 1);
    assert_int_equal(stops, 2);
    assert_non_null(strstr(stopped(GDB_WATCH, 0), "thread:1;watch:abc;#"));
    ask("qSupported:xmulti-wp-addr+;multi-wp-addr+x;multi-wp-addr-;swbreak+"); /* none of these */
    ask("c");
    assert_non_null(strstr(stopped(GDB_WATCH, 0), "thread:1;watch:abc;#"));
    ask("qSupported:swbreak+;multi-wp-addr+;vContSupported+");
    ask("c");
    assert_non_null(strstr(stopped(GDB_WATCH, 0), "thread:1;watch:abc;awatch:def;watch:8;#"));
    type("\x03", 1); /* has stopped */
    assert_int_equal(stops, 2);
    ask("c");
    assert_string_equal(stopped(GDB_EXITED, 0), "$W00#b7");
    resume_result = -EBUSY;
    assert_string_equal(ask("vCont;c"), "E10");
    assert_string_equal(ask("vCont;x"), "E16");
    assert_string_equal(ask("vCont;c:9"), "E16");
    assert_string_equal(ask("D"), "OK");
    assert_int_equal(detached, 1);
    assert_string_equal(ask("k"), "");
    assert_int_equal(detached, 2);
}

static const struct gdb_stop ended = {.why = GDB_KILLED};

/* What the monitor does while gdb is at its prompt, and while it waits. */
static void test_news(void **state)
{
    ask("qSupported");
    gdb_say(&stub.news, "reset\n");
    gdb_stub_tell(&stub);
    sent[sent_length = 0] = '\0';
    assert_string_equal(ask("m1000,1"), "00"); /* no answer to this */
    memset(actions, 0xff, sizeof(actions));
    sent_length = 0;
    type("$vCont;c#a8", 11);
    assert_string_equal(sent, "+$O72657365740a#f4"); /* instead of going on */
    assert_int_equal(stops, 1);
    assert_int_equal((int)actions[0], -1);
    assert_string_equal(stopped(GDB_STOPPED, 0), "$T02thread:1;#d4");
    assert_string_equal(ask("vCont;c"), "");
    assert_int_equal(actions[0], GDB_CONTINUE);
    sent_length = 0;
    gdb_say(&stub.news, "reset\n"); /* while it waits: at once, and it goes on waiting */
    gdb_stub_tell(&stub);
    assert_string_equal(sent, "$O72657365740a#f4");
    assert_string_equal(stopped(GDB_STOPPED, 0), "$T02thread:1;#d4");
    assert_string_equal(ask("vCont;c"), "");
    stopped(GDB_STOPPED, 0);

    gdb_say(&stub.news, "told to nobody\n");
    gdb_stub_tell(&stub);
    ask("qSupported"); /* another gdb */
    assert_string_equal(ask("vCont;c"), "");
}

static void test_killed_meanwhile(void **state)
{
    assert_string_equal(stopped(GDB_KILLED, 0), "");
    threads = 0;
    assert_string_equal(ask("g"), "E10");
    assert_string_equal(ask("vCont;s:1;c"), "X09");
    assert_string_equal(ask("D"), "OK");
    threads = 2;
    gdb_stub_stopped(&stub, &ended);
    ask("?"); /* another one, and another VM */
    assert_string_equal(stopped(GDB_STOPPED, 0), "$T02thread:1;#d4");
    assert_string_equal(ask("vCont;c"), "");
}

/* It was resumed at the monitor: what gdb says waits until it stands still again. */
static void test_must_stand_still(void **state)
{
    away = true;
    assert_string_equal(ask("Z0,1000,1"), "");
    away = false;
    sent_length = 0;
    gdb_stub_ready(&stub);
    assert_string_equal(sent, "$OK#9a");
    sent_length = 0;
    gdb_stub_ready(&stub); /* once */
    assert_int_equal(sent_length, 0);
    away = true;
    type("$m1000,1#2a$m10", 15); /* given up */
    away = false;
    sent_length = 0;
    gdb_stub_ready(&stub);
    assert_int_equal(sent_length, 0);
    assert_string_equal(ask("qC"), "QC1");
}

static void test_monitor(void **state)
{
    assert_string_equal(ask("qRcmd,6869"), "3c68693e");
    assert_string_equal(ask("qRcmd,686"), "3c683e");
    assert_string_equal(ask("qRcmd,zz"), "E16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_framing, fresh),
        cmocka_unit_test_setup(test_bad_checksum, fresh),
        cmocka_unit_test_setup(test_died_in_mid_packet, fresh),
        cmocka_unit_test_setup(test_too_long, fresh),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test_setup(test_greeting, fresh),
        cmocka_unit_test_setup(test_no_ack, fresh),
        cmocka_unit_test_setup(test_no_ack_comes_first, fresh),
        cmocka_unit_test_setup(test_new_session, fresh),
        cmocka_unit_test_setup(test_description, fresh),
        cmocka_unit_test_setup(test_registers, fresh),
        cmocka_unit_test_setup(test_memory, fresh),
        cmocka_unit_test_setup(test_binary_memory, fresh),
        cmocka_unit_test_setup(test_neighbours, fresh),
        cmocka_unit_test_setup(test_points, fresh),
        cmocka_unit_test_setup(test_running, fresh),
        cmocka_unit_test_setup(test_news, fresh),
        cmocka_unit_test_setup(test_killed_meanwhile, fresh),
        cmocka_unit_test_setup(test_must_stand_still, fresh),
        cmocka_unit_test_setup(test_monitor, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
