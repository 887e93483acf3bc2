/*
 * The half of a vhost-user front end that a script cannot be: it passes descriptors, kicks, and tells of calls.
 *
 *     front SOCKET MEMORY
 *
 * Lines that it takes: "m HEX NAMES" sends a message with the descriptors that NAMES has a letter of (m memory, k l kicks
 * of queue 0 and 1, c d calls of them); "k" and "l" kick. Lines that it gives: "r HEX", what the back end said; "c" and
 * "d", its calls; "e" when it has gone. Ends with its input.
 *
 * cc -std=c11 -O2 -Wall -Wextra -Werror -o front front.c
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_BYTES_MAX 4096
#define NAMES "mklcd"
#define COUNT (sizeof(NAMES) - 1)

static int descriptors[COUNT];
static int back_end;

static void fail(const char *subject)
{
	perror(subject);
	exit(1);
}

static int descriptor_of(char name)
{
	const char *place = strchr(NAMES, name);

	if (place == NULL || name == '\0')
		fail("name");
	return descriptors[place - NAMES];
}

static void pass(const char *hex, const char *names)
{
	static uint8_t bytes[LINE_BYTES_MAX];
	union { char bytes[CMSG_SPACE(COUNT * sizeof(int))]; struct cmsghdr align; } control = { 0 };
	struct iovec whole = { .iov_base = bytes, .iov_len = strlen(hex) / 2 };
	struct msghdr message = { .msg_iov = &whole, .msg_iovlen = 1 };
	size_t count = strlen(names);
	int passed[COUNT];

	for (size_t at = 0; at < whole.iov_len; at++)
		if (sscanf(hex + 2 * at, "%2hhx", &bytes[at]) != 1)
			fail("hex");
	for (size_t at = 0; at < count && at < COUNT; at++)
		passed[at] = descriptor_of(names[at]);
	if (count > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *words = CMSG_FIRSTHDR(&message);
		*words = (struct cmsghdr){ .cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(words), passed, count * sizeof(int));
	}
	/* One that has gone is told of below. */
	if (sendmsg(back_end, &message, MSG_NOSIGNAL) < 0)
		perror("message");
}

static void obey(char *line)
{
	const uint64_t one = 1;
	char *hex = strtok(line + 1, " ");
	char *names = hex == NULL ? NULL : strtok(NULL, " ");

	if (line[0] != 'm') {
		if (write(descriptor_of(line[0]), &one, sizeof(one)) != sizeof(one))
			fail("kick");
	} else if (hex != NULL) {
		pass(hex, names == NULL ? "" : names);
	}
}

static void take_lines(void)
{
	static char text[2 * LINE_BYTES_MAX];
	static size_t held;
	ssize_t count = read(0, text + held, sizeof(text) - 1 - held);

	if (count <= 0)
		exit(0);
	held += (size_t)count;
	text[held] = '\0';
	for (char *end = strchr(text, '\n'); end != NULL; end = strchr(text, '\n')) {
		*end = '\0';
		obey(text);
		held -= (size_t)(end + 1 - text);
		memmove(text, end + 1, held + 1);
	}
}

static void hear_back_end(void)
{
	uint8_t bytes[LINE_BYTES_MAX];
	ssize_t count = recv(back_end, bytes, sizeof(bytes), 0);

	printf(count <= 0 ? "e" : "r ");
	for (ssize_t at = 0; at < count; at++)
		printf("%02x", bytes[at]);
	printf("\n");
	if (count <= 0) {
		close(back_end);
		back_end = -1;
	}
}

int main(int count, char **words)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint64_t calls;

	if (count != 3 || strlen(words[1]) >= sizeof(address.sun_path))
		return 2;
	strcpy(address.sun_path, words[1]);
	back_end = socket(AF_UNIX, SOCK_STREAM, 0);
	descriptors[0] = open(words[2], O_RDWR);
	for (size_t at = 1; at < COUNT; at++)
		descriptors[at] = eventfd(0, EFD_NONBLOCK);
	if (connect(back_end, (struct sockaddr *)&address, sizeof(address)) < 0 || descriptors[0] < 0)
		fail("front");
	for (;;) {
		struct pollfd polls[] = {
			{ .fd = 0, .events = POLLIN }, { .fd = back_end, .events = POLLIN },
			{ .fd = descriptors[3], .events = POLLIN }, { .fd = descriptors[4], .events = POLLIN },
		};
		if (poll(polls, 4, -1) < 0)
			fail("poll");
		for (int at = 2; at < 4; at++)
			if (polls[at].revents != 0 && read(polls[at].fd, &calls, sizeof(calls)) > 0)
				printf("%c\n", NAMES[1 + at]);
		if (polls[1].revents != 0)
			hear_back_end();
		fflush(stdout);
		if (polls[0].revents != 0)
			take_lines();
	}
}
