package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
)

// loadConfig reads the configuration file.
func (a *app) loadConfig() (*config.Config, error) {
	return config.LoadFile(a.configPath)
}

// withReader opens the configured ledger read-only, beside a running daemon
// or without one.
func (a *app) withReader(ctx context.Context, f func(context.Context, *ledger.Reader) error) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	return a.readLedger(ctx, cfg.Ledger.Path, f)
}

func (a *app) readLedger(ctx context.Context, path string, f func(context.Context, *ledger.Reader) error) error {
	r, err := ledger.OpenReader(ctx, path)
	if errors.Is(err, ledger.ErrMissing) && hasMarker(path) {
		return lostLedger(path)
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return f(ctx, r)
}

// hasMarker tells that a ledger has been here before.
func hasMarker(path string) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(path), "ledger.id"))
	return err == nil
}

func lostLedger(path string) error {
	return &problem{code: exitConfig, what: "the ledger that belongs at " + path + " is missing",
		hint: "restore a backup with ingestd ledger restore FILE, or begin a new one with ingestd ledger init --force"}
}

func quietLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (a *app) ledgerCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ledger",
		Short: "Care for the ledger: init, backup, restore, verify, vacuum",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.ledgerInit(), a.ledgerBackup(), a.ledgerRestore(), a.ledgerVerify(), a.ledgerVacuum())
	return c
}

func (a *app) ledgerInit() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "init",
		Short: "Create the ledger",
		Long: "Create the ledger where the configuration puts it. `ingestd run` does so by itself on the\n" +
			"first start. Where a ledger has been lost, --force creates a new one beside what is left:\n" +
			"nothing is deleted, and files already present are not sent blindly.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			if err := asOwner(cfg, "ledger init"); err != nil {
				return err
			}
			if err := ledger.Init(c.Context(), cfg.Ledger.Path, force, a.now); err != nil {
				return err
			}
			return a.done(map[string]any{"ledger": cfg.Ledger.Path, "created": true}, "created "+cfg.Ledger.Path)
		},
	}
	c.Flags().BoolVar(&force, "force", false, "also where a ledger has been before; what is found is moved aside")
	a.jsonFlag(c)
	return c
}

func (a *app) ledgerBackup() *cobra.Command {
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent, verified copy; works while the daemon runs",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			target, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if err := ledger.Backup(c.Context(), cfg.Ledger.Path, target); err != nil {
				return err
			}
			return a.done(map[string]any{"backup": target, "verified": true}, "backed up and verified: "+target)
		},
	}
	a.jsonFlag(c)
	return c
}

func (a *app) ledgerRestore() *cobra.Command {
	var other bool
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the ledger's place; the daemon must be stopped",
		Long: "Check a backup and put it in the ledger's place. The files it replaces are moved aside, nothing\n" +
			"is deleted. A backup is older than the world: what it calls unsent may have been sent since. So\n" +
			"its open deliveries, and files already in the drop directories, start in doubt: the vendor is\n" +
			"asked, or sent the same key again where it refuses duplicates, or a person decides.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			if err := asOwner(cfg, "ledger restore FILE"); err != nil {
				return err
			}
			done, err := ledger.Restore(c.Context(), cfg.Ledger.Path, args[0], other, a.now)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(done)
			}
			fmt.Fprintf(a.ui.out, "restored %s: %d recordings, %d deliveries, up to event %d\n", cfg.Ledger.Path, done.Recordings, done.Deliveries, done.LastEvent)
			fmt.Fprintf(a.ui.out, "%d deliveries start in doubt, and so do files that are already in the drop directories\n", done.InDoubt)
			for _, name := range done.Aside {
				fmt.Fprintf(a.ui.out, "kept aside: %s\n", escape(name))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&other, "other", false, "also a backup of another ledger than the one that belongs here")
	a.jsonFlag(c)
	return c
}

func (a *app) ledgerVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check the ledger's integrity and that every recording is accounted for",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			rep, err := ledger.Verify(c.Context(), cfg.Ledger.Path)
			if err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(rep); err != nil {
					return err
				}
			} else {
				fmt.Fprint(a.ui.out, reportText(rep))
			}
			if !rep.OK {
				return &problem{code: exitFailed, what: "the ledger is not sound",
					hint: "stop the daemon, keep the file, and restore the last good backup: ingestd ledger restore FILE"}
			}
			return nil
		},
	}
	a.jsonFlag(c)
	return c
}

func (a *app) ledgerVacuum() *cobra.Command {
	c := &cobra.Command{
		Use:   "vacuum",
		Short: "Give unused space back; the daemon must be stopped",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			if err := asOwner(cfg, "ledger vacuum"); err != nil {
				return err
			}
			if err := ledger.Vacuum(c.Context(), cfg.Ledger.Path); err != nil {
				return err
			}
			return a.done(map[string]any{"ledger": cfg.Ledger.Path, "vacuumed": true}, "vacuumed "+cfg.Ledger.Path)
		},
	}
	a.jsonFlag(c)
	return c
}

func (a *app) done(data map[string]any, words string) error {
	if a.json {
		return a.printJSON(data)
	}
	_, err := fmt.Fprintln(a.ui.out, words)
	return err
}

func reportText(r ledger.Report) string {
	text := fmt.Sprintf("ledger %s: %d recordings, %d deliveries, %d events\n", r.UID, r.Recordings, r.Deliveries, r.Events)
	for _, b := range r.Sources {
		text += fmt.Sprintf("source %s: %d seen = %d settling + %d waiting + %d ready + %d done + %d skipped + %d quarantined + %d vanished\n",
			escape(b.Source), b.Seen, b.Settling, b.Waiting, b.Ready, b.Done, b.Skipped, b.Quarantined, b.Vanished)
	}
	for _, b := range r.Balances {
		text += fmt.Sprintf("%s: %d seen = %d accepted + %d duplicate + %d rejected + %d held + %d cancelled + %d pending\n",
			b.Destination, b.Seen, b.Accepted, b.Duplicate, b.Rejected, b.Held, b.Cancelled, b.Pending)
	}
	for _, p := range r.Problems {
		text += "problem: " + escape(p) + "\n"
	}
	if r.OK {
		text += "sound\n"
	}
	return text
}
