// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM as somebody beside whom hwv lives. As long as a VM of KVM's exists KVM keeps SVM/VMX on on
 * every CPU that is online, and its module in the kernel: who holds the VM's file may use it.
 */
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/string.h>
#include "glue.h"

/*
 * The files of a VM belong to the vendor's module, or where that is built in to none. Only the
 * kernel makes files in the file system of anonymous inodes, and nobody but KVM one of this name.
 */
static bool is_kvm_vm(struct file *file)
{
	struct module *owner = file->f_op->owner;

	if (file_inode(file)->i_sb->s_magic != ANON_INODE_FS_MAGIC)
		return false;
	if (owner && strncmp(module_name(owner), "kvm", 3))
		return false;
	return !strcmp(file->f_path.dentry->d_name.name, "kvm-vm");
}

/* The caller's reference, or -EBADF, -EINVAL. */
struct file *hwv_kvm_vm(int fd)
{
	struct file *file = fget(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	if (is_kvm_vm(file))
		return file;
	fput(file);
	return ERR_PTR(-EINVAL);
}
