package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ingestd/internal/config"
)

func (a *app) presetsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "presets [NAME]",
		Short: "Shipped configurations of recorders' exports",
		Long: "List the presets, or print one. A source uses it with preset = \"NAME\"; every key that\n" +
			"stands in the source's own table wins over the preset's.",
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, p := range config.Presets() {
				names = append(names, p.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.printPreset(args[0])
			}
			return a.listPresets()
		},
	}
	a.jsonFlag(c)
	return c
}

// presetJSON is one line of `presets --json`.
type presetJSON struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	TOML  string `json:"toml"`
}

func (a *app) listPresets() error {
	w := tabwriter.NewWriter(a.ui.out, 0, 4, 2, ' ', 0)
	for _, p := range config.Presets() {
		if a.json {
			if err := a.printJSON(presetJSON{p.Name, p.Title, p.Text}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%s\t%s\n", p.Name, p.Title)
	}
	return w.Flush()
}

func (a *app) printPreset(name string) error {
	all := config.Presets()
	i := slices.IndexFunc(all, func(p config.Preset) bool { return p.Name == name })
	if i < 0 {
		return usage(fmt.Sprintf("there is no preset %q", name), "ingestd presets lists them")
	}
	if a.json {
		return a.printJSON(presetJSON{all[i].Name, all[i].Title, all[i].Text})
	}
	_, err := fmt.Fprintln(a.ui.out, strings.TrimRight(all[i].Text, "\n"))
	return err
}
