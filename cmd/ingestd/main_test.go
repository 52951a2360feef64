package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ingestd/internal/ledger"
	"ingestd/internal/sandbox"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ingestd": func() { os.Exit(realMain(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the real binary through one story per file.
//
// Besides testscript's own commands a story knows:
//
//	vendor NAME [key=value...]   start a strict sandbox, of CallMiner unless type=
//	                             says which; $NAME is its URL, $NAME_SETTINGS the
//	                             lines of its [[destination]]
//	faults NAME FILE             switch faults on (an empty file: off)
//	until STATE N                wait until N rows of `list` are in STATE
//	published NAME N             exactly N recordings have an effect, no other exists
//	wav FILE BYTES               make a recording of that many bytes of noise
//	audio NAME...                put the demo's audio files NAME into drop/
//	[root]                       holds for root
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Values[vendorsKey{}] = map[string]sandbox.Vendor{}
			e.Setenv("INGESTD_CONFIG", filepath.Join(e.WorkDir, "ingestd.toml"))
			e.Setenv("TZ", "UTC")
			return os.MkdirAll(filepath.Join(e.WorkDir, "drop"), 0o700)
		},
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("no condition %q", name)
			}
			return os.Geteuid() == 0, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"vendor": cmdVendor, "faults": cmdFaults, "until": cmdUntil, "published": cmdPublished, "audio": cmdAudio, "wav": cmdWAV,
		},
	})
}

type vendorsKey struct{}

func vendorNamed(ts *testscript.TestScript, name string) sandbox.Vendor {
	v, ok := ts.Value(vendorsKey{}).(map[string]sandbox.Vendor)[name]
	if !ok {
		ts.Fatalf("no vendor %q was started", name)
	}
	return v
}

func cmdVendor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: vendor NAME [type=VENDOR] [rate=N] [retry-after=TEXT] [token-life=D]")
	}
	o, kind := sandbox.Options{ClientID: "id", ClientSecret: "secret", RatePerMinute: -1}, "callminer"
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "type":
			kind = value
		case "rate":
			o.RatePerMinute, err = strconv.Atoi(value)
		case "retry-after":
			o.RetryAfter = value
		case "token-life":
			o.TokenLife, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("no such option")
		}
		if err != nil {
			ts.Fatalf("vendor %s: %v", arg, err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	if strings.HasPrefix(kind, "behavioralsignals") {
		o.ClientID = "4711" // there it is a number
	}
	v, err := sandbox.New(kind, o)
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sandbox.Serve(ctx, ln, v) }()
	ts.Defer(func() { cancel(); <-done })
	ts.Value(vendorsKey{}).(map[string]sandbox.Vendor)[args[0]] = v
	base := "http://" + ln.Addr().String()
	ts.Setenv(args[0], base)
	// Every vendor goes into the configuration by its name.
	path := ts.MkAbs("ingestd.toml")
	raw, err := os.ReadFile(path)
	ts.Check(err)
	text := strings.ReplaceAll(string(raw), "$"+args[0]+"_SETTINGS", strings.Join(v.Settings(base, "plain:"+o.ClientSecret), "\n"))
	text = strings.ReplaceAll(text, "$"+args[0], base)
	ts.Check(os.WriteFile(path, []byte(text), 0o600))
}

func cmdFaults(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: faults NAME FILE")
	}
	var list []sandbox.Fault
	if text := strings.TrimSpace(ts.ReadFile(args[1])); text != "" {
		ts.Check(json.Unmarshal([]byte(text), &list))
	}
	ts.Check(vendorNamed(ts, args[0]).SetFaults(list...))
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: until STATE N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	var last string
	reached := poll(time.Minute, func() bool {
		rows, err := listRows(ts.MkAbs("ledger.db"))
		if err != nil {
			last = err.Error()
			return false
		}
		n := 0
		last = ""
		for _, r := range rows {
			if r.State == args[0] {
				n++
			}
			last += fmt.Sprintf("%s: %s (%s)\n", r.Path, r.State, deref(r.ReasonText))
		}
		return n == want
	})
	if !reached {
		ts.Fatalf("never %d rows in state %s; the last look saw\n%s", want, args[0], last)
	}
}

func cmdPublished(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: published NAME N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	stored := vendorNamed(ts, args[0]).Stored()
	seen := map[string]bool{}
	for _, c := range stored {
		if !c.Effect || seen[c.SHA256] {
			ts.Fatalf("%s is %s, sha256 %s seen before: %v", c.Key, c.State, c.SHA256, seen[c.SHA256])
		}
		seen[c.SHA256] = true
	}
	if len(stored) != want {
		ts.Fatalf("%d recordings, want %d", len(stored), want)
	}
}

func cmdAudio(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: audio NAME...")
	}
	for _, name := range args {
		raw, err := demoAudio.ReadFile("demo/" + name)
		ts.Check(err)
		tmp := ts.MkAbs(filepath.Join("drop", name+".part"))
		ts.Check(os.WriteFile(tmp, raw, 0o600))
		ts.Check(os.Rename(tmp, ts.MkAbs(filepath.Join("drop", name))))
	}
}

func cmdWAV(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: wav FILE BYTES")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), makeWAV(n, rand.New(rand.NewPCG(1, uint64(n)))), 0o600))
}

// poll asks until the answer is yes or the time is over. It is for what
// another process does; nothing else can tell when it is done.
func poll(limit time.Duration, ask func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ask() {
			return true
		}
		select {
		case <-deadline.C:
			return false
		case <-tick.C:
		}
	}
}

func listRows(path string) ([]ledger.Row, error) {
	r, err := ledger.OpenReader(context.Background(), path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var rows []ledger.Row
	err = r.List(context.Background(), ledger.Filter{}, func(row ledger.Row) error {
		rows = append(rows, row)
		return nil
	})
	return rows, err
}
