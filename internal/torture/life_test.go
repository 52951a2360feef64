package torture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// life is one run of the program, possibly under the tracer.
type life struct {
	cmd    *exec.Cmd
	log    logBuffer
	ended  chan struct{} // closed when it is gone
	report string        // path, "" without a tracer
	fault  fault
}

// logBuffer may be read while the program writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// outcome is how a run of the daemon ended.
type outcome struct {
	code   int // -1: a signal
	output string
	trace  traceReport // of a run under a fault
}

// hang is the longest that any run may take: a sticky ENOSPC is waited for
// about 18 s, every delivery rests after a crash, and the machine is shared.
const hang = 3 * time.Minute

// once are the arguments of a run that ends when nothing can move.
func once() []string { return []string{"once", "--timeout", "2m"} }

// once runs `ingestd once` without a fault.
func (s *site) once(t *testing.T) outcome {
	t.Helper()
	return s.run(t, once()...)
}

func (s *site) run(t *testing.T, args ...string) outcome {
	t.Helper()
	return s.start(t, nil, nil, args...).wait(t)
}

// runWith runs another build of the program with more environment.
func (s *site) runWith(t *testing.T, name string, env []string, args ...string) outcome {
	t.Helper()
	return s.start(t, nil, other(name, env...), args...).wait(t)
}

// other makes a run one of another build of the program.
func other(name string, env ...string) func(*exec.Cmd) {
	return func(c *exec.Cmd) {
		c.Path, c.Args[0], c.Env = name, name, append(c.Env, env...)
	}
}

// traceable says what this machine lacks to run programs under the tracer.
var traceable = sync.OnceValue(func() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(daemonPath), "trace")
	if err != nil {
		return err
	}
	order, err := json.Marshal(fault{moment: moment{Call: "write"}, Report: filepath.Join(dir, "report")})
	if err != nil {
		return err
	}
	c := exec.Command(self, daemonPath, "version")
	c.Env = append(os.Environ(), traceEnv+"="+string(order))
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("processes cannot be traced here: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
})

// traced runs `ingestd once` under the fault.
func (s *site) traced(t *testing.T, f fault) outcome {
	t.Helper()
	return s.start(t, &f, nil, once()...).wait(t)
}

// start begins a run; change may alter the command.
func (s *site) start(t *testing.T, f *fault, change func(*exec.Cmd), args ...string) *life {
	t.Helper()
	l := &life{ended: make(chan struct{})}
	args = append([]string{daemonPath}, append(args, "--config", s.path("ingestd.toml"))...)
	env := os.Environ()
	if f != nil {
		l.fault, l.report = *f, filepath.Join(t.TempDir(), "report")
		l.fault.Report = l.report
		order, err := json.Marshal(l.fault)
		if err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		args, env = append([]string{self}, args...), append(env, traceEnv+"="+string(order))
	}
	l.cmd = exec.Command(args[0], args[1:]...)
	l.cmd.Dir, l.cmd.Env, l.cmd.Stdout, l.cmd.Stderr = s.dir, env, &l.log, &l.log
	l.cmd.WaitDelay = 5 * time.Second
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if change != nil {
		change(l.cmd)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = l.cmd.Wait() // the state says how it ended
		close(l.ended)
	}()
	t.Cleanup(l.kill)
	return l
}

// kill ends the program as SIGKILL does, with its tracer if it has one.
func (l *life) kill() {
	_ = l.cmd.Process.Kill()
	<-l.ended
}

func (l *life) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(l.pid(t), sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// pid of the daemon; under a tracer only while a call is held.
func (l *life) pid(t *testing.T) int {
	t.Helper()
	if l.report == "" {
		return l.cmd.Process.Pid
	}
	return readReport(t, l, l.report+heldSuffix).Pid
}

// wait waits for the end.
func (l *life) wait(t *testing.T) outcome {
	t.Helper()
	select {
	case <-l.ended:
	case <-time.After(hang):
		l.kill()
		t.Fatalf("the daemon hangs: no end within %s\n%s", hang, &l.log)
	}
	out := outcome{code: l.cmd.ProcessState.ExitCode(), output: l.log.String()}
	if l.report != "" {
		out.trace = readReport(t, l, l.report)
		out.code = out.trace.Code
	}
	return out
}

func readReport(t *testing.T, l *life, path string) (r traceReport) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		t.Fatalf("%s: no report: %v\n%s", l.fault, err, &l.log)
	}
	return r
}

// held waits until the call of the fault is held.
func (l *life) held(t *testing.T) {
	t.Helper()
	waitUntil(t, hang, func() bool {
		_, err := os.Stat(l.report + heldSuffix)
		select {
		case <-l.ended:
			t.Fatalf("it ended before the moment came: %s\n%s", l.fault, &l.log)
		default:
		}
		return err == nil
	})
}

// free lets the held call go on.
func (l *life) free(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(l.report+freeSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
