/*
 * Starts an enclave for each connection of its host: the one way into the image.
 *
 *     host, vsock port 5000 <--> gate <--> descriptor 3 of Node running enclave/main.js, which serves one job
 *             /dev/nsm <--> gate <--> descriptor 4
 *
 * Each connection gets a process, keys and a user of its own, and ends with it. The gate looks at no byte that it
 * copies. What the host can do is connect, send, be slow, and hang up: it can have SESSIONS_MAX connections at a time,
 * the next ones wait, and each ends after SESSION_SECONDS_MAX whatever happens.
 *
 * Runs as root of a root file system of its own with /dev and /proc; takes no arguments and reads no configuration.
 * /enclave/anchor.der, where the image has it, is a development root that its enclaves trust besides the built-in one.
 * Ends only when it cannot go on, with exit code 1; then nothing in the image can be reached.
 *
 * Static, no libraries but libc: cc -std=c11 -O2 -static -Wall -Wextra -Werror -o gate gate.c nsm.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "nsm.h"

#define PORT 5000
#ifndef SESSIONS_MAX
#define SESSIONS_MAX 8
#endif
#define BACKLOG 8
/* A minute more than an enclave gives itself: LIFE_MS_MAX of enclave/limits.ts. */
#define SESSION_SECONDS_MAX 660
#define BUFFER_BYTES 65536
/* Users of the sessions, one after the other, so that none can reach another's process; and of what serves the NSM. */
#define FIRST_USER 10000
#define USERS 50000
#define NSM_USER 999

#define CHANNEL_FD 3
#define NSM_FD 4
/* Above every descriptor that the enclave is given. */
#define SPARE_FD 10

#define ANCHOR "/enclave/anchor.der"
#ifndef GATE_FOLDER
#define GATE_FOLDER "/enclave"
#endif
#ifndef GATE_COMMAND
#define GATE_COMMAND \
	"/usr/bin/node", "--permission", "--allow-addons", "--allow-fs-read=/enclave/*", \
	"--allow-fs-read=/proc/self/fd", "--allow-fs-read=/proc/cpuinfo", \
	"--disable-warning=ExperimentalWarning", "--disable-warning=SecurityWarning", \
	"--no-strip-types", "/enclave/enclave/main.js"
#endif

static const char *const COMMAND[] = { GATE_COMMAND };
static const char *const ENVIRONMENT[] = { "ORT_DISABLE_TELEMETRY=1", NULL };
#define WORDS (sizeof(COMMAND) / sizeof(COMMAND[0]))

static void fail(const char *subject)
{
	fprintf(stderr, "gate: %s: %s\n", subject, strerror(errno));
	_exit(1);
}

/* Gives up root, and ends with the session, in this order: a change of user takes the death signal back. */
static void become(uid_t user)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		fail("limits");
	if (setgroups(0, NULL) < 0 || setresgid(user, user, user) < 0 || setresuid(user, user, user) < 0)
		fail("user");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		fail("privileges");
}

/* Becomes the enclave. Its output goes nowhere: a fault's text could hold data. */
static void run_enclave(int channel, int nsm, uid_t user)
{
	const char *words[WORDS + 3] = { 0 };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	memcpy(words, COMMAND, sizeof(COMMAND));
	if (access(ANCHOR, F_OK) == 0) {
		words[WORDS] = "--anchor";
		words[WORDS + 1] = ANCHOR;
	}
	channel = fcntl(channel, F_DUPFD_CLOEXEC, SPARE_FD);
	nsm = fcntl(nsm, F_DUPFD_CLOEXEC, SPARE_FD);
	if (null < 0 || channel < 0 || nsm < 0 || chdir(GATE_FOLDER) < 0)
		fail("enclave");
	become(user);
	if (dup2(channel, CHANNEL_FD) < 0 || dup2(nsm, NSM_FD) < 0)
		fail("enclave");
	for (int fd = 0; fd < CHANNEL_FD; fd++)
		if (dup2(null, fd) < 0)
			_exit(1);
	if (close_range(NSM_FD + 1, ~0U, 0) < 0)
		_exit(1);
	execve(words[0], (char *const *)words, (char *const *)ENVIRONMENT);
	_exit(1);
}

/* One way of a connection: what was read from `from` and not yet written to `to`. */
struct way {
	int from;
	int to;
	size_t start;
	size_t end;
	bool is_open;
	uint8_t bytes[BUFFER_BYTES];
};

/* Reads into an empty buffer. False when the connection is broken. */
static bool take(struct way *way)
{
	ssize_t count = read(way->from, way->bytes, BUFFER_BYTES);

	if (count < 0)
		return errno == EINTR || errno == EAGAIN;
	way->start = 0;
	way->end = (size_t)count;
	way->is_open = count > 0;
	return true;
}

/* Writes of a full buffer what goes. False when the connection is broken. */
static bool give(struct way *way)
{
	ssize_t count = send(way->to, way->bytes + way->start, way->end - way->start, MSG_NOSIGNAL);

	if (count < 0)
		return errno == EINTR || errno == EAGAIN;
	way->start += (size_t)count;
	return true;
}

/* Waits until something can go one way or the other, and has it go. False when the connection is broken. */
static bool step(struct way *in, struct way *out)
{
	struct pollfd ends[2] = { { .fd = in->from }, { .fd = in->to } };
	struct way *ways[2] = { in, out };

	for (int at = 0; at < 2; at++) {
		if (ways[at]->start < ways[at]->end)
			ends[1 - at].events |= POLLOUT;
		else if (ways[at]->is_open)
			ends[at].events |= POLLIN;
	}
	/* One that nothing is wanted of would say again and again that it was hung up. */
	for (int at = 0; at < 2; at++)
		if (ends[at].events == 0)
			ends[at].fd = -1;
	if (poll(ends, 2, -1) < 0)
		return errno == EINTR;
	for (int at = 0; at < 2; at++) {
		short wanted = ways[at]->start < ways[at]->end ? ends[1 - at].revents : ends[at].revents;
		bool is_full = ways[at]->start < ways[at]->end;
		if ((is_full || ways[at]->is_open) && wanted != 0 && !(is_full ? give(ways[at]) : take(ways[at])))
			return false;
	}
	return true;
}

/*
 * Copies both ways until all that the enclave said is out and it has gone, or the host has gone: an enclave ends there
 * too, but one that still starts would take its time to see it, and hosts that come and go could have many start.
 */
static void copy(int host, int enclave)
{
	static struct way in, out;

	in = (struct way){ .from = host, .to = enclave, .is_open = true };
	out = (struct way){ .from = enclave, .to = host, .is_open = true };
	while (in.is_open && (out.is_open || out.start < out.end) && step(&in, &out))
		;
}

static void make_pair(int pair[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		fail("socketpair");
}

static void unblock(int fd)
{
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		fail("connection");
}

/* The whole life of one connection, in a process of its own. */
static void run_session(int host, int device, uid_t user)
{
	int channel[2], nsm[2];

	alarm(SESSION_SECONDS_MAX);
	make_pair(channel);
	make_pair(nsm);
	pid_t server = fork();
	if (server == 0) {
		close(nsm[0]);
		close(channel[0]);
		close(channel[1]);
		close(host);
		become(NSM_USER);
		nsm_serve(device, nsm[1]);
		_exit(0);
	}
	/* The enclave is the first process of a name space, and whatever it may have started ends with it. */
	pid_t enclave = server < 0 || unshare(CLONE_NEWPID) < 0 ? -1 : fork();
	if (enclave == 0)
		run_enclave(channel[0], nsm[0], user);
	close(channel[0]);
	close(nsm[0]);
	close(nsm[1]);
	close(device);
	if (enclave > 0) {
		unblock(host);
		unblock(channel[1]);
		copy(host, channel[1]);
		kill(enclave, SIGKILL);
		waitpid(enclave, NULL, 0);
	}
	if (server > 0)
		kill(server, SIGKILL);
	_exit(enclave > 0 ? 0 : 1);
}

/* Sessions that go on. Waits for one to end when there are as many as there may be. */
static int still_running(int sessions)
{
	while (sessions > 0) {
		pid_t ended = waitpid(-1, NULL, sessions < SESSIONS_MAX ? WNOHANG : 0);
		if (ended < 0 && errno == EINTR)
			continue;
		if (ended <= 0)
			break;
		sessions--;
	}
	return sessions;
}

static int listen_to_host(void)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = PORT };
	int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0)
		fail("vsock");
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, BACKLOG) < 0)
		fail("vsock");
	return listener;
}

int main(void)
{
	uid_t next = 0;
	int sessions = 0;
	int device = open(NSM_DEVICE, O_RDWR | O_CLOEXEC);

	if (device < 0)
		fail(NSM_DEVICE);
	int listener = listen_to_host();
	/* Init waits for it. */
	if (dprintf(STDOUT_FILENO, "gate: ready\n") < 0)
		fail("output");
	for (;;) {
		sessions = still_running(sessions);
		int host = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (host < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			fail("accept");
		}
		pid_t session = fork();
		if (session == 0) {
			close(listener);
			run_session(host, device, FIRST_USER + next);
		}
		if (session > 0)
			sessions++;
		next = (next + 1) % USERS;
		close(host);
	}
}
