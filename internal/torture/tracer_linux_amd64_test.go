package torture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// calls are the system calls by which the daemon changes the world outside of
// it or, for openat2, begins to read a recording. write counts only sockets
// and files, not the runtime's own pipes. fsync is also fdatasync, renameat2
// every rename, and so on: the name is that of the call in use today.
var calls = map[string][]uint64{
	"write":     {unix.SYS_WRITE, unix.SYS_WRITEV},
	"pwrite64":  {unix.SYS_PWRITE64, unix.SYS_PWRITEV},
	"fsync":     {unix.SYS_FSYNC, unix.SYS_FDATASYNC},
	"renameat2": {unix.SYS_RENAMEAT2, unix.SYS_RENAMEAT, unix.SYS_RENAME},
	"openat2":   {unix.SYS_OPENAT2},
	"sendto":    {unix.SYS_SENDTO, unix.SYS_SENDMSG},
	"read":      {unix.SYS_READ, unix.SYS_PREAD64},
	"unlink":    {unix.SYS_UNLINK, unix.SYS_UNLINKAT},
	"ftruncate": {unix.SYS_FTRUNCATE},
	"fallocate": {unix.SYS_FALLOCATE},
	inOrder:     {unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_RENAMEAT2, unix.SYS_SENDTO},
}

// inOrder stands for the calls whose order is written down in the report.
const inOrder = "in order"

// traceMain runs the command under the fault and ends as the command ends.
func traceMain(order string, args []string) int {
	var f fault
	if err := json.Unmarshal([]byte(order), &f); err != nil {
		fmt.Fprintln(os.Stderr, "tracer:", err)
		return 125
	}
	runtime.LockOSThread() // ptrace knows the thread, not the process
	t := &tracer{fault: f, failing: map[int]bool{}}
	err := t.start(args)
	for err == nil && !t.ended {
		err = t.step()
	}
	if err == nil {
		err = t.write("")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracer:", err)
		return 125
	}
	return 0
}

type tracer struct {
	fault   fault
	pid     int
	killed  bool
	ended   bool
	failing map[int]bool // threads within a call that was replaced by an error
	held    int          // the thread whose call waits; 0: none
	report  traceReport
}

// write makes the report appear whole, under its name with the suffix.
func (t *tracer) write(suffix string) error {
	raw, err := json.Marshal(t.report)
	name := t.fault.Report + suffix
	return errors.Join(err, os.WriteFile(name+".new", raw, 0o600), os.Rename(name+".new", name))
}

func (t *tracer) start(args []string) error {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, traceEnv+"=") })
	p, err := os.StartProcess(args[0], args, &os.ProcAttr{
		Env: env, Files: []*os.File{nil, os.Stdout, os.Stderr},
		Sys: &unix.SysProcAttr{Ptrace: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return err
	}
	t.pid, t.report.Pid = p.Pid, p.Pid
	var ws unix.WaitStatus
	if _, err := unix.Wait4(t.pid, &ws, unix.WALL, nil); err != nil {
		return fmt.Errorf("wait for the start: %w", err)
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(t.pid, options); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return unix.PtraceSyscall(t.pid, 0)
}

// step waits for one stop of one thread and lets it go on.
func (t *tracer) step() error {
	var ws unix.WaitStatus
	options := unix.WALL
	if t.held != 0 {
		options |= unix.WNOHANG
	}
	tid, err := unix.Wait4(-1, &ws, options, nil)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if err == nil && tid == 0 { // nothing but the held call
		return t.free()
	}
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if ws.Exited() || ws.Signaled() {
		if tid == t.pid {
			t.ended, t.report.Code = true, ws.ExitStatus()
			if ws.Signaled() {
				t.report.Signal = unix.SignalName(ws.Signal())
			}
		}
		return nil
	}
	deliver := 0
	switch sig := ws.StopSignal(); {
	case sig == unix.SIGTRAP|0x80:
		if err := t.syscall(tid); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	case sig == unix.SIGTRAP && ws.TrapCause() > 0: // a new thread was made
	case sig == unix.SIGSTOP: // every new thread begins so; nobody stops the daemon
	default:
		deliver = int(sig)
	}
	if tid == t.held {
		return nil
	}
	if err := unix.PtraceSyscall(tid, deliver); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("go on: %w", err)
	}
	return nil
}

// syscallInfo is the head of struct ptrace_syscall_info.
type syscallInfo struct {
	Op     uint8
	_      [3]uint8
	Arch   uint32
	IP, SP uint64
	Nr     uint64 // of an entry
	Args   [6]uint64
	_      [4]uint64
}

const (
	ptraceGetSyscallInfo = 0x420e
	opEntry, opExit      = 1, 2
)

func (t *tracer) syscall(tid int) error {
	var info syscallInfo
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, ptraceGetSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); e != 0 {
		return e
	}
	if info.Op == opExit && t.failing[tid] {
		delete(t.failing, tid)
		return changeRegs(tid, func(r *unix.PtraceRegs) { r.Rax = uint64(-int64(t.fault.Errno)) })
	}
	if info.Op != opEntry || t.killed {
		return nil
	}
	if after := t.fault.After; len(after) > 0 {
		if _, ok := t.match(after[0], tid, info); ok {
			t.fault.After = after[1:]
		}
		return nil
	}
	target, ok := t.match(t.fault.moment, tid, info)
	if !ok {
		return nil
	}
	t.report.Seen++
	if t.fault.Call == inOrder {
		t.note(info, target)
	}
	n := t.fault.N
	if n == 0 || t.report.Seen < n || t.report.Seen > n && !t.fault.Sticky {
		return nil
	}
	if t.report.Seen == n {
		t.report.Where = filepath.Base(strings.TrimSuffix(target, " (deleted)"))
	}
	if t.fault.Hold {
		t.held = tid
		return t.write(heldSuffix)
	}
	if t.fault.Errno == 0 {
		t.killed = true
		return unix.Kill(t.pid, unix.SIGKILL) // the call is not made
	}
	t.failing[tid] = true
	return changeRegs(tid, func(r *unix.PtraceRegs) { r.Orig_rax = ^uint64(0) }) // no such call: nothing happens
}

// note adds a call to the report: its name and what it was about.
func (t *tracer) note(info syscallInfo, target string) {
	for name, numbers := range calls {
		if name == inOrder || !slices.Contains(numbers, info.Nr) {
			continue
		}
		if info.Nr == unix.SYS_RENAMEAT2 {
			to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, int32(info.Args[2])))
			target = filepath.Base(target) + ">" + filepath.Base(to)
		}
		if !strings.HasPrefix(target, "socket:") {
			target = filepath.Base(target)
		}
		t.report.Calls = append(t.report.Calls, name+" "+target)
	}
}

// free lets the held call go on when the test says so.
func (t *tracer) free() error {
	if _, err := os.Stat(t.fault.Report + freeSuffix); err != nil {
		<-time.After(time.Millisecond) // the test acts meanwhile, and other threads run
		return nil
	}
	tid := t.held
	t.held = 0
	if err := unix.PtraceSyscall(tid, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("go on: %w", err)
	}
	return nil
}

// match tells whether the call is one of the moment, and its target.
func (t *tracer) match(m moment, tid int, info syscallInfo) (target string, ok bool) {
	if !slices.Contains(calls[m.Call], info.Nr) {
		return "", false
	}
	target, _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, int32(info.Args[0])))
	writes := m.Call == "write" || m.Call == inOrder && info.Nr == unix.SYS_WRITE
	if writes && (strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "pipe:") || info.Args[0] == 2) {
		return "", false
	}
	ok = strings.Contains(target+"$", m.On) && (m.Has == "" || bytes.Contains(content(tid, info), []byte(m.Has)))
	return target, ok
}

// content is what the call writes, or the paths that it names: at most
// 128 KiB of the daemon's memory.
func content(tid int, info syscallInfo) []byte {
	args := info.Args
	switch info.Nr {
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_SENDTO:
		return memory(tid, args[1], min(args[2], 128<<10))
	case unix.SYS_OPENAT2:
		return text(tid, args[1])
	case unix.SYS_RENAMEAT2, unix.SYS_RENAMEAT:
		return slices.Concat(text(tid, args[1]), []byte{'\n'}, text(tid, args[3]))
	case unix.SYS_RENAME:
		return slices.Concat(text(tid, args[0]), []byte{'\n'}, text(tid, args[1]))
	}
	return nil
}

func text(tid int, at uint64) []byte {
	// A page at a time: what follows the path may not be mapped.
	raw := memory(tid, at, min(4096, 4096-at%4096))
	if end := bytes.IndexByte(raw, 0); end >= 0 {
		raw = raw[:end]
	}
	return raw
}

func memory(tid int, at, n uint64) []byte {
	if n == 0 {
		return nil
	}
	buf := make([]byte, n)
	local := []unix.Iovec{{Base: &buf[0], Len: n}}
	got, err := unix.ProcessVMReadv(tid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: int(n)}}, 0)
	if err != nil {
		return nil
	}
	return buf[:got]
}

func changeRegs(tid int, change func(*unix.PtraceRegs)) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	change(&regs)
	return unix.PtraceSetRegs(tid, &regs)
}
