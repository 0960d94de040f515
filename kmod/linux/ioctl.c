// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extensible ioctls: finds a request by direction, type and number, and brings its structure in and
 * out by the caller's size.
 */
#include <linux/errno.h>
#include <linux/ioctl.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include "glue.h"

#define HWV_IOCTL_WORDS 16 /* no structure is larger */

static const struct hwv_ioctl *find_request(const struct hwv_ioctl *table, size_t entries,
					    unsigned int request)
{
	size_t i;

	for (i = 0; i < entries; i++) {
		unsigned int known = table[i].request;

		if (request == known)
			return &table[i];
		if (_IOC_SIZE(known) && ((request ^ known) & ~IOCSIZE_MASK) == 0)
			return &table[i];
	}
	return NULL;
}

static int copy_in(void *to, size_t size, const void __user *from, size_t user_size)
{
	if (user_size < size)
		return -EINVAL;
	return copy_struct_from_user(to, size, from, user_size);
}

static int copy_out(void __user *to, size_t user_size, const void *from, size_t size)
{
	if (copy_to_user(to, from, size))
		return -EFAULT;
	return clear_user(to + size, user_size - size) ? -EFAULT : 0;
}

long hwv_ioctl(const struct hwv_ioctl *table, size_t entries, void *object, struct mm_struct *owner,
	       unsigned int request, unsigned long argument)
{
	const struct hwv_ioctl *found = find_request(table, entries, request);
	void __user *user = (void __user *)argument;
	u64 copy[HWV_IOCTL_WORDS] = {};
	size_t size, user_size = _IOC_SIZE(request);
	long result;
	int err;

	if (!found)
		return -ENOTTY;
	if (found->owner && current->mm != owner)
		return -EIO;
	size = _IOC_SIZE(found->request);
	if (size > sizeof(copy) || user_size < size)
		return -EINVAL;
	if (!size && argument)
		return -EINVAL;
	if (_IOC_DIR(request) & _IOC_WRITE) {
		err = copy_in(copy, size, user, user_size);
		if (err)
			return err;
	}
	result = found->call(object, copy);
	/* E2BIG comes with the count that would have been enough. */
	if ((_IOC_DIR(request) & _IOC_READ) && (result >= 0 || result == -E2BIG || found->tells)) {
		err = copy_out(user, user_size, copy, size);
		if (err)
			return err;
	}
	return result;
}
