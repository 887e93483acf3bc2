/*
 * What stands before each packet of a vsock: virtio 1.2, section 5.10.6. Little endian.
 */
#ifndef PACKET_H
#define PACKET_H

#include <stdint.h>

#define TYPE_STREAM 1
#define PACKET_BYTES_MAX 65536

enum operation { REQUEST = 1, RESPONSE, RESET, SHUTDOWN, DATA, CREDIT, CREDIT_WANTED };
/* Flags of SHUTDOWN, of who sends it. */
#define TAKES_NO_MORE 1
#define SENDS_NO_MORE 2

struct header {
	uint64_t from_cid, to_cid;
	uint32_t from_port, to_port;
	uint32_t length;
	uint16_t type, operation;
	uint32_t flags;
	uint32_t room, taken;
} __attribute__((packed));

#endif
