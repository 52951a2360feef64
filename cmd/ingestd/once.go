package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
)

func (a *app) onceCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "once",
		Short: "Deliver what can be delivered now, then exit",
		Long: "Scan the sources once, deliver what can be delivered, retry what is due, and exit when\n" +
			"nothing can move without a person or a file that is not there.\n\n" +
			"Exit codes: 0 everything delivered; 3 something needs a person, or waits for a destination that\n" +
			"is not configured; 75 the timeout ran out, or recordings still wait, in time, for their sidecars.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.once(c.Context(), timeout) },
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "give up after this `time` (0: never)")
	a.jsonFlag(c)
	return c
}

func (a *app) once(ctx context.Context, timeout time.Duration) (err error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if err := asOwner(cfg, "once"); err != nil {
		return err
	}
	logTo := cfg.Log
	if a.ui.live {
		logTo.Level = "error" // the progress line tells the rest
	}
	log, err := newLogger(logTo, a.ui.err)
	if err != nil {
		return err
	}
	if err := readableSecrets(cfg); err != nil {
		return err
	}
	a.warnExposed(cfg, log)
	collectRarely()
	led, err := ledger.Open(ctx, ledger.Options{Path: cfg.Ledger.Path, Now: a.now, Log: log})
	if err != nil {
		return err
	}
	defer closeLedger(led, &err)
	before, err := led.Pending(ctx, routesOf(cfg))
	if err != nil {
		return err
	}
	var sent atomic.Int64
	p, err := a.build(cfg, led, log, pipeline.Options{OneScan: true, Progress: func(n int64) { sent.Add(n) }})
	if err != nil {
		return err
	}
	soft, stop := context.WithCancel(ctx)
	defer stop()
	hard, cut := context.WithCancel(a.hard)
	defer cut()
	done := make(chan error, 1)
	go func() { done <- p.Run(soft, hard) }()

	var expired <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		expired = t.C
	}
	line := progressLine{u: a.ui, start: a.now(), now: a.now, sent: &sent, before: before.Delivered,
		waits: &waitNote{led: led, destinations: destinationNames(cfg), now: a.now, began: a.now()}}
	end, runErr := a.watchOnce(ctx, led, p, line, done, expired)
	stop()
	trouble := led.Trouble() // before the drain, which may outlast it
	switch end {
	case endedTimeout:
		time.AfterFunc(drainTime, cut)
	case endedTrouble:
		time.AfterFunc(time.Second, cut)
	}
	if runErr == nil && end != endedByItself {
		runErr = <-done
	}
	if runErr != nil {
		return runErr
	}
	now, err := led.Pending(context.WithoutCancel(ctx), routesOf(cfg))
	if err != nil {
		return err
	}
	if end == endedTrouble && trouble != nil {
		return &problem{code: exitTemporary, what: trouble.Text, hint: trouble.Hint + "; then run ingestd once again, nothing is sent twice"}
	}
	return a.onceSummary(before, now, end, sent.Load(), timeout)
}

func sourceNames(cfg *config.Config) []string {
	names := make([]string, len(cfg.Sources))
	for i, s := range cfg.Sources {
		names[i] = s.Name
	}
	return names
}

// routesOf are the sources with the destinations that each sends to.
func routesOf(cfg *config.Config) map[string][]string {
	routes := make(map[string][]string, len(cfg.Sources))
	for _, s := range cfg.Sources {
		routes[s.Name] = s.Destinations
	}
	return routes
}

func destinationNames(cfg *config.Config) []string {
	names := make([]string, len(cfg.Destinations))
	for i, d := range cfg.Destinations {
		names[i] = d.Common.Name
	}
	return names
}

// How a run of once ended.
type onceEnd int

const (
	endedIdle onceEnd = iota
	endedTimeout
	endedSignal
	endedByItself
	endedTrouble
)

// troublePatience is how long once waits for a ledger in trouble: a service
// outlasts it, a command tells.
const troublePatience = time.Minute

// watchOnce draws progress until nothing can move any more.
func (a *app) watchOnce(ctx context.Context, led *ledger.Ledger, p *pipeline.Pipeline, line progressLine, done <-chan error, expired <-chan time.Time) (onceEnd, error) {
	poll := time.NewTimer(0)
	defer poll.Stop()
	defer line.clear()
	quiet, sound := false, a.now()
	for {
		select {
		case err := <-done:
			if err == nil && ctx.Err() == nil {
				err = errors.New("the pipeline ended by itself")
			}
			return endedByItself, err
		case <-ctx.Done():
			return endedSignal, nil
		case <-expired:
			return endedTimeout, nil
		case <-poll.C:
			began := time.Now()
			if led.Trouble() == nil {
				sound = a.now()
			} else if a.now().Sub(sound) > troublePatience {
				return endedTrouble, nil
			}
			pending, idle, err := p.Idle(ctx)
			if err != nil && ctx.Err() == nil {
				return endedByItself, err
			}
			if idle && quiet {
				return endedIdle, nil
			}
			quiet = idle // twice in a row: the counts are not one instant's
			line.draw(ctx, pending)
			poll.Reset(pollAfter(time.Since(began)))
		}
	}
}

// pollAfter is the pause after a question that took so long: asking must stay
// cheap beside the work, whatever the backlog. But one slow answer of a busy
// machine must not keep a finished run waiting: its end is asked for twice.
func pollAfter(took time.Duration) time.Duration {
	return min(max(100*time.Millisecond, 30*took), 2*time.Second)
}

func (a *app) onceSummary(before, now ledger.Pending, end onceEnd, sent int64, timeout time.Duration) error {
	delivered := now.Delivered - before.Delivered
	if a.json {
		err := a.printJSON(map[string]any{
			"delivered": delivered, "bytes_sent": sent, "pending": now.Deliveries + now.Settling,
			"waiting": now.Waiting, "needs_person": now.NeedsPerson, "timed_out": end == endedTimeout,
		})
		if err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.ui.out, "%d delivered (%s sent), %d pending, %d waiting, %d need a person\n",
			delivered, size(sent), now.Deliveries+now.Settling, now.Waiting, now.NeedsPerson)
	}
	switch {
	case end == endedTimeout:
		return &problem{code: exitTemporary, what: fmt.Sprintf("not finished within %s", timeout), hint: "run ingestd once again; nothing is sent twice"}
	case end == endedSignal:
		return &problem{code: exitTemporary, what: "stopped by a signal", hint: "run ingestd once again; nothing is sent twice"}
	case now.NeedsPerson > 0:
		return &problem{code: exitNeedsPerson, what: fmt.Sprintf("%d need a person", now.NeedsPerson), hint: "ingestd status says what; ingestd show ID says why"}
	case now.Stranded > 0:
		return &problem{code: exitNeedsPerson, what: fmt.Sprintf("%d wait for a destination that is not configured for their source", now.Stranded),
			hint: "configure it again, or give them up: ingestd cancel --destination NAME --note WHY; ingestd status names it"}
	case now.Waiting > 0:
		return &problem{code: exitTemporary, what: fmt.Sprintf("%d still wait for a sidecar, a marker or the rest of their bytes", now.Waiting),
			hint: "run ingestd once again when those have come; ingestd list --state waiting,settling names them"}
	case now.Deliveries+now.Settling > 0:
		return &problem{code: exitTemporary, what: fmt.Sprintf("%d are still pending", now.Deliveries+now.Settling), hint: "run ingestd once again; nothing is sent twice"}
	}
	return nil
}

// progressLine is one line on a terminal, drawn over itself.
type progressLine struct {
	u      *ui
	start  time.Time
	now    func() time.Time
	sent   *atomic.Int64
	before int
	waits  *waitNote
}

func (l progressLine) draw(ctx context.Context, p ledger.Pending) {
	if !l.u.live {
		return
	}
	done := p.Delivered - l.before
	total := done + p.Deliveries
	elapsed := l.now().Sub(l.start).Seconds()
	rate := float64(l.sent.Load()) / max(elapsed, 0.001)
	left := "?"
	if rate > 0 {
		left = (time.Duration(float64(p.Bytes)/rate) * time.Second).Truncate(time.Second).String()
	}
	const cells = 24
	filled := 0
	if total > 0 {
		filled = cells * done / total
	}
	speed := fmt.Sprintf("%s/s  %s left", size(int64(rate)), left)
	if waits := l.waits.look(ctx); waits != "" {
		speed = escape(waits)
	}
	text := fmt.Sprintf("[%s%s] %d/%d recordings  %s", strings.Repeat("#", filled), strings.Repeat(".", cells-filled), done, total, speed)
	if total == 0 {
		text = "looking"
	}
	if p.Settling > 0 {
		text += fmt.Sprintf("  %d settling", p.Settling)
	}
	if len(text) >= l.u.width {
		text = text[:l.u.width-1]
	}
	fmt.Fprintf(l.u.err, "\r\x1b[K%s", text)
}

func (l progressLine) clear() {
	if l.u.live {
		fmt.Fprint(l.u.err, "\r\x1b[K")
	}
}
