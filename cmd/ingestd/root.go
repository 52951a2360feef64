package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"ingestd/internal/senders"
)

// app is what every verb shares.
type app struct {
	stdin      io.Reader
	ui         *ui
	now        func() time.Time
	hard       context.Context // ends with the second signal
	configPath string
	json       bool
	dial       senders.Dial // nil: the network
}

const defaultConfig = "/etc/ingestd/ingestd.toml"

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ingestd",
		Short: "Upload call recordings to speech-analytics vendors, and prove it",
		Long: "ingestd watches drop directories for call recordings and their metadata and uploads\n" +
			"each once to speech-analytics vendors, with a ledger that proves it. Start with: ingestd demo",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(a.ui.out)
	root.SetErr(a.ui.err)
	path := os.Getenv("INGESTD_CONFIG")
	if path == "" {
		path = defaultConfig
	}
	root.PersistentFlags().StringVarP(&a.configPath, "config", "c", path, "configuration `file` (or INGESTD_CONFIG)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(err.Error(), c.CommandPath()+" --help lists the flags")
	})
	root.AddCommand(
		a.demoCommand(), a.runCommand(), a.onceCommand(), a.checkCommand(), a.planCommand(), a.presetsCommand(),
		a.statusCommand(), a.listCommand(), a.showCommand(), a.retryCommand(), a.orphansCommand(),
		a.ledgerCommand(), a.sandboxCommand(), a.versionCommand(),
	)
	return root
}

// jsonFlag adds --json to a verb whose output is data.
func (a *app) jsonFlag(c *cobra.Command) {
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
}

func (a *app) versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			}
			_, err := fmt.Fprintf(a.ui.out, "ingestd %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
	a.jsonFlag(c)
	return c
}
