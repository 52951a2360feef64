package torture

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a file system of its own on a loop mount, whose power can be cut.
type disk struct {
	image, at string
	mounted   bool
	between   func() // called while it is not mounted, before it is again; may be nil
}

// diskSize is sparse, and more than the free space below which the daemon
// pauses its intake.
const diskSize = 1 << 30

// newDisk makes and mounts an ext4 of diskSize.
func newDisk(t *testing.T) (*disk, error) {
	t.Helper()
	return newDiskAt(t, filepath.Join(t.TempDir(), "mount"), diskSize)
}

// newDiskAt makes an ext4 of so many bytes and mounts it at a directory that
// it makes. An error says what this machine lacks.
func newDiskAt(t *testing.T, at string, bytes int64) (*disk, error) {
	t.Helper()
	d := &disk{image: filepath.Join(t.TempDir(), "image"), at: at}
	if err := os.MkdirAll(d.at, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(d.image, bytes); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := d.umount(); err != nil {
			t.Error(err)
		}
	})
	return d, d.mount()
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

func (d *disk) mount() error {
	err := command("mount", "-t", "ext4", "-o", "loop", d.image, d.at)
	d.mounted = err == nil
	return err
}

// umount waits while somebody still uses it: what was killed may take a moment
// to let go, and a program that is being started elsewhere holds copies of
// our descriptors for as long.
func (d *disk) umount() error {
	if !d.mounted {
		return nil
	}
	var err error
	for range 200 {
		if err = unix.Unmount(d.at, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
		<-time.After(50 * time.Millisecond)
	}
	d.mounted = err != nil
	return err
}

// remount mounts it again, as a reboot does.
func (d *disk) remount() error {
	if err := d.umount(); err != nil {
		return err
	}
	if d.between != nil {
		d.between()
	}
	return d.mount()
}

// cut ends the file system as a power cut would: EXT4_IOC_SHUTDOWN without a
// flush of the journal. Everything that was not synced is lost, and every
// later call on it fails.
func (d *disk) cut() (err error) {
	const shutdown, noLogFlush = 0x8004587d, 2
	f, err := os.Open(d.at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush)
}

// cutFigures sum up one or many cuts.
type cutFigures struct {
	cuts, violations                     int
	durable, before, at, published, kept int // recordings: durable and published before the cut, all in the end
	lost, seconds, refusals              int
}

func (a *cutFigures) add(b cutFigures) {
	a.cuts, a.violations = a.cuts+b.cuts, a.violations+b.violations
	a.durable, a.before, a.at, a.published = a.durable+b.durable, a.before+b.before, a.at+b.at, a.published+b.published
	a.kept, a.lost, a.seconds, a.refusals = a.kept+b.kept, a.lost+b.lost, a.seconds+b.seconds, a.refusals+b.refusals
}

func (a *cutFigures) String() string {
	return fmt.Sprintf("%d cuts, %d violations: %d recordings durable before the cut, %d published before it, %d while it came; %d published in the end, %d kept with a reason, %d not durable and lost, %d second contacts not published",
		a.cuts, a.violations, a.durable, a.before, a.at, a.published, a.kept, a.lost, a.seconds)
}

// powerCut lets a producer drop recordings while the daemon runs, cuts the
// power at a random moment, kills the daemon, mounts again and lets it finish.
func powerCut(t *testing.T, d *disk, seed uint64) cutFigures {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 2))
	s := newSite(t, d.at, rnd)
	if err := errors.Join(syncDirectory(s.dir), command("sync", "-f", s.path("ingestd.toml"))); err != nil {
		t.Fatal(err)
	}
	daemon := startDaemon(t, s)
	stop := make(chan struct{})
	dropRnd := rand.New(rand.NewPCG(seed, 3))
	var producer sync.WaitGroup
	producer.Go(func() {
		for range 80 {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(dropRnd.IntN(20)) * time.Millisecond):
			}
			if s.drop(dropRnd) != nil {
				return // the power is off
			}
		}
	})
	// One cut in four may come while the ledger is being made, the others when
	// there is something on the way.
	if rnd.IntN(4) > 0 {
		waitUntil(t, hang, func() bool { return s.vendor.Summary().Requests > 0 })
	}
	<-time.After(time.Duration(rnd.Int64N(int64(700 * time.Millisecond)))) // the random moment
	dark := exempt{from: time.Now()}
	if err := d.cut(); err != nil {
		t.Fatalf("cut the power: %v", err)
	}
	close(stop)
	producer.Wait()
	daemon.kill()
	dark.to = time.Now()
	out := cutFigures{cuts: 1}
	for _, r := range s.all {
		if dark.mustSurvive(r) {
			out.durable++
		}
	}
	for _, c := range s.vendor.Contacts() {
		if c.ReceivedAt.Before(dark.from) {
			out.before++
		} else {
			out.at++
		}
	}
	if err := d.remount(); err != nil {
		t.Fatal(err)
	}
	report := func(step, output string, problems []string) {
		for _, p := range problems {
			out.violations++
			t.Errorf("seed %d, %s: %s\n%s", seed, step, p, output)
		}
	}
	report("after the cut", daemon.log.String(), s.checkCrashed(t.Context(), s.snapshot(t), dark).violations)
	last := s.once(t)
	end := s.checkEnd(t.Context(), dark)
	report("at the end", daemon.log.String()+last.output, end.violations)
	if last.code != 0 && len(end.kept) == 0 {
		report("at the end", last.output, []string{fmt.Sprintf("exit code %d", last.code)})
	}
	out.published, out.kept, out.seconds = end.published, len(end.kept), end.seconds
	out.lost = len(s.all) - out.published - out.kept
	for _, k := range end.kept {
		t.Logf("seed %d: kept: %s", seed, k)
	}
	return out
}

// waitUntil asks until the answer is yes, or for so long: nothing else tells
// what another process has done.
func waitUntil(t *testing.T, limit time.Duration, ask func() bool) {
	t.Helper()
	end := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-end:
			t.Fatalf("what was waited for did not happen within %s", limit)
		case <-tick.C:
		}
	}
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// startDaemon starts `ingestd run`.
func startDaemon(t *testing.T, s *site) *life {
	t.Helper()
	return s.start(t, nil, nil, "run", "--allow-root")
}

// cutMany makes so many cuts, a few at once: most of the time a delivery rests
// after its crash.
func cutMany(t *testing.T, cuts, atOnce int, seed uint64) cutFigures {
	t.Helper()
	var mu sync.Mutex
	var total cutFigures
	next := make(chan int)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for i := range next {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					d, err := newDisk(t)
					if err != nil {
						t.Fatalf("no loop-mounted ext4: %v", err)
					}
					f := powerCut(t, d, seed+uint64(i))
					mu.Lock()
					total.add(f)
					mu.Unlock()
				})
			}
		})
	}
	for i := range cuts {
		next <- i
	}
	close(next)
	workers.Wait()
	return total
}

// TestPowerCutSample cuts the power three times, where loop mounts can be
// made; TestPowerCut, with the build tag torture, many times and everywhere.
func TestPowerCutSample(t *testing.T) {
	t.Parallel()
	if d, err := newDisk(t); err != nil {
		t.Logf("NOT RUN, no loop-mounted ext4 here: %v", err)
		return
	} else if err := d.umount(); err != nil {
		t.Fatal(err)
	}
	total := cutMany(t, 3, 3, uint64(time.Now().UnixNano()))
	t.Log(&total)
}
