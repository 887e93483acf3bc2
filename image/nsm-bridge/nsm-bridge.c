/*
 * Serves /dev/nsm, the Nitro Secure Module, on a unix socket.
 *
 *     nsm-bridge SOCKET
 *
 * Node cannot call ioctl. The init program of the enclave image starts this one before it gives up its privileges;
 * the enclave's only process connects to SOCKET and speaks what enclave/adapters/nsm.ts speaks:
 *
 *     offset  size  field
 *     0       4     length, unsigned, big endian; a request 1 to 0x1000, a response 1 to 0x3000
 *     4       n     one CBOR message
 *
 * The bridge reads no CBOR: it copies messages between the socket and the driver. Each request gets one response, in
 * order. One client at a time, because the driver is one device and the enclave one process. A client that breaks
 * the framing is disconnected. What the driver refuses becomes {"Error": ...}, as the platform's own library has it.
 * It says "ready" on standard output once SOCKET can be connected to. Exit codes: 1 for a failure, 2 for usage.
 *
 * Sources: aws-nitro-enclaves-nsm-api src/driver/mod.rs (ioctl, sizes, errors); Linux drivers/misc/nsm.c and
 * include/uapi/linux/nsm.h (struct nsm_raw).
 *
 * Static, no libraries but libc: cc -std=c11 -O2 -static -Wall -Wextra -Werror -o nsm-bridge nsm-bridge.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DEVICE "/dev/nsm"
#define REQUEST_BYTES_MAX 0x1000u
#define RESPONSE_BYTES_MAX 0x3000u
#define HEAD_BYTES 4u

/* Two address and length pairs of 64 bits, whatever the machine's own iovec is. */
struct nsm_buffer {
	uint64_t address;
	uint64_t length;
};

struct nsm_message {
	struct nsm_buffer request;
	struct nsm_buffer response;
};

#define NSM_IOCTL _IOWR(0x0A, 0, struct nsm_message)

/* {"Error": "InputTooLarge"} and {"Error": "InternalError"}, in CBOR. */
static const uint8_t INPUT_TOO_LARGE[] = "\xa1\x65" "Error" "\x6d" "InputTooLarge";
static const uint8_t INTERNAL_ERROR[] = "\xa1\x65" "Error" "\x6d" "InternalError";
#define ERROR_BYTES (sizeof(INTERNAL_ERROR) - 1)
_Static_assert(sizeof(INPUT_TOO_LARGE) == sizeof(INTERNAL_ERROR), "both have ERROR_BYTES");

static int fail(const char *subject)
{
	fprintf(stderr, "nsm-bridge: %s: %s\n", subject, strerror(errno));
	return 1;
}

static bool read_all(int fd, uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t count = read(fd, bytes, length);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return false;
		bytes += count;
		length -= (size_t)count;
	}
	return true;
}

static bool send_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t count = send(fd, bytes, length, MSG_NOSIGNAL);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return false;
		bytes += count;
		length -= (size_t)count;
	}
	return true;
}

/* The length of the answer in `response`. An answer of no bytes, or of too many, is none. */
static size_t ask(int device, const uint8_t *request, size_t length, uint8_t *response)
{
	struct nsm_message message = {
		.request = { (uint64_t)(uintptr_t)request, length },
		.response = { (uint64_t)(uintptr_t)response, RESPONSE_BYTES_MAX },
	};
	const uint8_t *error = INTERNAL_ERROR;

	if (ioctl(device, NSM_IOCTL, &message) == 0) {
		if (message.response.length >= 1 && message.response.length <= RESPONSE_BYTES_MAX)
			return (size_t)message.response.length;
	} else if (errno == EMSGSIZE) {
		error = INPUT_TOO_LARGE;
	}
	memcpy(response, error, ERROR_BYTES);
	return ERROR_BYTES;
}

/* Serves one client until it goes or breaks the framing. */
static void serve(int device, int client)
{
	static uint8_t request[REQUEST_BYTES_MAX];
	static uint8_t response[HEAD_BYTES + RESPONSE_BYTES_MAX];
	uint8_t head[HEAD_BYTES];
	bool goes_on = true;

	while (goes_on && read_all(client, head, HEAD_BYTES)) {
		uint32_t length = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 |
				  (uint32_t)head[2] << 8 | head[3];
		if (length < 1 || length > REQUEST_BYTES_MAX || !read_all(client, request, length))
			break;
		size_t answered = ask(device, request, length, response + HEAD_BYTES);
		response[0] = 0;
		response[1] = 0;
		response[2] = (uint8_t)(answered >> 8);
		response[3] = (uint8_t)answered;
		goes_on = send_all(client, response, HEAD_BYTES + answered);
		/* Random bytes were in it. */
		explicit_bzero(response, sizeof(response));
	}
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0)
		return -1;
	memcpy(address.sun_path, path, strlen(path));
	umask(0177);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 1) < 0) {
		close(listener);
		return -1;
	}
	return listener;
}

int main(int argc, char **argv)
{
	size_t length = argc == 2 ? strlen(argv[1]) : 0;

	if (length < 1 || length >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		fprintf(stderr, "usage: nsm-bridge SOCKET, a path of 1 to %zu bytes\n",
			sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
		return 2;
	}
	int device = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		return fail(DEVICE);
	int listener = listen_at(argv[1]);
	if (listener < 0)
		return fail(argv[1]);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return fail("accept");
		}
		serve(device, client);
		close(client);
	}
}
