/* SPDX-License-Identifier: GPL-2.0-only */
/* Reads sectors of the first channel's disks by PIO, for who has outb(value, port) and inb(port). */
enum { ATA_SECTOR = 512, ATA_MOST = 255 };
enum { ATA_DATA = 0x1f0, ATA_COUNT = 0x1f2, ATA_LBA0 = 0x1f3, ATA_LBA1 = 0x1f4, ATA_LBA2 = 0x1f5, ATA_DRIVE = 0x1f6,
       ATA_COMMAND = 0x1f7, ATA_STATUS = 0x1f7, ATA_CONTROL = 0x3f6 };
enum { ATA_ERR = 0x01, ATA_DRQ = 0x08, ATA_BSY = 0x80, ATA_READ_SECTORS = 0x20, ATA_NO_INTERRUPTS = 2 };

static char *ata_read_sector(char *to)
{
	unsigned long words = ATA_SECTOR / 2;
	unsigned char status;

	do {
		status = inb(ATA_STATUS);
	} while ((status & ATA_BSY) || !(status & (ATA_DRQ | ATA_ERR)));
	asm volatile("rep insw" : "+D"(to), "+c"(words) : "d"((unsigned short)ATA_DATA) : "memory");
	return to;
}

/* At most ATA_MOST sectors. */
static void ata_read(char *to, unsigned int disk, unsigned int sector, unsigned int sectors)
{
	outb(0xe0 | disk << 4 | (sector >> 24 & 15), ATA_DRIVE);
	outb(sectors, ATA_COUNT);
	outb(sector, ATA_LBA0);
	outb(sector >> 8, ATA_LBA1);
	outb(sector >> 16, ATA_LBA2);
	outb(ATA_READ_SECTORS, ATA_COMMAND);
	while (sectors--)
		to = ata_read_sector(to);
}
