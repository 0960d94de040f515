/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libstdc++ 12 has _GLIBCXX_HOSTED hard-wired to 1, so that C++20 <atomic> would pull atomic_wait -> gthr -> <pthread.h>.
 * Leaving this header out drops atomic::wait/notify_* only. libstdc++ 13 and later are honest about -ffreestanding.
 */
#if !_GLIBCXX_HOSTED
#include_next <bits/atomic_wait.h>
#endif
