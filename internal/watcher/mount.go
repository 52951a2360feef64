package watcher

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountID tells mounts apart. Kernels before 5.8 give no id; then only the
// device counts and bind mounts of one file system look alike.
type mountID struct {
	id    uint64
	major uint32
	minor uint32
}

func statMount(path string) (mountID, error) {
	var st unix.Statx_t
	err := retry(func() error { return unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st) })
	return mountID{st.Mnt_id, st.Dev_major, st.Dev_minor}, err
}

// mountPoint is the highest directory above path, or path itself, that is on
// the same mount.
func mountPoint(path string, stat func(string) (mountID, error)) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	id, err := stat(path)
	if err != nil {
		return "", err
	}
	for {
		up := filepath.Dir(path)
		above, err := stat(up)
		if err != nil {
			return "", err
		}
		if up == path || above != id {
			return path, nil
		}
		path = up
	}
}

// unmounted says that point, once a mount point, is an ordinary directory
// now: what is seen there is the empty directory below the missing volume.
func unmounted(point string, stat func(string) (mountID, error)) bool {
	up := filepath.Dir(point)
	if up == point {
		return false
	}
	at, err := stat(point)
	if err != nil {
		return false
	}
	above, err := stat(up)
	return err == nil && at == above
}
