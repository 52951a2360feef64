//go:build torture

package torture

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
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
	t := &tracer{fault: f, numbers: calls[f.Call], failing: map[int]bool{}}
	err := t.start(args)
	for err == nil && !t.ended {
		err = t.step()
	}
	if err == nil {
		var raw []byte
		raw, err = json.Marshal(t.report)
		err = errors.Join(err, os.WriteFile(f.Report, raw, 0o600))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracer:", err)
		return 125
	}
	return 0
}

type tracer struct {
	fault   fault
	numbers []uint64
	pid     int
	killed  bool
	ended   bool
	failing map[int]bool // threads within a call that was replaced by an error
	report  traceReport
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
	t.pid = p.Pid
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
	tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
	if errors.Is(err, unix.EINTR) {
		return nil
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
	if info.Op != opEntry || t.killed || !slices.Contains(t.numbers, info.Nr) {
		return nil
	}
	target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, int32(info.Args[0])))
	if info.Nr == unix.SYS_WRITE && (strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "pipe:") || info.Args[0] == 2) {
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

func changeRegs(tid int, change func(*unix.PtraceRegs)) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	change(&regs)
	return unix.PtraceSetRegs(tid, &regs)
}
