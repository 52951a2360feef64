package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ingestd/internal/ledger"
	"ingestd/internal/sandbox"
)

// demoAudio is synthetic speech in the formats recorders write.
//
//go:embed demo/*
var demoAudio embed.FS

// demoLimit ends a demo that does not come to its end.
const demoLimit = time.Minute

// demoDrop is one recording of the demo and what its sidecar says.
type demoDrop struct {
	file    string
	sidecar string
	late    bool   // the sidecar comes seconds after the audio
	say     string // told when it is dropped
	want    string // the state it must reach
}

func demoDrops() []demoDrop {
	meta := func(id, start, direction, agent, queue string) string {
		return fmt.Sprintf("{\"call_id\": %q, \"started_at\": %q, \"direction\": %q, \"agent_name\": %q, \"queue\": %q}\n", id, start, direction, agent, queue)
	}
	accepted := string(ledger.Accepted)
	return []demoDrop{
		{"1001.wav", meta("1001", "2026-11-02T14:05:06Z", "inbound", "Dana Reyes", "Billing"), false, "WAV (mu-law) with its sidecar", accepted},
		{"1002.mp3", meta("1002", "2026-11-02T14:07:00Z", "outbound", "Omar Haddad", "Sales"), false, "MP3 with its sidecar", accepted},
		{"1003.opus", meta("1003", "2026-11-02T14:09:31.250Z", "inbound", "Dana Reyes", "Billing"), false, "Ogg/Opus, stereo, with its sidecar", accepted},
		{"1004.wav", meta("1004", "2026-11-02T14:12:40+01:00", "inbound", "Sam Lee", "Support"), true, "WAV (A-law); its sidecar comes later", accepted},
		{"1005.opus", meta("1005", "02/11/2026 at nine", "inbound", "Sam Lee", "Support"), false, "its sidecar has a time that cannot be believed", string(ledger.Quarantined)},
		{"1006.mp3", meta("1006", "2026-11-02T14:20:00Z", "internal", "Kim Novak", "Support"), false, "MP3 with its sidecar", accepted},
	}
}

func (a *app) demoCommand() *cobra.Command {
	var vendor, keep string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Everything on this machine, nothing to configure: sandbox, daemon, ledger",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(sandbox.Vendors(), vendor) {
				return usage(fmt.Sprintf("there is no demo for %q", vendor), "the vendors are: "+vendorNames())
			}
			return a.demo(c.Context(), vendor, keep)
		},
	}
	c.Flags().StringVar(&vendor, "vendor", "callminer", "the vendor to play: "+vendorNames())
	c.Flags().StringVar(&keep, "keep", "", "work in this new `directory` and keep it, to look around afterwards")
	return c
}

func (a *app) demo(ctx context.Context, vendor, keep string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	teller := *a
	teller.ui = newUI(a.ui.out, a.ui.out) // the story is the data here: it reads whole through a pipe
	a = &teller
	dir := keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "ingestd-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.Mkdir(dir, 0o700); err != nil {
		return &problem{code: exitUsage, err: err, hint: "--keep wants a directory that does not exist yet"}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	d := &demoRun{app: a, dir: dir, vendor: vendor, seen: map[string]string{}}
	a.ui.say("1. a sandbox plays %s, strict by its documents, on loopback", vendor)
	stopSandbox, err := d.startSandbox()
	if err != nil {
		return err
	}
	defer stopSandbox()
	a.ui.say("2. the daemon watches %s", filepath.Join(dir, "drop"))
	stopDaemon, err := d.startDaemon(ctx)
	if err != nil {
		return err
	}
	a.ui.say("3. recordings are dropped")
	if err := d.dropAll(ctx); err != nil {
		return errors.Join(err, stopDaemon())
	}
	if err := d.follow(ctx); err != nil {
		return errors.Join(err, stopDaemon())
	}
	if err := stopDaemon(); err != nil {
		return err
	}
	if err := d.report(ctx); err != nil {
		return err
	}
	if keep != "" {
		a.ui.say("\nlook around: ingestd --config %s status", d.configPath)
	}
	return nil
}

// demoRun is one run of the demo.
type demoRun struct {
	*app
	dir     string
	vendor  string
	sandbox sandbox.Vendor
	url     string
	seen    map[string]string // file -> state last told
}

func (d *demoRun) startSandbox() (stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d.url = "http://" + ln.Addr().String()
	if d.sandbox, err = sandbox.New(d.vendor, sandbox.Options{Now: d.now, ClientID: "demo", ClientSecret: "demo-secret"}); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := sandbox.Serve(ctx, ln, d.sandbox); err != nil {
			d.ui.say("the sandbox ended: %v", err)
		}
	}()
	return func() { cancel(); <-done }, nil
}

// demoConfig is a whole configuration: what is not said has a default.
const demoConfig = `[ledger]
path = "ledger.db"

[http]
listen = ""

[[source]]
name = "demo"
path = "drop"
destinations = ["%[1]s"]
settle = "1s"
scan_every = "5s"
after = "move"
archive = "archive/{year}/{month}/{day}"

[[destination]]
name = "%[1]s"
%[2]s
`

func (d *demoRun) startDaemon(ctx context.Context) (stop func() error, err error) {
	secret := filepath.Join(d.dir, "secret")
	d.app = &app{stdin: d.stdin, ui: d.ui, now: d.now, hard: d.hard, configPath: filepath.Join(d.dir, "ingestd.toml")}
	for path, text := range map[string]string{secret: "demo-secret\n", d.configPath: fmt.Sprintf(demoConfig, d.vendor, strings.Join(d.sandbox.Settings(d.url, "file:"+secret), "\n"))} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(filepath.Join(d.dir, "drop"), 0o700); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(d.dir, "ingestd.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	daemon := *d.app
	daemon.ui = newUI(log, log)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- daemon.run(ctx) }()
	return func() error {
		cancel()
		err := <-done
		return errors.Join(err, log.Close())
	}, nil
}

// dropAll drops every recording as a recorder would: a temporary name first,
// then the rename.
func (d *demoRun) dropAll(ctx context.Context) error {
	var late []demoDrop
	for _, drop := range demoDrops() {
		audio, err := demoAudio.ReadFile("demo/" + drop.file)
		if err != nil {
			return err
		}
		d.ui.say("   %-10s  %7s  %s", drop.file, size(int64(len(audio))), drop.say)
		if err := d.drop(drop.file, audio); err != nil {
			return err
		}
		if drop.late {
			late = append(late, drop)
			continue
		}
		if err := d.drop(sidecarName(drop.file), []byte(drop.sidecar)); err != nil {
			return err
		}
	}
	for _, drop := range late {
		// The sidecar is held back until the ledger says that it is missed.
		if err := d.until(ctx, func(states map[string]ledger.Row) bool {
			return states[drop.file].State == string(ledger.Waiting)
		}); err != nil {
			return err
		}
		d.ui.say("   %-10s  %7s  the late sidecar", sidecarName(drop.file), size(int64(len(drop.sidecar))))
		if err := d.drop(sidecarName(drop.file), []byte(drop.sidecar)); err != nil {
			return err
		}
	}
	return nil
}

func sidecarName(file string) string {
	return strings.TrimSuffix(file, filepath.Ext(file)) + ".json"
}

func (d *demoRun) drop(name string, content []byte) error {
	temporary := filepath.Join(d.dir, "drop", name+".part")
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(d.dir, "drop", name))
}

// follow tells every change of state until each recording is where it
// belongs.
func (d *demoRun) follow(ctx context.Context) error {
	return d.until(ctx, func(states map[string]ledger.Row) bool {
		for _, drop := range demoDrops() {
			if states[drop.file].State != drop.want {
				return false
			}
		}
		return true
	})
}

// until polls the ledger beside the daemon, as any operator may.
func (d *demoRun) until(ctx context.Context, reached func(map[string]ledger.Row) bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		states := map[string]ledger.Row{}
		err := d.withReader(ctx, func(ctx context.Context, r *ledger.Reader) error {
			return r.List(ctx, ledger.Filter{}, func(row ledger.Row) error {
				states[row.Path] = row
				if d.seen[row.Path] != row.State {
					d.seen[row.Path] = row.State
					d.tell(row)
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, ledger.ErrMissing) {
			return err
		}
		if reached(states) {
			return nil
		}
		select {
		case <-ctx.Done():
			return &problem{code: exitFailed, what: "the demo did not come to its end in time", hint: "run it again with --keep DIR and look at DIR/ingestd.log"}
		case <-tick.C:
		}
	}
}

func (d *demoRun) tell(row ledger.Row) {
	switch row.State {
	case string(ledger.Waiting), string(ledger.Quarantined):
		d.ui.say("   %-10s  -> %s: %s", row.Path, row.State, deref(row.ReasonText))
	case string(ledger.Accepted):
		d.ui.say("   %-10s  -> accepted as %s", row.Path, vendorIDs(row))
	}
}

// vendorIDs are the ids of a delivery by which its vendor finds it.
func vendorIDs(row ledger.Row) string {
	var ids []string
	for _, name := range slices.Sorted(maps.Keys(row.IDs)) {
		ids = append(ids, name+" "+row.IDs[name])
	}
	return strings.Join(ids, ", ")
}

func (d *demoRun) report(ctx context.Context) error {
	d.ui.say("\n4. what the sandbox holds")
	for _, s := range d.sandbox.Stored() {
		d.ui.say("   %s  %s  %s  sha256 %.16s...", s.Key, s.State, size(s.Bytes), s.SHA256)
	}
	d.ui.say("\n5. what the ledger says (ingestd list --wide)\n")
	return d.withReader(ctx, func(ctx context.Context, r *ledger.Reader) error {
		w := tabwriter.NewWriter(d.ui.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "PATH\tSTATE\tTHE VENDOR'S IDS")
		err := r.List(ctx, ledger.Filter{}, func(row ledger.Row) error {
			fmt.Fprintf(w, "%s\t%s\t%s\n", row.Path, row.State, cell(vendorIDs(row)))
			return nil
		})
		if err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		bad := ledger.Filter{States: []string{string(ledger.Quarantined)}}
		return r.List(ctx, bad, func(row ledger.Row) error {
			d.ui.say("\n6. why one was quarantined (ingestd show %d)\n", row.ID)
			found, err := r.Show(ctx, fmt.Sprint(row.ID))
			if err != nil {
				return err
			}
			for _, s := range found {
				d.printShown(s)
			}
			return nil
		})
	})
}
