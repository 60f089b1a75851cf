/*
 * Makes Linux look at COM1 on each tick instead of waiting for its interrupt: Bochs' UART does not
 * repeat the transmitter's, and Linux, which notices, would look 5 times a second only.
 */
#include <fcntl.h>
#include <linux/serial.h>
#include <stdio.h>
#include <sys/ioctl.h>

int main(void)
{
    struct serial_struct port;
    int fd = open("/dev/ttyS0", O_RDWR | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 || ioctl(fd, TIOCGSERIAL, &port) < 0) {
        perror("/dev/ttyS0");
        return 1;
    }
    port.irq = 0;
    if (ioctl(fd, TIOCSSERIAL, &port) < 0) {
        perror("TIOCSSERIAL");
        return 1;
    }
    return 0;
}
