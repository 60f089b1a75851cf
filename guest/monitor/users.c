/* The monitor's `login` and `logout`. */
#include "guest/monitor/users.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "drivers/serial.h"
#include "guest/console/console.h"
#include "guest/monitor/commands.h"
#include "guest/monitor/login.h"

/* Of processor 0's time, which guests want, too: half, this long at a stretch. */
#define STRETCH_HZ 2000

static struct login login;
static struct config_password wanted;
static unsigned logout; /* seconds, as the config has it */

void users_init(const struct config *config)
{
    bool guarded = config->key_line[CONFIG_HOST_PASSWORD] != 0;
    bool known = config->password.data && config_password_parse(config->password, &wanted) == 0;

    logout = config->logout;
    login_init(&login, guarded, known ? &wanted : NULL, tsc_hz, logout);
}

bool users_permit(void)
{
    return login_permits(&login);
}

void users_used(void)
{
    login_used(&login, rdtsc());
}

void users_asked(void)
{
    if (login.state == LOGIN_ASKS || login.state == LOGIN_WORKS)
        login_out(&login);
}

uint64_t users_work(void)
{
    uint64_t now = rdtsc();

    if (login.state != LOGIN_IN)
        return CONSOLE_NEVER;
    if (login_work(&login, now) == LOGIN_ENDED) {
        log_info("console: logged out, as no key was pressed for %u s", logout);
        return CONSOLE_NEVER;
    }
    if (serial_hung_up(&com1)) {
        login_out(&login);
        log_info("console: logged out, as COM1's line was dropped");
        return CONSOLE_NEVER;
    }
    return logout ? MIN(login.until, now + tsc_hz) : now + tsc_hz;
}

/* --- the commands --- */

static void type(uint8_t byte)
{
    login_key(&login, byte);
}

static bool ask(struct job *job)
{
    uint64_t seconds;

    switch (login_begin(&login, rdtsc(), &seconds)) {
    case LOGIN_NEEDLESS:
        job_line(login.guarded ? "you are logged in"
                               : "corbel.conf has no password: everything is allowed");
        return false;
    case LOGIN_LOCKED:
        job_line("nobody can log in: what corbel.conf has for a password is none");
        return false;
    case LOGIN_TOO_SOON:
        job_line("after a wrong password: try again in %lu s", seconds);
        return false;
    default:
        (void)serial_hung_up(&com1); /* whatever was before */
        job->typed = type;
        job->show = 1; /* at once */
        return true;
    }
}

static enum login_event work(void)
{
    uint64_t until = rdtsc() + tsc_hz / STRETCH_HZ;
    enum login_event event;

    do
        event = login_work(&login, rdtsc());
    while (event == LOGIN_NOTHING && login.state == LOGIN_WORKS && rdtsc() < until);
    return event;
}

static void let_in(struct job *job)
{
    job_end_progress(job, "\r\n");
    if (login.failures)
        job_line("before that it failed %u time%s", login.failures, login.failures == 1 ? "" : "s");
    login.failures = 0;
    if (logout)
        job_line("logged in, until `logout` or %u s without a key", logout);
    else
        job_line("logged in, until `logout`");
    log_info("console: somebody logs in");
}

bool command_login(struct job *job)
{
    if (job->step == 0 && !ask(job))
        return false;
    switch (work()) {
    case LOGIN_GOOD:
        let_in(job);
        return false;
    case LOGIN_BAD:
        job_end_progress(job, "\r\n");
        job_line("that is not the password");
        log_warn("console: a login failed, the %u. since one was good", login.failures);
        return false;
    case LOGIN_GIVEN_UP:
        return false;
    default:
        job_progress(job, "password: ");
        if (login.state == LOGIN_WORKS)
            job->wake = rdtsc() + tsc_hz / STRETCH_HZ;
        return true;
    }
}

bool command_logout(struct job *job)
{
    if (!login.guarded)
        job_line("corbel.conf has no password: everything stays allowed");
    else
        job_line("logged out");
    login_out(&login);
    return false;
}
