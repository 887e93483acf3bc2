/*
 * Stands for the driver of /dev/nsm in a program that is started with it in LD_PRELOAD.
 *
 * open("/dev/nsm") connects to the unix socket in NSM_SHIM_SOCKET. The driver's ioctl becomes a frame to it and a frame
 * back, both [u32 big endian][bytes]. A frame back of five bytes, 0xff and an errno, fails the call with that errno; one
 * of no bytes is an answer of no bytes. Requests above 0x1000 bytes fail with EMSGSIZE, as in the driver.
 *
 * A vsock port becomes the unix socket in VSOCK_SHIM_SOCKET, announced as "ready" once it listens, and whoever is not root may change users all the same.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct message {
	uint64_t request, request_length, response, response_length;
};

static int device = -1;

static int connect_device(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NSM_SHIM_SOCKET");

	if (path == NULL) {
		errno = ENOENT;
		return -1;
	}
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	device = socket(AF_UNIX, SOCK_STREAM, 0);
	return connect(device, (struct sockaddr *)&address, sizeof(address)) == 0 ? device : -1;
}

int open(const char *path, int flags, ...)
{
	if (strcmp(path, "/dev/nsm") == 0)
		return connect_device();
	va_list arguments;
	va_start(arguments, flags);
	mode_t mode = va_arg(arguments, mode_t);
	va_end(arguments);
	int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
	return real(path, flags, mode);
}

static int exchange(struct message *message)
{
	uint32_t head = htonl((uint32_t)message->request_length);
	uint8_t *response = (uint8_t *)(uintptr_t)message->response;

	if (write(device, &head, 4) != 4)
		return -1;
	if (write(device, (void *)(uintptr_t)message->request, message->request_length) < 0)
		return -1;
	if (recv(device, &head, 4, MSG_WAITALL) != 4)
		return -1;
	uint32_t length = ntohl(head);
	uint8_t *bytes = malloc(length + 1);
	if (length > 0 && recv(device, bytes, length, MSG_WAITALL) != (ssize_t)length)
		return -1;
	if (length == 5 && bytes[0] == 0xff) {
		errno = bytes[4];
		return -1;
	}
	memcpy(response, bytes, length < message->response_length ? length : message->response_length);
	message->response_length = length;
	free(bytes);
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	struct message *message = va_arg(arguments, struct message *);
	va_end(arguments);
	if (fd == device && request == _IOWR(0x0A, 0, struct message)) {
		if (message->request_length > 0x1000) {
			errno = EMSGSIZE;
			return -1;
		}
		return exchange(message);
	}
	errno = ENOTTY;
	return -1;
}

int socket(int domain, int type, int protocol)
{
	int (*real)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
	return real(domain == AF_VSOCK ? AF_UNIX : domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
	int (*real)(int, const struct sockaddr *, socklen_t) =
		(int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");
	struct sockaddr_un here = { .sun_family = AF_UNIX };
	const char *path = getenv("VSOCK_SHIM_SOCKET");

	if (address->sa_family != AF_VSOCK || path == NULL)
		return real(fd, address, length);
	strncpy(here.sun_path, path, sizeof(here.sun_path) - 1);
	return real(fd, (struct sockaddr *)&here, sizeof(here));
}

int listen(int fd, int backlog)
{
	int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "listen");
	int result = real(fd, backlog);

	if (result == 0 && getenv("VSOCK_SHIM_SOCKET") != NULL && write(STDERR_FILENO, "ready\n", 6) != 6)
		return -1;
	return result;
}

int setgroups(size_t count, const gid_t *groups)
{
	(void)count;
	(void)groups;
	return 0;
}

int setresuid(uid_t real, uid_t effective, uid_t saved)
{
	return (int)((real ^ effective) | (real ^ saved));
}

int setresgid(gid_t real, gid_t effective, gid_t saved)
{
	return (int)((real ^ effective) | (real ^ saved));
}

int unshare(int flags)
{
	(void)flags;
	return 0;
}
