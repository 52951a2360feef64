package torture

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// daemonPath is the daemon under test, built once by TestMain.
var daemonPath string

// failing is the daemon with the failpoints in it, built when it is first
// needed.
var failing = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(daemonPath), "ingestd-failpoints")
	out, err := exec.Command("go", "build", "-tags", "sqlite_omit_load_extension torture", "-o", path, "ingestd/cmd/ingestd").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the daemon with failpoints: %w\n%s", err, out)
	}
	return path, err
})

// TestMain builds the daemon as `make build` does in what matters here. The
// test program also serves as the tracer: see traced.
func TestMain(m *testing.M) {
	if order := os.Getenv(traceEnv); order != "" {
		os.Exit(traceMain(order, os.Args[1:]))
	}
	if code, ok := inside(); ok {
		os.Exit(code)
	}
	os.Exit(buildAndRun(m))
}

// inside runs the tests as a child in a mount namespace of its own, so that
// no loop mount outlives them, however they end. Without the right to make
// one there are no mounts either, and ok is false.
func inside() (code int, ok bool) {
	const marker = "INGESTD_TORTURE_INSIDE"
	if os.Getenv(marker) != "" || os.Geteuid() != 0 {
		return 0, false
	}
	c := exec.Command(os.Args[0], os.Args[1:]...)
	c.Env = append(os.Environ(), marker+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return 0, false
	}
	_ = c.Wait() // the child has said why
	if code = c.ProcessState.ExitCode(); code < 0 {
		code = 1 // a signal
	}
	return code, true
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ingestd-torture-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	daemonPath = filepath.Join(dir, "ingestd")
	build := exec.Command("go", "build", "-tags", "sqlite_omit_load_extension", "-o", daemonPath, "ingestd/cmd/ingestd")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the daemon: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
