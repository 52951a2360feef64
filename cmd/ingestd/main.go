// Command ingestd watches drop directories for call recordings and their
// metadata and uploads them to speech-analytics vendors; its ledger proves
// what arrived.
//
// This package is the front door and the only one that knows every room: one
// file per verb, wiring in wire.go, output rules in ui.go. It promises stable
// exit codes and JSON. It never decides what happens to a recording.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is set by the build.
var version = "dev"

func main() {
	os.Exit(realMain(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// realMain is main with everything it touches as arguments, so that script
// tests run the very program.
func realMain(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// The first signal asks for an orderly end, the second cuts.
	soft, stop := context.WithCancel(context.Background())
	defer stop()
	hard, cut := context.WithCancel(context.Background())
	defer cut()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for _, f := range []func(){stop, cut} {
			select {
			case <-signals:
				f()
			case <-ended:
				return
			}
		}
	}()

	a := &app{stdin: stdin, ui: newUI(stdout, stderr), now: time.Now, hard: hard}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(soft)
	return a.ui.exit(err)
}
