package regfile

import "golang.org/x/sys/unix"

// ChangesIn looks at the file system of an open file.
func ChangesIn(fd int) (Changes, error) {
	var fs unix.Statfs_t
	err := unix.Fstatfs(fd, &fs)
	for err == unix.EINTR {
		err = unix.Fstatfs(fd, &fs)
	}
	if err != nil {
		return 0, err
	}
	const bcachefs, zfs, cramfsSwapped, romfs, virtualBox = 0xca451a4e, 0x2fc12fc1, 0x453dcd28, 0x7275, 0x786f4256
	switch uint32(fs.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, bcachefs, zfs:
		return Kept, nil
	case unix.SQUASHFS_MAGIC, unix.EROFS_SUPER_MAGIC_V1, unix.ISOFS_SUPER_MAGIC, unix.CRAMFS_MAGIC, cramfsSwapped, romfs,
		unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.V9FS_MAGIC,
		unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, virtualBox:
		return Lost, nil
	}
	return Passed, nil
}
