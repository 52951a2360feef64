package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
)

// drainTime is how long attempts under way may go on after SIGTERM. It is
// shorter than the unit's TimeoutStopSec.
const drainTime = 75 * time.Second

func (a *app) runCommand() *cobra.Command {
	var asRoot bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: "Watch the sources and deliver what they receive, until a signal.\n\n" +
			"SIGTERM drains: attempts under way may finish. A second signal cuts them.\n" +
			"SIGHUP loads the configuration anew; a faulty one is reported and the old one stays.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if os.Geteuid() == 0 && !asRoot {
				return &problem{code: exitConfig, what: "ingestd run refuses to run as root: every file in a drop directory is written by others",
					hint: "start it as the service user (systemctl start ingestd), or say --allow-root"}
			}
			return a.run(c.Context())
		},
	}
	c.Flags().BoolVar(&asRoot, "allow-root", false, "run as root all the same")
	return c
}

func (a *app) run(ctx context.Context) (err error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if err := asOwner(cfg, "run"); err != nil {
		return err
	}
	log, err := newLogger(cfg.Log, a.ui.err)
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
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	for {
		next, err := a.generation(ctx, cfg, led, log, reload)
		if err != nil || next == nil {
			return err
		}
		cfg = next
	}
}

// closeLedger ends the use of the ledger. That it could not be closed is told
// also by a command whose work is done: its disk fails.
func closeLedger(led io.Closer, err *error) {
	if failed := led.Close(); failed != nil && *err == nil {
		*err = &problem{code: exitTemporary, what: "close the ledger: " + failed.Error(),
			hint: "what was told as delivered is recorded; look at the ledger's disk before the next start"}
	}
}

// generation runs one configuration until the program ends (nil) or another
// configuration takes over.
func (a *app) generation(ctx context.Context, cfg *config.Config, led *ledger.Ledger, log *slog.Logger, reload <-chan os.Signal) (*config.Config, error) {
	p, err := a.build(cfg, led, log, pipeline.Options{})
	if err != nil {
		return nil, err
	}
	soft, stop := context.WithCancel(ctx)
	defer stop()
	hard, cut := context.WithCancel(a.hard)
	defer cut()
	done := make(chan error, 1)
	go func() { done <- p.Run(soft, hard) }()
	notify(log, daemon.SdNotifyReady)
	log.Info("ingestd is running", "version", version, "sources", len(cfg.Sources), "destinations", len(cfg.Destinations))

	defer a.serveStatus(ctx, cfg, led, p, log)()
	watchdog := watchdogTicker()
	defer watchdog.Stop()
	var next *config.Config
	for ending := ctx.Done(); ; {
		select {
		case err := <-done:
			if err == nil && next == nil && ctx.Err() == nil {
				err = errors.New("the pipeline ended by itself")
			}
			return next, err
		case <-ending:
			ending = nil
			notify(log, daemon.SdNotifyStopping)
			log.Info("draining; a second signal cuts")
			time.AfterFunc(drainTime, cut)
		case <-reload:
			fresh, err := a.loadConfig()
			if err == nil && fresh.Ledger.Path != cfg.Ledger.Path {
				err = errors.New("the ledger's path cannot change while the daemon runs")
			}
			if err != nil {
				log.Error("configuration not loaded; the old one stays", "error", err)
				continue
			}
			notify(log, reloadingState())
			log.Info("configuration loaded again")
			a.warnExposed(fresh, log)
			next = fresh
			stop()
			time.AfterFunc(drainTime, cut)
		case <-watchdog.C:
			if a.now().Sub(p.LastBeat()) < stuckAfter(cfg) {
				notify(log, daemon.SdNotifyWatchdog)
			}
		}
	}
}

// stuckAfter is when a pipeline without any sign of progress stops feeding
// the watchdog. An idle pipeline scans, so it beats too.
func stuckAfter(cfg *config.Config) time.Duration {
	longest := 5 * time.Minute
	for _, s := range cfg.Sources {
		longest = max(longest, time.Duration(s.ScanEvery))
	}
	return 2 * longest
}
