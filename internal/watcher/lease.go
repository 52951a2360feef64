package watcher

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// BusyWriter asks the kernel whether anybody has the file open for writing,
// by taking a read lease and giving it back at once. f must be open for
// reading only. known is false where the answer would mean nothing: not the
// file's owner and without CAP_LEASE, a file system without leases, or a
// network file system, where another host's writer is not seen and a refusal
// can have other causes.
//
// While the lease is held, for microseconds, an open for writing waits.
func BusyWriter(f *os.File) (busy, known bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, false
	}
	_ = raw.Control(func(fd uintptr) {
		var fs unix.Statfs_t
		if err := unix.Fstatfs(int(fd), &fs); err != nil {
			return
		}
		if _, network := fsKind(int64(fs.Type)); network {
			return
		}
		err := retry(func() error {
			_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
			return err
		})
		switch {
		case err == nil:
			_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
			known = true
		case errors.Is(err, unix.EAGAIN):
			busy, known = true, true
		}
	})
	return busy, known
}
