/*
 * A vhost-user device: the vsock of QEMU's nitro-enclave machine, whose streams are unix sockets of this machine.
 *
 *     backend SOCKET PREFIX PORT...
 *
 * Waits for QEMU at SOCKET, where it says "ready", and ends when QEMU does, with 0; with 1 and a line when anything goes wrong, also when the
 * guest breaks the rules of its queues. sockets.h says what PREFIX and PORT are. QEMU is believed, its guest is not.
 *
 * Source: QEMU docs/interop/vhost-user.rst (messages, by their numbers there).
 *
 * cc -std=c11 -O2 -Wall -Wextra -Werror -o backend backend.c streams.c sockets.c queue.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "streams.h"

#define QEMU_SECONDS_MAX 60
#define MESSAGE_SECONDS_MAX 10

enum request {
	GET_FEATURES = 1, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, SET_VRING_NUM = 8, SET_VRING_ADDR,
	SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR, GET_PROTOCOL_FEATURES,
	SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE, GET_CONFIG = 24,
};
/* Virtio 1, and the vhost-user features, of which the configuration space is the one that a vsock needs. */
#define FEATURES (1ULL << 32 | 1ULL << 30)
#define PROTOCOL_FEATURES (1ULL << 9)
#define VERSION 1
#define IS_REPLY 4
#define NO_DESCRIPTOR 0x100
/* To the guest, from the guest; the third, for events, QEMU keeps to itself. */
#define QUEUES 2

struct message {
	uint32_t request, flags, length;
	union {
		uint64_t number;
		struct { uint32_t index, number; } state;
		struct { uint32_t index, flags; uint64_t descriptors, used, available, log; } rings;
		struct {
			uint32_t count, padding;
			struct { uint64_t guest, length, user, offset; } regions[REGIONS_MAX];
		} memory;
		struct { uint32_t offset, length, flags; uint8_t bytes[256]; } config;
	} body;
} __attribute__((packed));
#define HEAD_BYTES offsetof(struct message, body)

static struct memory memory;
static struct queue queues[QUEUES] = {
	{ .memory = &memory, .kick = -1, .call = -1 }, { .memory = &memory, .kick = -1, .call = -1 },
};
static const char *vhost_path;
static bool is_bound;
static volatile sig_atomic_t is_told_to_end;

static _Noreturn void end(int code, const char *subject)
{
	if (code != 0)
		fprintf(stderr, "vsock backend: %s\n", subject);
	sockets_close();
	if (is_bound)
		unlink(vhost_path);
	exit(code);
}

static _Noreturn void fail(const char *subject)
{
	fprintf(stderr, "vsock backend: %s\n", strerror(errno));
	end(1, subject);
}

static void forget_memory(void)
{
	for (size_t at = 0; at < memory.count; at++)
		munmap(memory.regions[at].map, memory.regions[at].map_length);
	memory.count = 0;
}

static void map_memory(const struct message *message, const int *descriptors, size_t count)
{
	forget_memory();
	if (message->body.memory.count != count || count > REGIONS_MAX)
		end(1, "memory: expected a descriptor for each region");
	for (size_t at = 0; at < count; at++) {
		struct region region = {
			.guest = message->body.memory.regions[at].guest,
			.user = message->body.memory.regions[at].user,
			.length = message->body.memory.regions[at].length,
		};
		uint64_t offset = message->body.memory.regions[at].offset;
		struct stat file;
		if (fstat(descriptors[at], &file) < 0)
			fail("memory");
		uint64_t size = (uint64_t)file.st_size;
		if (offset > size || region.length > size - offset)
			end(1, "memory: expected a file as long as its region");
		region.map_length = (size_t)(offset + region.length);
		region.map = mmap(NULL, region.map_length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptors[at], 0);
		if (region.map == MAP_FAILED)
			fail("memory");
		region.bytes = (uint8_t *)region.map + offset;
		memory.regions[memory.count++] = region;
		close(descriptors[at]);
	}
}

static struct queue *queue_of(uint64_t index)
{
	if (index >= QUEUES)
		end(1, "vring: expected one of two");
	return &queues[index];
}

/* Takes a kick's or a call's descriptor in place of the one there was. */
static void replace(int *place, const struct message *message, const int *descriptors, size_t count)
{
	bool has_one = (message->body.number & NO_DESCRIPTOR) == 0;

	if (count != (has_one ? 1 : 0))
		end(1, "vring: expected one descriptor");
	if (*place >= 0)
		close(*place);
	*place = has_one ? descriptors[0] : -1;
}

static void reply(int qemu, struct message *message, uint32_t length)
{
	message->flags = VERSION | IS_REPLY;
	message->length = length;
	if (send(qemu, message, HEAD_BYTES + length, MSG_NOSIGNAL) != (ssize_t)(HEAD_BYTES + length))
		fail("reply");
}

static void reply_number(int qemu, struct message *message, uint64_t number)
{
	message->body.number = number;
	reply(qemu, message, sizeof(number));
}

/* The configuration space of a vsock is the guest's CID. */
static void reply_config(int qemu, struct message *message)
{
	const uint64_t cid = GUEST_CID;

	if (message->body.config.offset != 0 || message->body.config.length != sizeof(cid))
		end(1, "configuration: expected all of it to be asked for");
	memcpy(message->body.config.bytes, &cid, sizeof(cid));
	reply(qemu, message, offsetof(struct message, body.config.bytes) - HEAD_BYTES + sizeof(cid));
}

static void set_entries(struct queue *queue, uint32_t entries)
{
	if (entries == 0 || entries > ENTRIES_MAX || (entries & (entries - 1)) != 0)
		end(1, "vring: expected a power of two of entries");
	queue->entries = entries;
}

static void set_rings(struct queue *queue, const struct message *message)
{
	queue->descriptors_at = message->body.rings.descriptors;
	queue->available_at = message->body.rings.available;
	queue->used_at = message->body.rings.used;
}

static void stop(int qemu, struct message *message)
{
	struct queue *queue = queue_of(message->body.state.index);

	queue->is_enabled = false;
	if (queue->kick >= 0)
		close(queue->kick);
	queue->kick = -1;
	message->body.state.number = queue->next_available;
	reply(qemu, message, sizeof(message->body.state));
}

static void set_base(struct queue *queue, uint32_t number)
{
	queue->next_available = (uint16_t)number;
	queue->next_used = (uint16_t)number;
}

static void obey(int qemu, struct message *message, const int *descriptors, size_t count)
{
	const uint32_t index = message->body.state.index;
	const uint32_t number = message->body.state.number;

	switch (message->request) {
	case GET_FEATURES:
		return reply_number(qemu, message, FEATURES);
	case GET_PROTOCOL_FEATURES:
		return reply_number(qemu, message, PROTOCOL_FEATURES);
	case GET_QUEUE_NUM:
		return reply_number(qemu, message, QUEUES);
	case GET_CONFIG:
		return reply_config(qemu, message);
	case SET_MEM_TABLE:
		return map_memory(message, descriptors, count);
	case SET_VRING_NUM:
		return set_entries(queue_of(index), number);
	case SET_VRING_ADDR:
		return set_rings(queue_of(index), message);
	case SET_VRING_BASE:
		return set_base(queue_of(index), number);
	case GET_VRING_BASE:
		return stop(qemu, message);
	case SET_VRING_KICK:
		return replace(&queue_of(index & 0xff)->kick, message, descriptors, count);
	case SET_VRING_CALL:
		return replace(&queue_of(index & 0xff)->call, message, descriptors, count);
	case SET_VRING_ENABLE:
		queue_of(index)->is_enabled = number == 1;
		return;
	case SET_VRING_ERR:
		if (count > 0)
			close(descriptors[0]);
		return;
	case SET_FEATURES:
	case SET_PROTOCOL_FEATURES:
	case SET_OWNER:
	case RESET_OWNER:
		return;
	default:
		end(1, "message: expected one that a vsock needs");
	}
}

static void hear_qemu(int qemu)
{
	struct message message = { 0 };
	union { char bytes[CMSG_SPACE(REGIONS_MAX * sizeof(int))]; struct cmsghdr align; } control;
	struct iovec head = { .iov_base = &message, .iov_len = HEAD_BYTES };
	struct msghdr parts = { .msg_iov = &head, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int descriptors[REGIONS_MAX];
	size_t count = 0;
	ssize_t length = recvmsg(qemu, &parts, MSG_CMSG_CLOEXEC | MSG_WAITALL);

	if (length == 0)
		end(0, "QEMU has ended");
	if (length != (ssize_t)HEAD_BYTES || message.length > sizeof(message.body) || (parts.msg_flags & MSG_CTRUNC) != 0)
		end(1, "message: expected a head and at most eight descriptors");
	if (message.length > 0 && recv(qemu, &message.body, message.length, MSG_WAITALL) != (ssize_t)message.length)
		end(1, "message: expected a body");
	struct cmsghdr *words = CMSG_FIRSTHDR(&parts);
	if (words != NULL && words->cmsg_level == SOL_SOCKET && words->cmsg_type == SCM_RIGHTS) {
		count = (words->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(descriptors, CMSG_DATA(words), count * sizeof(int));
	}
	obey(qemu, &message, descriptors, count);
}

/* Moves packets while both queues run. NOTHING when there is nothing to move. */
static enum outcome exchange(void)
{
	struct queue *to_guest = &queues[0], *from_guest = &queues[1];
	enum outcome outcome = NOTHING;

	if (!to_guest->is_enabled || !from_guest->is_enabled || to_guest->kick < 0 || from_guest->kick < 0)
		return NOTHING;
	if (!queue_open(to_guest) || !queue_open(from_guest))
		return BROKEN;
	for (int step = 0; step < ENTRIES_MAX; step++) {
		outcome = streams_exchange(to_guest, from_guest);
		if (outcome != DONE)
			break;
	}
	queue_tell(to_guest);
	queue_tell(from_guest);
	return outcome;
}

static void serve(int qemu)
{
	struct pollfd polls[1 + QUEUES + POLLS_MAX];
	const struct timespec at_once = { 0 };
	sigset_t heard;
	uint64_t kicks;

	sigemptyset(&heard);
	while (!is_told_to_end) {
		enum outcome outcome = exchange();
		if (outcome == BROKEN)
			end(1, "the guest broke the rules of its queues");
		polls[0] = (struct pollfd){ .fd = qemu, .events = POLLIN };
		for (size_t at = 0; at < QUEUES; at++)
			polls[1 + at] = (struct pollfd){ .fd = queues[at].kick, .events = POLLIN };
		streams_wait(polls + 1 + QUEUES);
		/* Signals are heard here only, where they cannot come too early to end the wait. */
		if (ppoll(polls, sizeof(polls) / sizeof(polls[0]), outcome == DONE ? &at_once : NULL, &heard) < 0) {
			if (errno != EINTR)
				fail("poll");
			continue;
		}
		for (size_t at = 0; at < QUEUES; at++)
			if ((polls[1 + at].revents & POLLIN) != 0 && read(queues[at].kick, &kicks, sizeof(kicks)) < 0 && errno != EAGAIN)
				fail("kick");
		streams_react(polls + 1 + QUEUES);
		if (polls[0].revents != 0)
			hear_qemu(qemu);
	}
}

static int wait_for_qemu(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = MESSAGE_SECONDS_MAX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || strlen(vhost_path) >= sizeof(address.sun_path))
		fail("socket");
	strcpy(address.sun_path, vhost_path);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("socket");
	is_bound = true;
	if (listen(listener, 1) < 0)
		fail("socket");
	printf("ready\n");
	fflush(stdout);
	struct pollfd waiting = { .fd = listener, .events = POLLIN };
	if (poll(&waiting, 1, QEMU_SECONDS_MAX * 1000) != 1)
		end(is_told_to_end ? 0 : 1, "QEMU did not come");
	int qemu = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (qemu < 0 || setsockopt(qemu, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		fail("QEMU");
	close(listener);
	return qemu;
}

static void tell_to_end(int number)
{
	(void)number;
	is_told_to_end = 1;
}

int main(int count, char **words)
{
	struct sigaction action = { .sa_handler = tell_to_end };
	uint32_t ports[PORTS_MAX];
	sigset_t ends;

	if (count < 3 || count > 3 + PORTS_MAX) {
		fprintf(stderr, "usage: backend SOCKET PREFIX PORT...\n");
		return 2;
	}
	vhost_path = words[1];
	for (int at = 3; at < count; at++)
		ports[at - 3] = (uint32_t)strtoul(words[at], NULL, 10);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	umask(077);
	if (!sockets_listen(words[2], ports, (size_t)count - 3))
		fail("listener");
	int qemu = wait_for_qemu();
	sigprocmask(SIG_BLOCK, &ends, NULL);
	serve(qemu);
	end(0, "told to");
}
