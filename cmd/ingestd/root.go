package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
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
		return usage(flagText(err), c.CommandPath()+" --help lists the flags")
	})
	root.Version = version
	root.SetVersionTemplate(versionText())
	root.AddCommand(
		a.demoCommand(), a.runCommand(), a.onceCommand(), a.checkCommand(), a.planCommand(), a.presetsCommand(),
		a.statusCommand(), a.listCommand(), a.showCommand(), a.retryCommand(), a.resolveCommand(), a.cancelCommand(), a.orphansCommand(),
		a.ledgerCommand(), a.sandboxCommand(), a.versionCommand(),
	)
	sayUse(root)
	return root
}

// sayUse has every verb answer wrong arguments with its own line of usage.
func sayUse(c *cobra.Command) {
	for _, sub := range c.Commands() {
		sayUse(sub)
	}
	if fits := c.Args; fits != nil && !c.HasSubCommands() {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := fits(c, args); err != nil {
				return usage(fmt.Sprintf("%s cannot be called with %d argument(s)", c.CommandPath(), len(args)), "call it as: "+c.UseLine())
			}
			return nil
		}
	}
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
			_, err := fmt.Fprint(a.ui.out, versionText())
			return err
		},
	}
	a.jsonFlag(c)
	return c
}

func versionText() string {
	return fmt.Sprintf("ingestd %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// flagText says what is wrong with a flag in an operator's words: the parser
// ends its sentence with those of the package that refused the value.
func flagText(err error) string {
	cause := errors.Unwrap(err)
	if cause == nil {
		return err.Error()
	}
	var number *strconv.NumError
	var list *csv.ParseError
	var want string
	switch {
	case errors.As(cause, &number) && number.Func == "ParseBool":
		want = "it must be true or false"
	case errors.As(cause, &number) && errors.Is(number.Err, strconv.ErrRange):
		want = "it is too large"
	case errors.As(cause, &number):
		want = "it must be a whole number"
	case errors.As(cause, &list):
		want = "a quote in the list has no partner"
	case strings.HasPrefix(cause.Error(), "time: "):
		want = "it must be a time with its unit, as in 90s or 10m"
	default:
		return err.Error()
	}
	return strings.TrimSuffix(err.Error(), cause.Error()) + want
}
