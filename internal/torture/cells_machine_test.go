package torture

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ingestd/internal/sandbox"
)

// Cells of the machine: they may come at any time.

// running starts a daemon on an empty drop directory.
func (c *trial) running(set settings) *life {
	c.Helper()
	c.begin(set)
	daemon := startDaemon(c.T, c.site)
	c.says(daemon, "ingestd is running")
	return daemon
}

// delivers waits for all recordings, stops the daemon and checks everything.
func (c *trial) delivers(daemon *life) {
	c.Helper()
	c.until("all are delivered", func() bool {
		published := int(c.vendor.Summary().Contacts[sandbox.Published])
		return published >= len(c.all)
	})
	c.stops(daemon)
	c.heals()
}

// The vendor takes its time, so that uploads are under way.
func (c *trial) vendorTakes(d time.Duration) {
	c.Helper()
	c.misbehave(c.T, sandbox.Fault{Kind: sandbox.Slow, Route: sandbox.RouteMedia, Delay: sandbox.Duration(d)})
}

func (c *trial) underWay() {
	c.Helper()
	c.until("uploads are under way", func() bool { return c.vendor.Summary().InFlight > 0 && len(c.vendor.Contacts()) > 0 })
}

// The second signal cuts: what is in flight is recorded, or in doubt.
func termStorm(c *trial) {
	daemon := c.running(settings{})
	c.vendorTakes(5 * time.Second)
	c.dropped(12)
	c.underWay()
	for range 10 {
		daemon.signal(c.T, syscall.SIGTERM)
		<-time.After(20 * time.Millisecond)
	}
	out := daemon.wait(c.T)
	if strings.Contains(out.output, "panic") {
		c.Errorf("%s", out.output)
	}
	c.sound(exempt{}, out.output)
	c.heals()
}

func stopped(long time.Duration) func(*trial) {
	return func(c *trial) {
		daemon := c.running(settings{})
		c.vendorTakes(300 * time.Millisecond)
		c.dropped(12)
		c.underWay()
		daemon.signal(c.T, syscall.SIGSTOP)
		<-time.After(long)
		daemon.signal(c.T, syscall.SIGCONT)
		c.delivers(daemon)
	}
}

// The kernel's own killer strikes where memory is limited; it sends SIGKILL.
func outOfMemory(c *trial) {
	daemon := c.running(settings{})
	c.vendorTakes(5 * time.Second)
	c.dropped(12)
	c.underWay()
	c.must(c.eatsMemory(daemon))
	if out := daemon.wait(c.T); out.code != -1 {
		c.Errorf("exit %d\n%s", out.code, out.output)
	}
	c.sound(exempt{}, daemon.log.String())
	c.heals()
}

// eatsMemory lets the out-of-memory killer end the daemon, or does what it
// does where no memory group can be made.
func (c *trial) eatsMemory(daemon *life) error {
	const root = "/sys/fs/cgroup"
	group, limit := root+"/ingestd-torture-"+fmt.Sprint(daemon.pid(c.T)), "memory.max"
	if _, err := os.Stat(root + "/cgroup.controllers"); err != nil {
		group, limit = strings.Replace(group, root, root+"/memory", 1), "memory.limit_in_bytes"
	}
	if os.Mkdir(group, 0o755) == nil {
		c.Cleanup(func() { _ = os.Remove(group) })
		err := errors.Join(
			os.WriteFile(group+"/cgroup.procs", []byte(fmt.Sprint(daemon.pid(c.T))), 0),
			os.WriteFile(group+"/"+limit, []byte("65536"), 0))
		if err == nil {
			c.dropped(4) // it must do something to need a page
			select {
			case <-daemon.ended:
				return nil
			case <-time.After(5 * time.Second):
			}
		}
	}
	c.Log("no memory group here: SIGKILL in its place, which is what its killer sends")
	daemon.signal(c.T, syscall.SIGKILL)
	return nil
}

// So few descriptors that neither files nor connections can be opened.
func noDescriptors(c *trial) {
	daemon := c.running(quickly())
	var before unix.Rlimit
	few := unix.Rlimit{Cur: 12, Max: 1 << 16}
	pid := daemon.pid(c.T)
	c.must(unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before))
	few.Max = before.Max
	c.must(unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil))
	c.dropped(8)
	<-aWhile()
	select {
	case <-daemon.ended:
		c.Errorf("it ended:\n%s", &daemon.log)
	default:
	}
	c.must(unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil))
	c.delivers(daemon)
}

// In a user namespace the limit of watches can be set for the daemon alone.
func noWatches(c *trial) {
	c.begin(settings{source: map[string]string{"scan_every": `"200ms"`}})
	for i := range 8 {
		c.must(os.Mkdir(c.path("drop", fmt.Sprint(i)), 0o700))
	}
	daemon := c.start(c.T, nil, func(cmd *exec.Cmd) {
		script := `echo 4 > /proc/sys/user/max_inotify_watches && exec "$@"`
		cmd.Args = append([]string{"sh", "-c", script, "sh"}, cmd.Args...)
		cmd.Path = "/bin/sh"
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}, "run", "--allow-root")
	c.until("it watches or has ended", func() bool {
		select {
		case <-daemon.ended:
			c.needs(fmt.Errorf("no user namespace with a limit of its own: %s", &daemon.log))
		default:
		}
		return strings.Contains(daemon.log.String(), "mode=")
	})
	c.says(daemon, "mode=poll")
	c.says(daemon, "watch limit reached")
	c.dropped(3)
	c.delivers(daemon)
}

// More events than the kernel's queue holds; only a full scan can find what
// came after them.
func queueOverflow(c *trial) {
	daemon := c.running(settings{source: map[string]string{"scan_every": `"24h"`}})
	daemon.signal(c.T, syscall.SIGSTOP)
	for i := range 20_000 {
		c.must(os.WriteFile(c.path("drop", fmt.Sprintf("noise-%05d.txt", i)), nil, 0o600))
	}
	c.dropped(5)
	daemon.signal(c.T, syscall.SIGCONT)
	c.delivers(daemon)
}

func rootReplaced(c *trial) {
	daemon := c.running(settings{source: map[string]string{"scan_every": `"500ms"`}})
	c.must(os.RemoveAll(c.path("drop")))
	c.says(daemon, "watched directory lost")
	c.must(os.Mkdir(c.path("drop"), 0o700))
	c.dropped(2)
	c.says(daemon, "watched directory is back")
	c.delivers(daemon)
}

// The drop directory is a mount that goes away while recordings wait in it.
func rootUnmounted(c *trial) {
	c.root()
	c.begin(settings{source: map[string]string{"scan_every": `"200ms"`}})
	volume := c.path("volume")
	c.must(os.Mkdir(volume, 0o700))
	mount := func() error { return unix.Mount(volume, c.path("drop"), "", unix.MS_BIND, "") }
	c.needs(mount())
	c.Cleanup(func() { _ = unix.Unmount(c.path("drop"), unix.MNT_DETACH) })
	wav := makeWAV(5000, c.rnd)
	r := c.expect(wav)
	c.must(writeDurably(c.path("drop", r.name+".wav"), wav))
	daemon := startDaemon(c.T, c.site)
	c.until("it waits for its sidecar", func() bool { return strings.HasPrefix(c.standing(r.name), "waiting") })
	c.must(unix.Unmount(c.path("drop"), unix.MNT_DETACH))
	c.says(daemon, "watched directory lost")
	<-aWhile()
	if got := c.standing(r.name); !strings.HasPrefix(got, "waiting") {
		c.Errorf("without the volume it is %s", got)
	}
	c.must(mount())
	c.must(writeDurably(c.path("drop", r.name+".json"), []byte(sidecarOf(r.name))))
	c.says(daemon, "watched directory is back")
	c.delivers(daemon)
}

func machineCells() []cell {
	return []cell{
		{n: 75, what: "SIGTERM storm", want: "in flight is recorded or aborted before the gate; n=1", run: termStorm},
		{n: 76, what: "stopped for 3 s", want: "no double send", run: stopped(3 * time.Second)},
		{n: 76, what: "stopped for longer than any deadline", want: "deadlines expire cleanly; no double send", run: stopped(150 * time.Second), long: true},
		{n: 77, what: "out-of-memory kill", want: "as Kill at that moment", run: outOfMemory},
		{n: 79, what: "EMFILE", want: "backpressure; no loss; recovers", run: noDescriptors, long: true},
		{n: 80, what: "inotify limit reached", want: "polling, degraded; n=1", run: noWatches},
		{n: 81, what: "queue overflow", want: "full scan; n=1 for all", run: queueOverflow},
		{n: 82, what: "watched root deleted and re-created", want: "watched again; new files found; alert", run: rootReplaced},
		{n: 83, what: "root unmounted and back", want: "source unavailable, never all files vanished", run: rootUnmounted},
	}
}
