package torture

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Cells of the disposal: the move of an accepted file to the archive.

// The directory sync that makes the rename durable.
func archiveSynced() moment { return moment{Call: "fsync", On: "/archive"} }

// A rename that the power cut undid brings the file back: it is moved again,
// or resolves as a duplicate where its disk has another device number now.
func cutAfterRename(otherDevice bool) func(*trial) {
	return func(c *trial) {
		d := c.beginOnDisk(settings{})
		c.dropped(1)
		if otherDevice {
			d.between = func() { // takes the loop device that is free now
				_, err := newDiskAt(c.T, filepath.Join(c.TempDir(), "other"), 8<<20)
				c.must(err)
			}
		}
		dark := c.cutAt(d, archiveSynced(), 1, fileMoved())
		c.arrived(1)
		c.healsFrom(dark)
		c.arrived(1)
	}
}

// onceArrived is a fault after which nothing is uploaded a second time.
func onceArrived(f fault) func(*trial) {
	return func(c *trial) {
		c.begin(settings{})
		c.dropped(1)
		c.struck(f)
		c.heals()
		c.arrived(1)
		c.stands("call0000", "accepted")
	}
}

// Somebody else's file has the name in the archive.
func targetExists(c *trial) {
	c.begin(settings{})
	other := makeWAV(999, c.rnd)
	target := c.path("archive", "call0000.wav")
	c.must(os.WriteFile(target, other, 0o600))
	c.droppedOf(5000)
	out := c.once(c.T)
	if now, err := os.ReadFile(target); err != nil || string(now) != string(other) {
		c.Errorf("the file in the archive was overwritten: %v", err)
	}
	list, err := filepath.Glob(c.path("archive", "call0000*.wav"))
	c.must(err)
	whole := 0
	for _, path := range list {
		if sum, err := hashFile(path); err == nil && sum == c.all[0].sha256 {
			whole++
		}
	}
	if out.code != 0 || whole != 1 || len(list) != 2 {
		c.Errorf("exit %d; the archive holds %v, %d times the recording\n%s", out.code, list, whole, out.output)
	}
	c.arrived(1)
	c.stands("call0000", "accepted")
}

// The archive is on another file system.
func moveAcross(c *trial) {
	c.root()
	c.begin(settings{})
	c.tmpfs(c.path("archive"), "size=64m")
	c.dropped(2)
	c.heals()
	c.arrived(2)
}

// tmpfs mounts a file system in memory until the cell ends.
func (c *trial) tmpfs(at, options string) {
	c.Helper()
	c.needs(unix.Mount("none", at, "tmpfs", 0, options))
	c.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
}

// asNobody makes the daemon an ordinary user, whom modes bind.
func (c *trial) asNobody() func(*exec.Cmd) {
	c.Helper()
	c.root()
	const nobody = 65534
	for dir := c.dir; ; dir = filepath.Dir(dir) { // the way to the site
		info, err := os.Stat(dir)
		c.must(err)
		if info.Mode().Perm()&0o001 == 0 && strings.HasPrefix(dir, os.TempDir()) {
			c.must(os.Chmod(dir, info.Mode().Perm()|0o011))
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	c.must(filepath.WalkDir(c.dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, nobody, nobody))
	}))
	for dir := filepath.Dir(daemonPath); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if strings.HasPrefix(dir, os.TempDir()+"/") {
			c.must(os.Chmod(dir, 0o755))
		}
	}
	return func(cmd *exec.Cmd) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
}

// The archive cannot be written to for a while; block and allow say how.
func moveForbidden(why string, block, allow func(c *trial)) func(*trial) {
	return func(c *trial) {
		c.root()
		c.begin(settings{})
		c.dropped(1)
		c.tmpfs(c.path("archive"), "size=64m,mode=0777")
		nobody := c.asNobody()
		block(c)
		daemon := c.start(c.T, nil, nobody, "run", "--allow-root")
		c.says(daemon, "it is accepted and is not sent again")
		c.says(daemon, why)
		c.stands("call0000", "accepted")
		allow(c)
		// The move is tried again after a minute, by whoever runs then.
		c.until("it is moved", func() bool { _, err := os.Stat(c.path("archive", "call0000.wav")); return err == nil })
		c.stops(daemon)
		c.arrived(1)
		c.ended(exempt{}, 1, daemon.log.String())
	}
}

func archiveMode(mode os.FileMode) func(*trial) {
	return func(c *trial) { c.must(os.Chmod(c.path("archive"), mode)) }
}

func archiveMount(flags uintptr) func(*trial) {
	return func(c *trial) {
		c.needs(unix.Mount("none", c.path("archive"), "tmpfs", unix.MS_REMOUNT|flags, "size=64m,mode=0777"))
	}
}

func disposeCells() []cell {
	am, aa := accepting()
	return []cell{
		{n: 55, what: "after ACCEPTED, before the move: Kill", want: "moved after restart; n=1", run: onceArrived(when(fileMoved()))},
		{n: 55, what: "after ACCEPTED, before the move is intended: Kill", want: "moved after restart; n=1", run: onceArrived(when(ledgerWritten(), append(aa, am, ledgerSynced())...))},
		{n: 56, what: "after rename, before directory fsync: Cut", want: "moved again; n=1", run: cutAfterRename(false)},
		{n: 56, what: "the same, and the disk has another device number", want: "DUPLICATE, moved again; n=1", run: cutAfterRename(true)},
		{n: 57, what: "after rename, before the DISPOSED commit: Kill", want: "DISPOSED after restart, no VANISHED", run: onceArrived(when(ledgerWritten(), fileMoved()))},
		{n: 58, what: "move: target exists", want: "uid suffix; nothing overwritten", run: targetExists},
		{n: 59, what: "move: EXDEV", want: "copied, verified, removed; n=1", run: moveAcross},
		{n: 59, what: "move: EACCES", want: "stays ACCEPTED, retried; n=1", run: moveForbidden("permission denied", archiveMode(0o555), archiveMode(0o777)), long: true},
		{n: 59, what: "move: EROFS", want: "stays ACCEPTED, retried; n=1", run: moveForbidden("read-only file system", archiveMount(unix.MS_RDONLY), archiveMount(0)), long: true},
	}
}
