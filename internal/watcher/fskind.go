package watcher

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// FSKind names the type of the file system that holds path. network is true
// where changes can be made behind this host's back and no events arrive:
// network, FUSE and guest file systems.
func FSKind(path string) (name string, network bool, err error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &st) }); err != nil {
		return "", false, fmt.Errorf("ask for the file system of %q: %w", path, err)
	}
	name, network = fsKind(int64(st.Type))
	return name, network, nil
}

// fsKind knows the numbers of statfs(2) that matter in a data centre; the
// kernel's fuse number also stands for ntfs-3g, sshfs, s3fs and virtiofs.
func fsKind(magic int64) (name string, network bool) {
	// Some architectures sign-extend the number.
	switch uint32(magic) {
	case 0xEF53:
		return "ext4", false
	case 0x58465342:
		return "xfs", false
	case 0x9123683E:
		return "btrfs", false
	case 0x2FC12FC1:
		return "zfs", false
	case 0xF2F52010:
		return "f2fs", false
	case 0x01021994:
		return "tmpfs", false
	case 0x794C7630:
		return "overlay", false
	case 0x4D44:
		return "vfat", false
	case 0x2011BAB0:
		return "exfat", false
	case 0x7366746E:
		return "ntfs3", false
	case 0x6969:
		return "nfs", true
	case 0xFF534D42:
		return "cifs", true
	case 0xFE534D42:
		return "smb2", true
	case 0x517B:
		return "smb", true
	case 0x65735546:
		return "fuse", true
	case 0x00C36400:
		return "ceph", true
	case 0x01021997:
		return "9p", true
	case 0x0BD00BD0:
		return "lustre", true
	case 0x47504653:
		return "gpfs", true
	case 0x01161970:
		return "gfs2", true
	case 0x7461636F:
		return "ocfs2", true
	case 0x5346414F:
		return "afs", true
	case 0x19830326:
		return "fhgfs", true
	case 0x786F4256:
		return "vboxsf", true
	default:
		return fmt.Sprintf("0x%x", uint32(magic)), false
	}
}
