#define _GNU_SOURCE
#include "queue.h"

#include <string.h>
#include <unistd.h>

#define IS_CONTINUED 1
#define IS_WRITABLE 2
#define NO_INTERRUPT 1

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

/* Whether [at, at + length) is inside [start, start + size), without a sum that could overflow. */
static bool is_inside(uint64_t at, uint64_t length, uint64_t start, uint64_t size)
{
	return at >= start && at - start <= size && length <= size - (at - start);
}

static uint8_t *at_guest_address(const struct memory *memory, uint64_t at, uint64_t length)
{
	for (size_t index = 0; index < memory->count; index++) {
		const struct region *region = &memory->regions[index];
		if (is_inside(at, length, region->guest, region->length))
			return region->bytes + (at - region->guest);
	}
	return NULL;
}

static void *at_user_address(const struct memory *memory, uint64_t at, uint64_t length, uint64_t alignment)
{
	for (size_t index = 0; index < memory->count; index++) {
		const struct region *region = &memory->regions[index];
		if (!is_inside(at, length, region->user, region->length))
			continue;
		uint8_t *bytes = region->bytes + (at - region->user);
		return (uintptr_t)bytes % alignment == 0 ? bytes : NULL;
	}
	return NULL;
}

bool queue_open(struct queue *queue)
{
	const struct memory *memory = queue->memory;
	uint64_t entries = queue->entries;

	if (entries == 0)
		return false;
	queue->descriptors = at_user_address(memory, queue->descriptors_at, 16 * entries, 16);
	queue->available = at_user_address(memory, queue->available_at, 6 + 2 * entries, 2);
	queue->used = at_user_address(memory, queue->used_at, 6 + 8 * entries, 4);
	return queue->descriptors != NULL && queue->available != NULL && queue->used != NULL;
}

/* Follows the descriptors from `index`. A loop ends at PARTS_MAX. */
static enum outcome follow(const struct queue *queue, uint16_t index, bool is_writable, struct chain *chain)
{
	struct descriptor copy = { .flags = IS_CONTINUED, .next = index };

	while ((copy.flags & IS_CONTINUED) != 0) {
		if (chain->count == PARTS_MAX || copy.next >= queue->entries)
			return BROKEN;
		copy = queue->descriptors[copy.next];
		if ((copy.flags & ~IS_CONTINUED) != (is_writable ? IS_WRITABLE : 0))
			return BROKEN;
		uint8_t *bytes = at_guest_address(queue->memory, copy.address, copy.length);
		if (bytes == NULL)
			return BROKEN;
		chain->parts[chain->count++] = (struct iovec){ .iov_base = bytes, .iov_len = copy.length };
		chain->length += copy.length;
	}
	return DONE;
}

enum outcome queue_peek(const struct queue *queue, bool is_writable, struct chain *chain)
{
	uint16_t end = __atomic_load_n(&queue->available[1], __ATOMIC_ACQUIRE);
	uint16_t waiting = (uint16_t)(end - queue->next_available);

	if (waiting == 0)
		return NOTHING;
	if (waiting > queue->entries)
		return BROKEN;
	chain->count = 0;
	chain->length = 0;
	chain->head = queue->available[2 + queue->next_available % queue->entries];
	return follow(queue, chain->head, is_writable, chain);
}

void queue_finish(struct queue *queue, const struct chain *chain, uint32_t written)
{
	volatile uint32_t *element = (volatile uint32_t *)(queue->used + 2) + 2 * (queue->next_used % queue->entries);

	element[0] = chain->head;
	element[1] = written;
	queue->next_available++;
	queue->next_used++;
	__atomic_store_n(&queue->used[1], queue->next_used, __ATOMIC_RELEASE);
	queue->is_to_be_told = true;
}

void queue_tell(struct queue *queue)
{
	const uint64_t one = 1;

	if (!queue->is_to_be_told)
		return;
	queue->is_to_be_told = false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if ((queue->available[0] & NO_INTERRUPT) == 0 && queue->call >= 0) {
		/* A counter that is full interrupts as well. */
		ssize_t ignored = write(queue->call, &one, sizeof(one));
		(void)ignored;
	}
}

static bool chain_copy(const struct chain *chain, size_t offset, uint8_t *bytes, size_t length, bool is_to_chain)
{
	for (size_t index = 0; index < chain->count && length > 0; index++) {
		const struct iovec *part = &chain->parts[index];
		if (offset >= part->iov_len) {
			offset -= part->iov_len;
			continue;
		}
		size_t share = part->iov_len - offset < length ? part->iov_len - offset : length;
		uint8_t *there = (uint8_t *)part->iov_base + offset;
		memcpy(is_to_chain ? there : bytes, is_to_chain ? bytes : there, share);
		bytes += share;
		length -= share;
		offset = 0;
	}
	return length == 0;
}

bool chain_read(const struct chain *chain, size_t offset, void *bytes, size_t length)
{
	return chain_copy(chain, offset, bytes, length, false);
}

bool chain_write(const struct chain *chain, size_t offset, const void *bytes, size_t length)
{
	return chain_copy(chain, offset, (uint8_t *)(uintptr_t)bytes, length, true);
}
