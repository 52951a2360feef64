package watcher

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBusyWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.wav")
	write(t, path, "x")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	want := func(when string, busy bool) {
		t.Helper()
		if got, known := BusyWriter(f); got != busy || !known {
			t.Fatalf("%s: busy=%v known=%v", when, got, known)
		}
	}
	want("no writer", false)
	writer, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	want("a writer", true)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	want("closed", false)

	// The lease was given back: an open for writing that cannot wait works.
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("the lease is still held: %v", err)
	}
	_ = unix.Close(fd)
}

// A directory has no lease and a closed file no descriptor: not known.
func TestBusyWriterUnknown(t *testing.T) {
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if busy, known := BusyWriter(f); busy || known {
		t.Errorf("directory: busy=%v known=%v", busy, known)
	}
	_ = f.Close()
	if busy, known := BusyWriter(f); busy || known {
		t.Errorf("closed file: busy=%v known=%v", busy, known)
	}
}

func TestFSKind(t *testing.T) {
	for magic, network := range map[int64]bool{
		unix.EXT4_SUPER_MAGIC: false, unix.XFS_SUPER_MAGIC: false, unix.BTRFS_SUPER_MAGIC: false, unix.TMPFS_MAGIC: false,
		unix.OVERLAYFS_SUPER_MAGIC: false, unix.MSDOS_SUPER_MAGIC: false, unix.F2FS_SUPER_MAGIC: false, unix.EXFAT_SUPER_MAGIC: false,
		unix.NFS_SUPER_MAGIC: true, unix.SMB_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true, unix.SMB2_SUPER_MAGIC: true,
		unix.FUSE_SUPER_MAGIC: true, unix.CEPH_SUPER_MAGIC: true, unix.V9FS_MAGIC: true, unix.AFS_SUPER_MAGIC: true,
		unix.OCFS2_SUPER_MAGIC: true, int64(int32(-0x00ACB2BE)): true, // cifs, sign-extended
	} {
		if name, got := fsKind(magic); got != network || strings.HasPrefix(name, "0x") {
			t.Errorf("%x: %s, network=%v", magic, name, got)
		}
	}
	if name, network, err := FSKind("/proc"); err != nil || network || name != "0x9fa0" {
		t.Errorf("/proc: %s %v %v", name, network, err)
	}
	if _, _, err := FSKind(filepath.Join(t.TempDir(), "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestMountPoint(t *testing.T) {
	table := map[string]mountID{
		"/": {id: 1}, "/srv": {id: 1}, "/srv/nas": {id: 2}, "/srv/nas/a": {id: 2}, "/srv/nas/a/drop": {id: 2},
	}
	stat := func(path string) (mountID, error) {
		id, ok := table[path]
		if !ok {
			return id, fs.ErrNotExist
		}
		return id, nil
	}
	if unmounted("/srv/nas", stat) || unmounted("/", stat) || unmounted("/nothing", stat) {
		t.Error("mounted, but called unmounted")
	}
	table["/srv/nas"] = mountID{id: 1}
	if !unmounted("/srv/nas", stat) {
		t.Error("unmounted, but called mounted")
	}
	if point, err := mountPoint("/proc/self/net", statMount); err != nil || point != "/proc" {
		t.Errorf("/proc/self/net is on %q, %v", point, err)
	}
	if point, err := mountPoint("/", statMount); err != nil || point != "/" {
		t.Errorf("/ is on %q, %v", point, err)
	}
}
