#define _GNU_SOURCE
#include "sockets.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

static struct {
	int fd;
	uint32_t port;
	struct sockaddr_un address;
} listeners[PORTS_MAX];
static size_t listener_count;
static const char *socket_prefix;

static int make_socket(uint32_t port, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int length = snprintf(address->sun_path, sizeof(address->sun_path), "%s_%u", socket_prefix, port);
	if (length < 0 || (size_t)length >= sizeof(address->sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

bool sockets_listen(const char *prefix, const uint32_t *ports, size_t count)
{
	socket_prefix = prefix;
	for (size_t at = 0; at < count && at < PORTS_MAX; at++) {
		struct sockaddr_un *address = &listeners[at].address;
		int fd = make_socket(ports[at], address);
		if (fd < 0 || bind(fd, (struct sockaddr *)address, sizeof(*address)) < 0)
			return false;
		listeners[at].fd = fd;
		listeners[at].port = ports[at];
		listener_count++;
		if (listen(fd, BACKLOG) < 0)
			return false;
	}
	return true;
}

void sockets_close(void)
{
	for (size_t at = 0; at < listener_count; at++)
		unlink(listeners[at].address.sun_path);
}

int sockets_listener(size_t index, uint32_t *port)
{
	if (index >= listener_count)
		return -1;
	*port = listeners[index].port;
	return listeners[index].fd;
}

int sockets_dial(uint32_t port)
{
	struct sockaddr_un address;

	for (size_t at = 0; at < listener_count; at++)
		if (listeners[at].port == port)
			return -1;
	int fd = make_socket(port, &address);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}
