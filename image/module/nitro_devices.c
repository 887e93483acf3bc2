// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tells the kernel's virtio_mmio driver where a Nitro enclave's devices are.
 *
 *     insmod nitro_devices.ko device=4K@0xd0000000:5 device=4K@0xd0001000:6
 *
 * The hypervisor names them on the command line, as virtio_mmio.device=<size>@<address>:<interrupt>, which the driver
 * reads only where it is built with CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES. Debian's is not. This module does that one part
 * and leaves the driver as Debian built and signed it. It stays loaded: devices are there until the machine ends.
 *
 * What is named is the host's word, as all that the devices then say. The kernel refuses an address that is memory.
 *
 * Source: Linux drivers/virtio/virtio_mmio.c, vm_cmdline_set.
 */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>

/* A Nitro enclave has two: its vsock and its NSM. */
#define DEVICES_MAX 8

static int devices;

/* Names one device: called for each word of the parameters, while the module is loaded. */
static int add_device(const char *word, const struct kernel_param *parameter)
{
	struct resource resources[2] = { };
	struct platform_device *device;
	unsigned long long address;
	unsigned int interrupt;
	char *rest;
	unsigned long long size = memparse(word, &rest);
	int length = 0;

	if (devices == DEVICES_MAX)
		return -ENOSPC;
	if (sscanf(rest, "@%lli:%u%n", &address, &interrupt, &length) < 2 || rest[length] != '\0')
		return -EINVAL;
	if (size == 0 || address + size < address)
		return -EINVAL;
	resources[0] = DEFINE_RES_MEM(address, size);
	resources[1] = DEFINE_RES_IRQ(interrupt);
	device = platform_device_register_simple("virtio-mmio", devices, resources, ARRAY_SIZE(resources));
	if (IS_ERR(device))
		return PTR_ERR(device);
	devices++;
	return 0;
}

static const struct kernel_param_ops operations = { .set = add_device };
module_param_cb(device, &operations, NULL, 0);

static int __init start(void)
{
	return 0;
}
module_init(start);

MODULE_DESCRIPTION("Devices of a Nitro enclave, for virtio_mmio");
MODULE_LICENSE("GPL");
