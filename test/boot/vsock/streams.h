/*
 * Streams of vsock (virtio 1.2, section 5.10) between a guest's two queues and unix sockets of this machine.
 *
 * Host to guest: a connection to a listener is a stream to that port of the guest, with no word before. Guest to host: a stream to PORT, whatever the CID, is a connection to PREFIX_PORT.
 * There are STREAMS_MAX streams at most; the next connection waits, the guest's next request is refused.
 */
#ifndef STREAMS_H
#define STREAMS_H

#include <poll.h>

#include "queue.h"
#include "sockets.h"

#define GUEST_CID 16
#define STREAMS_MAX 128
#define POLLS_MAX (PORTS_MAX + STREAMS_MAX)

/* Says in POLLS_MAX places what is waited for, and later takes what came. */
void streams_wait(struct pollfd *polls);
void streams_react(const struct pollfd *polls);

/* Moves what can be moved. DONE: call again before waiting. BROKEN: the guest has broken the rules of its queues. */
enum outcome streams_exchange(struct queue *to_guest, struct queue *from_guest);

#endif
