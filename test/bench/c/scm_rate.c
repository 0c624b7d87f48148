/* How many messages with a descriptor a second plain sendmsg and recvmsg carry, over a UNIX socket of sequenced packets. The counterpart
   of test/bench/carrier.

     scm_rate turns SIZE MS   one thread sends and receives in turn
     scm_rate ahead SIZE MS   one process sends, and another receives

   The receiver closes each descriptor. Prints messages a second. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64 }; /* messages between two looks at the clock */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void send_one(int s, char *p, size_t size, int fd)
{
    union { struct cmsghdr align; char space[CMSG_SPACE(sizeof(int))]; } control;
    struct iovec v = {p, size};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    if (sendmsg(s, &m, MSG_NOSIGNAL) != (ssize_t)size)
        die("sendmsg");
}

/* 0: the end */
static int receive_one(int s, char *p, size_t size)
{
    union { struct cmsghdr align; char space[CMSG_SPACE(sizeof(int))]; } control;
    struct iovec v = {p, size};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(s, &m, MSG_CMSG_CLOEXEC);
    if (n == 0)
        return 0;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int fd;
    if (n != (ssize_t)size || m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || c == NULL || c->cmsg_len != CMSG_LEN(sizeof fd))
        die("recvmsg");
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    close(fd);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: scm_rate turns|ahead SIZE MS\n");
        return 2;
    }
    size_t size = strtoul(argv[2], NULL, 10);
    double length = strtod(argv[3], NULL) / 1e3;
    char *p = calloc(1, size), *q = calloc(1, size);
    int s[2], fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (p == NULL || q == NULL || fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
        die("setting up");
    double begun = now();
    long n = 0;
    if (strcmp(argv[1], "turns") == 0) {
        do { /* once in any case: the process may have stood still until now */
            for (int i = 0; i < BATCH; i++) {
                send_one(s[0], p, size, fd);
                if (!receive_one(s[1], q, size))
                    die("recvmsg");
            }
            n += BATCH;
        } while (now() - begun < length);
    } else {
        pid_t child = fork();
        if (child < 0)
            die("fork");
        if (child == 0) {
            close(s[1]);
            do {
                for (int i = 0; i < BATCH; i++)
                    send_one(s[0], p, size, fd);
            } while (now() - begun < length);
            _exit(0);
        }
        close(s[0]);
        if (!receive_one(s[1], q, size))
            die("recvmsg");
        begun = now();
        while (receive_one(s[1], q, size))
            n++;
        int status;
        if (waitpid(child, &status, 0) < 0 || status != 0)
            die("sender");
    }
    printf("%.0f\n", n / (now() - begun));
    return 0;
}
