/* SPDX-License-Identifier: GPL-2.0-only */
/* Request numbers as <linux/ioctl.h> makes them on x86: number 8 bits, type 8, size 14, direction 2 (from bit 0 up). */
#ifndef HWV_SHIM_LINUX_IOCTL_H
#define HWV_SHIM_LINUX_IOCTL_H

#define _IOC_NONE 0U
#define _IOC_WRITE 1U
#define _IOC_READ 2U

#define _IOC(dir, type, nr, size) (((dir) << 30) | ((size) << 16) | ((type) << 8) | (nr))
#define _IOC_TYPECHECK(t) (static_cast<unsigned int>(sizeof(t)))

#define _IO(type, nr) _IOC(_IOC_NONE, (type), (nr), 0U)
#define _IOR(type, nr, data) _IOC(_IOC_READ, (type), (nr), (_IOC_TYPECHECK(data)))
#define _IOW(type, nr, data) _IOC(_IOC_WRITE, (type), (nr), (_IOC_TYPECHECK(data)))
#define _IOWR(type, nr, data) _IOC(_IOC_READ | _IOC_WRITE, (type), (nr), (_IOC_TYPECHECK(data)))

#define _IOC_DIR(request) (((request) >> 30) & 3U)
#define _IOC_TYPE(request) (((request) >> 8) & 0xffU)
#define _IOC_NR(request) ((request) & 0xffU)
#define _IOC_SIZE(request) (((request) >> 16) & 0x3fffU)

#endif
