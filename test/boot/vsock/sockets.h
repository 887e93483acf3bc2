/*
 * The host's side: unix sockets PREFIX_PORT, one for each port.
 */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORTS_MAX 8

/* Makes a listener for each port. False, with errno, when one cannot be made. */
bool sockets_listen(const char *prefix, const uint32_t *ports, size_t count);

/* Takes the listeners' files away. */
void sockets_close(void);

/* The listener at `index` and its port; a negative descriptor past the last. */
int sockets_listener(size_t index, uint32_t *port);

/* Connects to whoever listens for `port`, but not to a listener of ours. Negative when there is nobody. */
int sockets_dial(uint32_t port);

#endif
