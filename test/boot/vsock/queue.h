/*
 * A guest's memory and its split virtqueues (virtio 1.2, section 2.7), seen from the device.
 *
 * The guest is not believed: it may write anything into the rings at any time. What is read from there is copied once
 * and judged then; every address is looked up in the memory table with its length. Little endian, as the host.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define REGIONS_MAX 8
#define ENTRIES_MAX 1024
/* A packet of 64 KiB in pages, a header, and as much again. */
#define PARTS_MAX 40

struct region {
	uint64_t guest;
	uint64_t user;
	uint64_t length;
	uint8_t *bytes;
	void *map;
	size_t map_length;
};

struct memory {
	struct region regions[REGIONS_MAX];
	size_t count;
};

struct queue {
	const struct memory *memory;
	/* A power of two in [1, ENTRIES_MAX], or 0 until it is told. */
	uint32_t entries;
	/* Addresses of the front end's process. */
	uint64_t descriptors_at, available_at, used_at;
	const volatile struct descriptor *descriptors;
	volatile uint16_t *available;
	volatile uint16_t *used;
	uint16_t next_available, next_used;
	int kick, call;
	bool is_enabled;
	bool is_to_be_told;
};

/* One request of the guest: parts that are all to be read, or all to be written. */
struct chain {
	uint16_t head;
	size_t count;
	size_t length;
	struct iovec parts[PARTS_MAX];
};

/* What a step came to. */
enum outcome { BROKEN = -1, NOTHING = 0, DONE = 1 };

/* Finds the rings in memory. False when they are not wholly there, or not aligned. */
bool queue_open(struct queue *queue);

/* The next request, not yet taken off the queue. `is_writable` says which kind this queue has. */
enum outcome queue_peek(const struct queue *queue, bool is_writable, struct chain *chain);

/* Takes the request that was peeked at off the queue and gives it back, `written` bytes of it filled. */
void queue_finish(struct queue *queue, const struct chain *chain, uint32_t written);

/* Interrupts the guest if something was given back since the last time and it wants to know. */
void queue_tell(struct queue *queue);

/* Copies `length` bytes between a buffer and a chain from its byte `offset` on; false when they are not all there. */
bool chain_read(const struct chain *chain, size_t offset, void *bytes, size_t length);
bool chain_write(const struct chain *chain, size_t offset, const void *bytes, size_t length);

#endif
