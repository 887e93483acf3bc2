/*
 * Serves /dev/nsm, the Nitro Secure Module, on a socket. Node cannot call ioctl.
 *
 * The enclave's process speaks on the other end of the socket what enclave/adapters/nsm.ts speaks:
 *
 *     offset  size  field
 *     0       4     length, unsigned, big endian; a request 1 to 0x1000, a response 1 to 0x3000
 *     4       n     one CBOR message
 *
 * No CBOR is read here: messages are copied between the socket and the driver. Each request gets one response, in
 * order. A client that breaks the framing is left. What the driver refuses becomes {"Error": ...}, as the platform's own
 * library has it.
 *
 * Sources: aws-nitro-enclaves-nsm-api src/driver/mod.rs (ioctl, sizes, errors); Linux drivers/misc/nsm.c and
 * include/uapi/linux/nsm.h (struct nsm_raw).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nsm.h"

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

void nsm_serve(int device, int client)
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
