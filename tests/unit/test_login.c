/* links: guest/monitor/login.c guest/monitor/pbkdf2.c guest/config/password.c guest/config/config_text.c arch/x86/lib/format.c */
/* Passwords: what the config has of them, what is made of what is typed, and how long that lasts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/monitor/login.h"

/* --- the hash: hashlib.pbkdf2_hmac("blake2s256", password, salt, rounds) of Python's --- */

static void expect_hash(const char *password, const char *salt, unsigned rounds, const char *hex)
{
    /* However the work is cut. */
    for (unsigned piece = 1; piece <= rounds; piece = piece * 3 + 1) {
        struct pbkdf2 p;
        char got[2 * PBKDF2_SIZE + 1];
        uint8_t hash[PBKDF2_SIZE];

        pbkdf2_begin(&p, password, strlen(password), salt, strlen(salt), rounds);
        while (!pbkdf2_work(&p, piece))
            ;
        for (unsigned i = 0; i < PBKDF2_SIZE; i++)
            snprintf(got + 2 * i, 3, "%02x", p.sum[i]);
        assert_string_equal(got, hex);
        memcpy(hash, p.sum, sizeof(hash));
        assert_true(pbkdf2_is(&p, hash));
        for (unsigned bit = 0; bit < 8 * PBKDF2_SIZE; bit++) {
            hash[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(pbkdf2_is(&p, hash));
            hash[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void test_the_hash(void **state)
{
    expect_hash("password", "salt", 1,
                "ed939d6f351dddb69f591aa693d75eccaab7c8f587384d8ed882d42fe8076474");
    expect_hash("password", "salt", 2,
                "7b88e65e6e95a118bc995f681a391cbd7b46e0cf9750a81100f613add62d84be");
    expect_hash("", "s", 7, "aca686f856b847196dd251b7692e0a2f7ccb065402f27ba2c8a0dcf0aac9a3f0");
    expect_hash("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "0123456789abcdef", 1000,
                "f5445ecf871a026f3a30719520da4fb47bef9cb6a328d171dfc4856cd5a48084");
}

/* --- the config's text --- */

#define HASH "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define SALT "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"

static int parse(const char *text, struct config_password *out)
{
    return config_password_parse((struct config_span){text, strlen(text)}, out);
}

static void test_the_text(void **state)
{
    static const char *const wrong[] = {
        "",
        "secret",
        "pbkdf2-blake2s",
        "pbkdf2-blake2s$1000",
        "pbkdf2-blake2s$1000$" SALT,
        "pbkdf2-blake2s$1000$" SALT "$",
        "pbkdf2-blake2s$999$" SALT "$" HASH,
        "pbkdf2-blake2s$10000001$" SALT "$" HASH,
        "pbkdf2-blake2s$x$" SALT "$" HASH,
        "pbkdf2-blake2s$1000$" SALT "0$" HASH,
        "pbkdf2-blake2s$1000$" SALT "$" HASH "0",
        "pbkdf2-blake2s$1000$" SALT "$" HASH "00",
        "pbkdf2-blake2s$1000$" SALT "$" HASH "$",
        "pbkdf2-blake2b$1000$" SALT "$" HASH,
        "pbkdf2-blake2s$1000$g0f1f2f3f4f5f6f7f8f9fafbfcfdfeff$" HASH,
        "pbkdf2-blake2s$1000$0F0f1f2f3f4f5f6f7f8f9fafbfcfdfeff$" HASH,
    };
    struct config_password p;

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_true(parse(wrong[i], &p) < 0);
    assert_int_equal(parse("pbkdf2-blake2s$1000$" SALT "$" HASH, &p), 0);
    assert_int_equal(p.rounds, 1000);
    for (unsigned i = 0; i < CONFIG_PASSWORD_SALT; i++)
        assert_int_equal(p.salt[i], 0xf0 + i);
    for (unsigned i = 0; i < CONFIG_PASSWORD_HASH; i++)
        assert_int_equal(p.hash[i], i);
    assert_int_equal(parse("pbkdf2-blake2s$10000000$" SALT "$" HASH, &p), 0);
}

/* --- logging in --- */

#define SECOND 1000
static struct config_password wanted;
static struct login l;
static uint64_t now = 5 * SECOND, seconds;

static void begin_with(const char *password, uint32_t logout)
{
    struct pbkdf2 p;

    wanted = (struct config_password){.rounds = 1000, .salt = "0123456789abcde"};
    pbkdf2_begin(&p, password, strlen(password), wanted.salt, sizeof(wanted.salt), wanted.rounds);
    assert_true(pbkdf2_work(&p, wanted.rounds));
    memcpy(wanted.hash, p.sum, sizeof(wanted.hash));
    login_init(&l, true, &wanted, SECOND, logout);
}

static void type(const char *text)
{
    while (*text)
        login_key(&l, (uint8_t)*text++);
}

static enum login_event work(void)
{
    enum login_event event;
    unsigned times = 0;

    while ((event = login_work(&l, now)) == LOGIN_NOTHING && l.state == LOGIN_WORKS)
        times++;
    assert_true(times <= wanted.rounds / LOGIN_ROUNDS);
    return event;
}

static enum login_event try(const char *text)
{
    assert_int_equal(login_begin(&l, now, &seconds), LOGIN_BEGINS);
    type(text);
    return work();
}

static bool nothing_is_left(void)
{
    static const struct login zero;

    return !l.length && memcmp(l.typed, zero.typed, sizeof(l.typed)) == 0 &&
           memcmp(&l.work, &zero.work, sizeof(l.work)) == 0;
}

static void test_who_needs_none(void **state)
{
    login_init(&l, false, NULL, SECOND, 600);
    assert_true(login_permits(&l));
    assert_int_equal(login_begin(&l, now, &seconds), LOGIN_NEEDLESS);
    login_out(&l);
    assert_true(login_permits(&l));
    login_init(&l, true, NULL, SECOND, 600);
    assert_false(login_permits(&l));
    assert_int_equal(login_begin(&l, now, &seconds), LOGIN_LOCKED);
    type("\r");
    assert_int_equal(work(), LOGIN_NOTHING);
    assert_false(login_permits(&l));
}

static void test_good_and_bad(void **state)
{
    static const char *const bad[] = {"",        "secre",      "secrets", "Secret",
                                      " secret", "secret\x7f", "\x15"};

    begin_with("secret", 600);
    assert_false(login_permits(&l));
    assert_int_equal(try("secret\r"), LOGIN_GOOD);
    assert_true(login_permits(&l));
    assert_true(nothing_is_left());
    assert_int_equal(login_begin(&l, now, &seconds), LOGIN_NEEDLESS);
    login_out(&l);
    assert_false(login_permits(&l));
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        now = l.wait;
        (void)login_begin(&l, now, &seconds);
        type(bad[i]);
        type("\r");
        assert_int_equal(work(), LOGIN_BAD);
        assert_false(login_permits(&l));
        assert_true(nothing_is_left());
        assert_int_equal(l.failures, i + 1);
    }
    now = l.wait;
    /* Keys of the line, and such as send several bytes. */
    assert_int_equal(try("xx\x15sex\x7f"
                         "cxx\b\x08"
                         "r\x1b[Ae\x1bOP\x1b[24;80Rt\x1bx\n"),
                     LOGIN_GOOD);
}

static void test_long_ones(void **state)
{
    char text[PBKDF2_PASSWORD + 80];

    memset(text, 'p', PBKDF2_PASSWORD);
    text[PBKDF2_PASSWORD] = '\0';
    begin_with(text, 600);
    for (unsigned more = 1; more < 70; more++) {
        memset(text, 'p', sizeof(text));
        text[PBKDF2_PASSWORD + more] = '\r';
        text[PBKDF2_PASSWORD + more + 1] = '\0';
        now = l.wait;
        assert_int_equal(try(text), LOGIN_BAD);
    }
    text[PBKDF2_PASSWORD] = '\r';
    text[PBKDF2_PASSWORD + 1] = '\0';
    now = l.wait;
    assert_int_equal(try(text), LOGIN_GOOD);
}

static void test_waits_grow(void **state)
{
    static const unsigned waits[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};

    begin_with("secret", 600);
    for (unsigned i = 0; i < ARRAY_SIZE(waits); i++) {
        assert_int_equal(try("wrong\r"), LOGIN_BAD);
        assert_int_equal(l.wait, now + waits[i] * SECOND);
        assert_int_equal(login_begin(&l, now, &seconds), LOGIN_TOO_SOON);
        assert_int_equal(seconds, waits[i]);
        type("secret\r");
        assert_int_equal(work(), LOGIN_NOTHING);
        now = l.wait - 1;
        assert_int_equal(login_begin(&l, now, &seconds), LOGIN_TOO_SOON);
        assert_int_equal(seconds, 1);
        now++;
    }
    assert_int_equal(try("secret\r"), LOGIN_GOOD);
}

static void test_what_is_given_up(void **state)
{
    begin_with("secret", 600);
    assert_int_equal(try("secre"), LOGIN_NOTHING);
    now += LOGIN_ASKS_FOR * SECOND - 1;
    assert_int_equal(work(), LOGIN_NOTHING);
    now++;
    assert_int_equal(work(), LOGIN_GIVEN_UP);
    assert_true(nothing_is_left());
    type("t\r");
    assert_int_equal(work(), LOGIN_NOTHING);
    assert_int_equal(try("x\x04"), LOGIN_GIVEN_UP);
    /* While it is hashed. */
    assert_int_equal(login_begin(&l, now, &seconds), LOGIN_BEGINS);
    type("secret\r");
    assert_int_equal(login_work(&l, now), LOGIN_NOTHING);
    login_out(&l);
    assert_int_equal(work(), LOGIN_NOTHING);
    assert_false(login_permits(&l));
    assert_int_equal(l.failures, 0);
}

static void test_it_ends(void **state)
{
    begin_with("secret", 600);
    assert_int_equal(try("secret\r"), LOGIN_GOOD);
    for (unsigned i = 0; i < 3; i++) {
        now += 600 * SECOND - 1;
        assert_int_equal(work(), LOGIN_NOTHING);
        login_used(&l, now);
    }
    now += 600 * SECOND;
    assert_int_equal(work(), LOGIN_ENDED);
    assert_false(login_permits(&l));
    login_used(&l, now); /* nobody is there */
    assert_false(login_permits(&l));
    begin_with("secret", 0);
    assert_int_equal(try("secret\r"), LOGIN_GOOD);
    now += 1000000 * SECOND;
    assert_int_equal(work(), LOGIN_NOTHING);
    assert_true(login_permits(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_hash),         cmocka_unit_test(test_the_text),
        cmocka_unit_test(test_who_needs_none),   cmocka_unit_test(test_good_and_bad),
        cmocka_unit_test(test_long_ones),        cmocka_unit_test(test_waits_grow),
        cmocka_unit_test(test_what_is_given_up), cmocka_unit_test(test_it_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
