/*
 * Serves the driver on a unix socket, one client after the other: image/gate/nsm.c for its tests.
 *
 *     nsm-main SOCKET
 *
 * Says "ready" once SOCKET can be connected to.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "nsm.h"

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int device = open(NSM_DEVICE, O_RDWR);
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);

	if (argc != 2 || device < 0 || listener < 0)
		return 1;
	strncpy(address.sun_path, argv[1], sizeof(address.sun_path) - 1);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 1) < 0)
		return 1;
	puts("ready");
	fflush(stdout);
	for (;;) {
		int client = accept(listener, NULL, NULL);
		if (client < 0)
			return 1;
		nsm_serve(device, client);
		close(client);
	}
}
