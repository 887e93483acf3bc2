/*
 * The first program of the enclave image: brings the machine up, starts the gate in the measured root file system, and
 * ends the machine when the gate ends.
 *
 *     /init             this program
 *     /modules          drivers that the kernel may not have built in
 *     /rootfs           the second ramdisk: what the gate and the enclaves see as /
 *
 * The command line is read for one thing, where the devices are, because the hypervisor appends that to it; it is the
 * host's word. There is no shell, no other program and no network. What fails ends the machine: a half-started
 * enclave answers nobody.
 *
 * Sources: aws-nitro-enclaves-sdk-bootstrap init/init.c (heartbeat, how to end); Linux
 * Documentation/admin-guide/module-signing.rst, include/uapi/linux/module.h (finit_module flags).
 *
 * Static, no libraries but libc: cc -std=c11 -O2 -static -Wall -Wextra -Werror -o init init.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

/* The kernel unpacks the file itself (CONFIG_MODULE_DECOMPRESS). */
#define MODULE_INIT_COMPRESSED_FILE 4
#define CMDLINE_BYTES_MAX 4096
#define DEVICE_WORD "virtio_mmio.device="

/* The last file of the second ramdisk: one that is cut, because memory is short, is without it. */
#define LAST_FILE "/rootfs/~"

/* Where nitro-cli waits for a sign of life, and what it is. */
#define HEARTBEAT_CID 3
#define HEARTBEAT_PORT 9000
#define HEARTBEAT 0xB7
#define HEARTBEAT_SECONDS_MAX 10

#define GATE_SECONDS_MAX 10

/* Our own module, which is told where the devices are. */
#define DEVICES_MODULE "nitro_devices.ko"

/* In order: each after those that it needs. */
static const char *const MODULES[] = {
	DEVICES_MODULE, "virtio_mmio.ko.xz", "nsm.ko.xz", "vsock.ko.xz",
	"vmw_vsock_virtio_transport_common.ko.xz", "vmw_vsock_virtio_transport.ko.xz",
};

/* Ends the machine. A restart ends an enclave: its hypervisor does not start it again. */
static void end(const char *subject)
{
	fprintf(stderr, "init: %s: %s\n", subject, strerror(errno));
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void mount_at(const char *type, const char *path, unsigned long flags)
{
	if (mount(type, path, type, flags | MS_NOSUID | MS_NOEXEC, NULL) < 0)
		end(path);
}

/* Devices and processes, for this program and below /rootfs. Enclaves see no process but their own. */
static void mount_all(void)
{
	mount_at("devtmpfs", "/dev", 0);
	mount_at("proc", "/proc", MS_NODEV);
	if (mount("/dev", "/rootfs/dev", NULL, MS_BIND, NULL) < 0)
		end("/rootfs/dev");
	if (mount("proc", "/rootfs/proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, "hidepid=2") < 0)
		end("/rootfs/proc");
}

/* "device=A device=B" of the command line's virtio_mmio.device=A and =B: a module is not told by the kernel. */
static void read_devices(char parameters[CMDLINE_BYTES_MAX])
{
	static char cmdline[CMDLINE_BYTES_MAX];
	int file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? -1 : read(file, cmdline, sizeof(cmdline) - 1);
	size_t used = 0;

	if (length < 0)
		end("/proc/cmdline");
	close(file);
	for (char *word = strtok(cmdline, " \n"); word != NULL; word = strtok(NULL, " \n")) {
		if (strncmp(word, DEVICE_WORD, strlen(DEVICE_WORD)) != 0)
			continue;
		/* Each word is shorter here than there, so that all of them fit. */
		used += (size_t)sprintf(parameters + used, "device=%s ", word + strlen(DEVICE_WORD));
	}
	parameters[used] = '\0';
}

/* A driver that is not there is one that the kernel has built in; /dev/nsm tells in the end. */
static void load_module(const char *name, const char *parameters)
{
	char path[128];
	int flags = strstr(name, ".xz") == NULL ? 0 : MODULE_INIT_COMPRESSED_FILE;

	snprintf(path, sizeof(path), "/modules/%s", name);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0) {
		if (errno != ENOENT)
			end(path);
		return;
	}
	if (syscall(SYS_finit_module, file, parameters, flags) < 0 && errno != EEXIST)
		end(path);
	close(file);
}

static void load_modules(void)
{
	static char devices[CMDLINE_BYTES_MAX];

	read_devices(devices);
	for (size_t at = 0; at < sizeof(MODULES) / sizeof(MODULES[0]); at++)
		load_module(MODULES[at], strcmp(MODULES[at], DEVICES_MODULE) == 0 ? devices : "");
	if (access("/dev/nsm", F_OK) < 0)
		end("/dev/nsm");
}

/* A kernel may have no network at all; nothing here needs one. */
static void bring_up_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (any < 0)
		return;
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(any, SIOCSIFFLAGS, &request) < 0)
		end("lo");
	close(any);
}

/* Tells nitro-cli that the image came up. It answers with the same byte; nothing else is sent or believed. */
static void beat(void)
{
	struct sockaddr_vm host = { .svm_family = AF_VSOCK, .svm_cid = HEARTBEAT_CID, .svm_port = HEARTBEAT_PORT };
	struct timeval patience = { .tv_sec = HEARTBEAT_SECONDS_MAX };
	unsigned char byte = HEARTBEAT;
	int socket_fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (socket_fd < 0 || setsockopt(socket_fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		end("heartbeat");
	if (connect(socket_fd, (struct sockaddr *)&host, sizeof(host)) < 0)
		end("heartbeat");
	if (write(socket_fd, &byte, 1) != 1 || read(socket_fd, &byte, 1) != 1 || byte != HEARTBEAT)
		end("heartbeat");
	close(socket_fd);
}

/* Returns when the gate can be reached, which it says on its output: after the sign of life nobody is turned away. */
static pid_t start_gate(void)
{
	static char *const words[] = { "/sbin/gate", NULL };
	static char *const environment[] = { NULL };
	char word[32];
	int output[2];
	pid_t gate = pipe2(output, O_CLOEXEC) < 0 ? -1 : fork();

	if (gate < 0)
		end("fork");
	if (gate > 0) {
		struct pollfd said = { .fd = output[0], .events = POLLIN };
		close(output[1]);
		if (poll(&said, 1, GATE_SECONDS_MAX * 1000) != 1 || read(output[0], word, sizeof(word)) < 1)
			end("gate");
		close(output[0]);
		return gate;
	}
	if (dup2(output[1], STDOUT_FILENO) >= 0 && chroot("/rootfs") == 0 && chdir("/") == 0)
		execve(words[0], words, environment);
	fprintf(stderr, "init: gate: %s\n", strerror(errno));
	_exit(1);
}

int main(void)
{
	umask(077);
	if (access(LAST_FILE, F_OK) < 0)
		end("second ramdisk, give the enclave more memory");
	mount_all();
	load_modules();
	bring_up_loopback();
	pid_t gate = start_gate();
	beat();
	for (;;) {
		pid_t ended = wait(NULL);
		if (ended == gate)
			break;
		if (ended < 0 && errno != EINTR)
			end("wait");
	}
	errno = 0;
	end("gate");
}
