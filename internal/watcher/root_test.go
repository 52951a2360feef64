package watcher

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// both runs a test with openat2 and with the walk by component.
func both(t *testing.T, test func(t *testing.T, open func(path string) *Root)) {
	for name, byComponent := range map[string]bool{"openat2": false, "component": true} {
		t.Run(name, func(t *testing.T) {
			test(t, func(path string) *Root {
				t.Helper()
				r, err := OpenRoot(path)
				if err != nil {
					t.Fatal(err)
				}
				if r.byComponent {
					t.Fatal("this kernel has no openat2: the test would prove nothing about it")
				}
				r.byComponent = byComponent
				t.Cleanup(func() { _ = r.Close() })
				return r
			})
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenReads(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *Root) {
		dir := t.TempDir()
		names := []string{"x.wav", "a/b/c/x.wav", "-rf", "$(x)`'\"", "new\nline\r\x1b]0;.wav", "\xff\xfe.wav", "\u202egpj.wav", strings.Repeat("n", 255)}
		root := open(dir)
		for _, name := range names {
			write(t, filepath.Join(dir, name), name)
			f, e, err := root.Open(name)
			if err != nil {
				t.Fatalf("%q: %v", name, err)
			}
			got, err := io.ReadAll(f)
			_ = f.Close()
			if err != nil || string(got) != name {
				t.Fatalf("%q: read %q, %v", name, got, err)
			}
			seen, err := root.Stat(name)
			if err != nil || seen != e {
				t.Fatalf("%q: stat %+v and open %+v differ, %v", name, seen, e, err)
			}
			if e.Path != name || e.Kind != Regular || e.Links != 1 || e.Identity.Size != int64(len(name)) {
				t.Fatalf("%q: %+v", name, e)
			}
		}
	})
}

// TestRefused has everything that must not be opened. A FIFO without
// O_NONBLOCK would hang it; the deadline of the test binary is the judge.
func TestRefused(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *Root) {
		dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
		write(t, secret, "secret")
		write(t, filepath.Join(dir, "real/x.wav"), "x")
		write(t, filepath.Join(dir, "linked.wav"), "x")
		write(t, filepath.Join(dir, "dir.wav/inside"), "x")
		listen, err := net.Listen("unix", filepath.Join(dir, "sock.wav"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listen.Close() }()
		for _, err := range []error{
			os.Symlink("real/x.wav", filepath.Join(dir, "inside.wav")),
			os.Symlink(secret, filepath.Join(dir, "absolute.wav")),
			os.Symlink("../../"+filepath.Base(secret), filepath.Join(dir, "dots.wav")),
			os.Symlink("real", filepath.Join(dir, "linkdir")),
			os.Symlink("loop", filepath.Join(dir, "loop")),
			os.Symlink("gone", filepath.Join(dir, "dangling.wav")),
			os.Symlink("/proc/self/fd/0", filepath.Join(dir, "magic.wav")),
			os.Link(filepath.Join(dir, "linked.wav"), filepath.Join(dir, "hard.wav")),
			unix.Mkfifo(filepath.Join(dir, "fifo.wav"), 0o600),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		tests := map[string]string{
			"inside.wav": "symlink", "absolute.wav": "symlink", "dots.wav": "symlink", "dangling.wav": "symlink",
			"magic.wav": "symlink", "loop": "symlink", "linkdir/x.wav": "symlink", "linkdir/": "symlink", "loop/x": "symlink",
			"hard.wav": "hardlink", "linked.wav": "hardlink",
			"fifo.wav": "not_regular", "sock.wav": "not_regular", "dir.wav": "not_regular", ".": "not_regular",
			"../x": "bad_path", "real/../../x": "bad_path", "": "bad_path", secret: "bad_path", "x\x00": "bad_path",
		}
		root := open(dir)
		for rel, code := range tests {
			f, _, err := root.Open(rel)
			var refused *Refused
			if f != nil || !errors.As(err, &refused) || refused.Code != code || refused.Text == "" {
				t.Errorf("%q: got %v, want %s", rel, err, code)
			}
		}
		for _, rel := range []string{"nothing", "real/nothing", "nothing/x", "real/x.wav/below"} {
			if _, _, err := root.Open(rel); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q: got %v, want not exist", rel, err)
			}
		}
		if e, err := root.Stat("inside.wav"); err != nil || e.Kind != Symlink {
			t.Errorf("stat of a symbolic link: %+v, %v", e, err)
		}
	})
}

// Opening a device can do something to it, and opening a FIFO lets its writer
// go on: they are told by looking, which inotify does not report as an open.
func TestRefusedIsNotEvenOpened(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *Root) {
		dir := t.TempDir()
		root, fifo := open(dir), filepath.Join(dir, "fifo.wav")
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		if _, err := unix.InotifyAddWatch(fd, fifo, unix.IN_OPEN); err != nil {
			t.Fatal(err)
		}
		if _, _, err := root.Open("fifo.wav"); err == nil {
			t.Fatal("a FIFO was opened")
		}
		if n, err := unix.Read(fd, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
			t.Fatalf("the FIFO was opened: %d bytes of events, %v", n, err)
		}
	})
}

// A device is refused without being opened: some do something when they are.
func TestRefusesDevices(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *Root) {
		root := open("/dev")
		for _, rel := range []string{"zero", "null", "full"} {
			var refused *Refused
			if f, _, err := root.Open(rel); f != nil || !errors.As(err, &refused) || refused.Code != "not_regular" {
				t.Errorf("%s: %v, want not_regular", rel, err)
			}
		}
	})
}

// /dev and /proc are mounts of their own on every Linux.
func TestRefusesOtherMounts(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *Root) {
		root := open("/")
		for _, rel := range []string{"proc/self/status", "proc", "proc/self/fd/0"} {
			_, err := root.Stat(rel)
			var refused *Refused
			if !errors.As(err, &refused) || refused.Code != "xdev" {
				t.Errorf("%q: got %v, want xdev", rel, err)
			}
		}
	})
}

func TestSwappedParentDoesNotEscape(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *Root) {
		dir, outside := t.TempDir(), t.TempDir()
		write(t, filepath.Join(dir, "d/x.wav"), "inside")
		write(t, filepath.Join(outside, "x.wav"), "outside")
		root := open(dir)
		if err := os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "e")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, filepath.Join(dir, "d")); err != nil {
			t.Fatal(err)
		}
		var refused *Refused
		if _, _, err := root.Open("d/x.wav"); !errors.As(err, &refused) {
			t.Fatalf("open through a swapped directory: %v", err)
		}
		if _, err := root.Move("d/x.wav", filepath.Join(t.TempDir(), "x.wav"), identityOf(root, "d/x.wav")); !errors.As(err, &refused) {
			t.Fatalf("move through a swapped directory: %v", err)
		}
		if err := root.Remove("d/x.wav", identityOf(root, "d/x.wav")); !errors.As(err, &refused) {
			t.Fatalf("remove through a swapped directory: %v", err)
		}
		if _, err := os.Stat(filepath.Join(outside, "x.wav")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCheck(t *testing.T) {
	changes := map[string]func(dir string) error{
		"deleted": os.RemoveAll,
		"renamed": func(dir string) error { return os.Rename(dir, dir+".old") },
		"created anew": func(dir string) error {
			return errors.Join(os.Remove(dir), os.Mkdir(dir, 0o700))
		},
		"a file now": func(dir string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "drop")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			root, err := OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := root.Check(); err != nil {
				t.Fatalf("before: %v", err)
			}
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			if err := root.Check(); !errors.Is(err, ErrRootLost) {
				t.Fatalf("got %v, want ErrRootLost", err)
			}
			if err := root.Close(); err != nil {
				t.Fatal(err)
			}
			if err := root.Check(); !errors.Is(err, ErrRootLost) {
				t.Fatalf("closed: got %v, want ErrRootLost", err)
			}
			if _, err := root.Stat("x"); !errors.Is(err, os.ErrClosed) {
				t.Fatalf("stat of a closed root: %v", err)
			}
		})
	}
}
