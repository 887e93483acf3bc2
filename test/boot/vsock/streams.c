#define _GNU_SOURCE
#include "packet.h"
#include "sockets.h"
#include "streams.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The parent instance, as an enclave knows it. */
#define HOST_CID 3
/* What the guest may have under way in a stream. */
#define ROOM_BYTES 262144
#define REFUSALS_MAX 128
#define FIRST_HOST_PORT 0x10000

/* ASKED: the guest has not answered yet. PARTED: the guest knows it no longer, the host has still to take something.
 * DEAD: the host knows it no longer, the guest has to hear of it. */
enum state { FREE, ASKED, OPEN, PARTED, DEAD };

struct stream {
	enum state state;
	int fd;
	uint64_t host_cid;
	uint32_t host_port, guest_port;
	/* Operations that the guest is to be told, a bit each; the flags of the SHUTDOWN among them. */
	unsigned to_tell;
	uint32_t shutdown_flags;
	bool host_sends, guest_sends;
	/* Whether the host may have something to read; not looked again until it was read to the end. */
	bool is_readable;
	/* Bytes sent to the guest, and what it has room for and took; bytes taken from it, and what it was told of that. */
	uint32_t sent, guest_room, guest_taken, taken, told;
	/* What the guest sent and the host has not taken yet. */
	size_t start, held;
	uint8_t bytes[ROOM_BYTES];
};

static struct stream streams[STREAMS_MAX];
static size_t first_to_serve;
static struct header refusals[REFUSALS_MAX];
static size_t refusal_count;

static void tell(struct stream *stream, enum operation operation)
{
	stream->to_tell |= 1U << operation;
}

static void release(struct stream *stream)
{
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
	stream->state = FREE;
}

/* Hangs up on the host at once, and on the guest as soon as it can be told. */
static void kill_stream(struct stream *stream)
{
	bool is_known = stream->state != PARTED;

	release(stream);
	if (is_known) {
		stream->state = DEAD;
		stream->to_tell = 1U << RESET;
	}
}

static struct stream *find(uint64_t host_cid, uint32_t host_port, uint32_t guest_port)
{
	for (size_t at = 0; at < STREAMS_MAX; at++) {
		struct stream *stream = &streams[at];
		if (stream->state != FREE && stream->state != PARTED && stream->host_cid == host_cid &&
		    stream->host_port == host_port && stream->guest_port == guest_port)
			return stream;
	}
	return NULL;
}

static struct stream *find_free(void)
{
	for (size_t at = 0; at < STREAMS_MAX; at++)
		if (streams[at].state == FREE)
			return &streams[at];
	return NULL;
}

static void begin(struct stream *stream, int fd, enum state state)
{
	memset(stream, 0, offsetof(struct stream, bytes));
	stream->state = state;
	stream->fd = fd;
	stream->host_sends = true;
	stream->guest_sends = true;
}

static void accept_host(int listener, uint32_t port)
{
	static uint32_t next_port = FIRST_HOST_PORT;
	struct stream *stream = find_free();
	int fd = stream == NULL ? -1 : accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	while (find(HOST_CID, next_port, port) != NULL || next_port < FIRST_HOST_PORT)
		next_port++;
	begin(stream, fd, ASKED);
	stream->host_cid = HOST_CID;
	stream->host_port = next_port++;
	stream->guest_port = port;
	tell(stream, REQUEST);
}

static void refuse(const struct header *header)
{
	refusals[refusal_count++] = (struct header){
		.from_cid = header->to_cid, .to_cid = GUEST_CID, .from_port = header->to_port,
		.to_port = header->from_port, .type = header->type, .operation = RESET,
	};
}

static void accept_guest(const struct header *header)
{
	struct stream *stream = find_free();
	int fd = stream == NULL ? -1 : sockets_dial(header->to_port);

	if (fd < 0) {
		refuse(header);
		return;
	}
	begin(stream, fd, OPEN);
	stream->host_cid = header->to_cid;
	stream->host_port = header->to_port;
	stream->guest_port = header->from_port;
	stream->guest_room = header->room;
	stream->guest_taken = header->taken;
	tell(stream, RESPONSE);
}

/* Passes on to the host what the guest sent; and its farewell after the last byte. */
static void write_to_host(struct stream *stream)
{
	while (stream->held > 0) {
		size_t share = ROOM_BYTES - stream->start < stream->held ? ROOM_BYTES - stream->start : stream->held;
		ssize_t count = send(stream->fd, stream->bytes + stream->start, share, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (count < 0) {
			if (errno != EAGAIN && errno != EINTR)
				kill_stream(stream);
			return;
		}
		stream->start = (stream->start + (size_t)count) % ROOM_BYTES;
		stream->held -= (size_t)count;
		stream->taken += (uint32_t)count;
	}
	if (stream->taken - stream->told >= ROOM_BYTES / 2)
		tell(stream, CREDIT);
	if (stream->state == PARTED)
		release(stream);
	else if (!stream->guest_sends && !stream->host_sends)
		kill_stream(stream);
	else if (!stream->guest_sends)
		shutdown(stream->fd, SHUT_WR);
}

/* Keeps the data of a packet. False when it is not there, or more than the guest may send. */
static bool keep(struct stream *stream, const struct chain *chain, size_t length)
{
	size_t end = (stream->start + stream->held) % ROOM_BYTES;
	size_t share = ROOM_BYTES - end < length ? ROOM_BYTES - end : length;

	if (stream->state != OPEN || !stream->guest_sends || length > ROOM_BYTES - stream->held)
		return false;
	if (!chain_read(chain, sizeof(struct header), stream->bytes + end, share) ||
	    !chain_read(chain, sizeof(struct header) + share, stream->bytes, length - share))
		return false;
	stream->held += length;
	return true;
}

/* The guest has gone. What it sent before an orderly farewell still reaches the host. */
static void part(struct stream *stream)
{
	if (stream->state == OPEN && !stream->guest_sends && stream->held > 0)
		stream->state = PARTED;
	else
		release(stream);
}

static void hear_farewell(struct stream *stream, uint32_t flags)
{
	if ((flags & TAKES_NO_MORE) != 0 && stream->host_sends) {
		stream->host_sends = false;
		shutdown(stream->fd, SHUT_RD);
	}
	if ((flags & SENDS_NO_MORE) != 0)
		stream->guest_sends = false;
	write_to_host(stream);
}

static void obey(struct stream *stream, const struct header *header, const struct chain *chain)
{
	stream->guest_room = header->room;
	stream->guest_taken = header->taken;
	if (header->operation == RESPONSE && stream->state == ASKED) {
		stream->state = OPEN;
	} else if (header->operation == DATA && keep(stream, chain, header->length)) {
		write_to_host(stream);
	} else if (header->operation == SHUTDOWN && stream->state == OPEN) {
		hear_farewell(stream, header->flags);
	} else if (header->operation == CREDIT_WANTED) {
		tell(stream, CREDIT);
	} else if (header->operation != CREDIT) {
		kill_stream(stream);
	}
}

static enum outcome take_packet(const struct chain *chain)
{
	struct header header;

	if (!chain_read(chain, 0, &header, sizeof(header)) || header.length > PACKET_BYTES_MAX)
		return BROKEN;
	if (header.length > chain->length - sizeof(header) || header.from_cid != GUEST_CID)
		return BROKEN;
	struct stream *stream = find(header.to_cid, header.to_port, header.from_port);
	if (header.operation == RESET) {
		if (stream != NULL)
			part(stream);
	} else if (stream == NULL && header.operation == REQUEST && header.type == TYPE_STREAM) {
		accept_guest(&header);
	} else if (stream == NULL || header.type != TYPE_STREAM) {
		refuse(&header);
	} else if (stream->state != DEAD) {
		obey(stream, &header, chain);
	}
	return DONE;
}

/* The operation that comes next for the guest, or 0. Data comes after an answer and before a farewell. */
static unsigned next_operation(const struct stream *stream)
{
	static const enum operation first[] = { RESET, REQUEST, RESPONSE, CREDIT };

	for (size_t at = 0; at < sizeof(first) / sizeof(first[0]); at++)
		if ((stream->to_tell & 1U << first[at]) != 0)
			return first[at];
	if (stream->state != OPEN)
		return 0;
	if (stream->host_sends && stream->is_readable && stream->guest_room > stream->sent - stream->guest_taken)
		return DATA;
	return (stream->to_tell & 1U << SHUTDOWN) != 0 ? SHUTDOWN : 0;
}

/* Reads from the host into the guest's buffer, after the header. Returns how much, 0 when there was nothing. */
static uint32_t read_from_host(struct stream *stream, const struct chain *chain)
{
	static uint8_t bytes[PACKET_BYTES_MAX];
	size_t room = stream->guest_room - (stream->sent - stream->guest_taken);
	size_t space = chain->length - sizeof(struct header);

	if (room > space)
		room = space;
	if (room > PACKET_BYTES_MAX)
		room = PACKET_BYTES_MAX;
	ssize_t count = room == 0 ? 0 : read(stream->fd, bytes, room);
	stream->is_readable = count > 0;
	if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) {
		stream->host_sends = false;
		stream->shutdown_flags = SENDS_NO_MORE;
		tell(stream, SHUTDOWN);
	}
	if (count <= 0)
		return 0;
	chain_write(chain, sizeof(struct header), bytes, (size_t)count);
	stream->sent += (uint32_t)count;
	return (uint32_t)count;
}

/* Fills a buffer of the guest with a packet of this stream. Returns its length, 0 when there was none to send. */
static uint32_t fill(struct stream *stream, const struct chain *chain)
{
	unsigned operation = next_operation(stream);
	uint32_t length = operation == DATA ? read_from_host(stream, chain) : 0;

	/* There was nothing to read: an end perhaps, which is told now. */
	if (operation == DATA && length == 0)
		operation = next_operation(stream);
	if (operation == 0)
		return 0;
	struct header header = {
		.from_cid = stream->host_cid, .to_cid = GUEST_CID, .from_port = stream->host_port,
		.to_port = stream->guest_port, .length = length, .type = TYPE_STREAM, .operation = (uint16_t)operation,
		.flags = operation == SHUTDOWN ? stream->shutdown_flags : 0, .room = ROOM_BYTES, .taken = stream->taken,
	};
	chain_write(chain, 0, &header, sizeof(header));
	stream->told = stream->taken;
	stream->to_tell &= ~(1U << operation | 1U << CREDIT);
	if (operation == RESET || (operation == SHUTDOWN && stream->shutdown_flags == (TAKES_NO_MORE | SENDS_NO_MORE)))
		release(stream);
	return (uint32_t)sizeof(header) + length;
}

/* Fills a buffer of the guest: refusals first, then the streams in turn. */
static uint32_t fill_from_any(const struct chain *chain)
{
	if (refusal_count > 0) {
		chain_write(chain, 0, &refusals[--refusal_count], sizeof(struct header));
		return sizeof(struct header);
	}
	for (size_t step = 0; step < STREAMS_MAX; step++) {
		struct stream *stream = &streams[first_to_serve];
		first_to_serve = (first_to_serve + 1) % STREAMS_MAX;
		uint32_t length = fill(stream, chain);
		if (length > 0)
			return length;
	}
	return 0;
}

enum outcome streams_exchange(struct queue *to_guest, struct queue *from_guest)
{
	struct chain chain;
	enum outcome sent = NOTHING, taken = refusal_count == REFUSALS_MAX ? NOTHING : queue_peek(from_guest, false, &chain);

	if (taken == DONE)
		taken = take_packet(&chain);
	if (taken == DONE)
		queue_finish(from_guest, &chain, 0);
	if (taken != BROKEN)
		sent = queue_peek(to_guest, true, &chain);
	if (taken == BROKEN || sent == BROKEN || (sent == DONE && chain.length <= sizeof(struct header)))
		return BROKEN;
	uint32_t length = sent == DONE ? fill_from_any(&chain) : 0;
	if (length > 0)
		queue_finish(to_guest, &chain, length);
	return taken == DONE || length > 0 ? DONE : NOTHING;
}

/* What a stream waits for from its host. One that waits for nothing would say again and again that it hung up. */
static struct pollfd wait_of(const struct stream *stream)
{
	bool is_full = stream->host_sends && stream->is_readable;
	short events = 0;

	if (stream->held > 0)
		events |= POLLOUT;
	if (stream->state == OPEN && stream->host_sends && !stream->is_readable)
		events |= POLLIN;
	bool is_idle = stream->state == FREE || stream->state == DEAD || (events == 0 && is_full) ||
		(stream->to_tell & 1U << SHUTDOWN) != 0;
	return (struct pollfd){ .fd = is_idle && events == 0 ? -1 : stream->fd, .events = events };
}

void streams_wait(struct pollfd *polls)
{
	bool is_full = find_free() == NULL;
	uint32_t port;

	for (size_t at = 0; at < PORTS_MAX; at++)
		polls[at] = (struct pollfd){ .fd = is_full ? -1 : sockets_listener(at, &port), .events = POLLIN };
	for (size_t at = 0; at < STREAMS_MAX; at++)
		polls[PORTS_MAX + at] = wait_of(&streams[at]);
}

/* The host has gone. What it sent before has been read, unless the guest never answered or takes it no more. */
static void hear_hangup(struct stream *stream)
{
	if (stream->state == OPEN && stream->held == 0) {
		stream->shutdown_flags = TAKES_NO_MORE | SENDS_NO_MORE;
		tell(stream, SHUTDOWN);
	} else {
		kill_stream(stream);
	}
}

void streams_react(const struct pollfd *polls)
{
	for (size_t at = 0; at < STREAMS_MAX; at++) {
		struct stream *stream = &streams[at];
		short seen = polls[PORTS_MAX + at].revents;
		if (seen == 0)
			continue;
		if ((polls[PORTS_MAX + at].events & POLLIN) != 0)
			stream->is_readable = true;
		else if ((seen & (POLLHUP | POLLERR)) != 0)
			hear_hangup(stream);
		if ((seen & POLLOUT) != 0 && stream->state != FREE && stream->state != DEAD)
			write_to_host(stream);
	}
	for (size_t at = 0; at < PORTS_MAX; at++) {
		uint32_t port = 0;
		int listener = sockets_listener(at, &port);
		if (polls[at].revents != 0)
			accept_host(listener, port);
	}
}
