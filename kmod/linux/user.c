// SPDX-License-Identifier: GPL-2.0-only
/*
 * Door 1, reads and writes of the owner's memory. The caller is the owner's thread, so that a user
 * address means the owner's.
 */
#include <linux/sched.h>
#include <linux/uaccess.h>
#include "glue.h"

int hwv_host_user_read(void *to, __u64 hva, __u32 bytes)
{
	return copy_from_user(to, u64_to_user_ptr(hva), bytes) ? -EFAULT : 0;
}

/*
 * The sizes of paravirtual records are constants to the compiler: what the kernel checks of others at
 * run time costs more than the copy.
 */
int hwv_host_user_write(__u64 hva, const void *from, __u32 bytes)
{
	void __user *user = u64_to_user_ptr(hva);
	unsigned long left;

	if (bytes == 4)
		left = copy_to_user(user, from, 4);
	else if (bytes == 16)
		left = copy_to_user(user, from, 16);
	else
		left = copy_to_user(user, from, bytes);
	return left ? -EFAULT : 0;
}

int hwv_host_user_read_atomic(void *to, __u64 hva, __u32 bytes)
{
	const void __user *user = u64_to_user_ptr(hva);
	unsigned long left;

	if (!access_ok(user, bytes))
		return -EFAULT;
	pagefault_disable();
	if (bytes == 1)
		left = __copy_from_user_inatomic(to, user, 1);
	else
		left = __copy_from_user_inatomic(to, user, bytes);
	pagefault_enable();
	return left ? -EFAULT : 0;
}

int hwv_host_user_read16_atomic(void *to, __u64 hva)
{
	const u64 __user *user = u64_to_user_ptr(hva);
	u64 *words = to;
	int error = -EFAULT;

	pagefault_disable();
	if (user_read_access_begin(user, 2 * sizeof(*user))) {
		unsafe_get_user(words[0], user, fault);
		unsafe_get_user(words[1], user + 1, fault);
		error = 0;
fault:
		user_read_access_end();
	}
	pagefault_enable();
	return error;
}

int hwv_host_user_walk_atomic(__u64 hva, __u64 size, __u64 first, __u64 linear, __u64 *entry)
{
	const u64 address = 0x000ffffffffff000, present = 1, large = 1 << 7;
	int shift = 39, result = -EFAULT;
	u64 word = *entry;

	pagefault_disable();
	if (!user_read_access_begin(u64_to_user_ptr(hva), size))
		goto out;
	for (;; shift -= 9) {
		u64 at = ((word & address) | (linear >> shift & 0x1ff) << 3) - first;

		if (at >= size)
			break;
		unsafe_get_user(word, (const u64 __user *)u64_to_user_ptr(hva + at), fault);
		if (!(word & present))
			break;
		if (shift == PAGE_SHIFT || (word & large)) {
			*entry = word;
			result = shift;
			break;
		}
	}
fault:
	user_read_access_end();
out:
	pagefault_enable();
	return result;
}

int hwv_host_user_write_atomic(__u64 hva, const void *from, __u32 bytes)
{
	void __user *user = u64_to_user_ptr(hva);
	unsigned long left;

	if (!access_ok(user, bytes))
		return -EFAULT;
	pagefault_disable();
	if (bytes == 1)
		left = __copy_to_user_inatomic(user, from, 1);
	else
		left = __copy_to_user_inatomic(user, from, bytes);
	pagefault_enable();
	return left ? -EFAULT : 0;
}

int hwv_host_user_exchange8(__u64 hva, __u8 *value)
{
	u8 __user *user = u64_to_user_ptr(hva);
	int tries = 64;
	u8 seen = 0;

	if (!user_access_begin(user, sizeof(*user)))
		return -EFAULT;
	while (!unsafe_try_cmpxchg_user(user, &seen, *value, fault) && --tries)
		;
	user_access_end();
	*value = seen;
	return tries ? 0 : -EAGAIN;
fault:
	user_access_end();
	return -EFAULT;
}
