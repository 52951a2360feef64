package main

import (
	"context"
	"log/slog"
	"net"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/status"
)

// serveStatus answers on http.listen until the returned function is called.
// A page that cannot be served is no reason to stop uploading.
func (a *app) serveStatus(ctx context.Context, cfg *config.Config, led *ledger.Ledger, p *pipeline.Pipeline, log *slog.Logger) (end func()) {
	if cfg.HTTP.Listen == "" {
		return func() {}
	}
	// Its own connections: no request waits for the pipeline or makes it wait.
	reader, err := ledger.OpenReader(ctx, cfg.Ledger.Path)
	if err != nil {
		log.Error("open the ledger for the status page", "error", err)
		return func() {}
	}
	ln, err := net.Listen("tcp", cfg.HTTP.Listen)
	if err != nil {
		log.Error("status page not served; uploads go on", "error", err)
		reader.Close()
		return func() {}
	}
	handler := status.New(status.Options{
		Reader: reader, Version: version, Now: a.now, LastBeat: p.LastBeat, StuckAfter: stuckAfter(cfg), Listen: cfg.HTTP.Listen,
		Health: func() []status.SourceHealth { return sourceHealth(p) }, Ledger: led.Health,
	})
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // also while draining
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := status.Serve(serving, ln, handler); err != nil {
			log.Error("status page ended", "error", err)
		}
	}()
	return func() {
		stop()
		<-ended
		reader.Close()
	}
}

func sourceHealth(p *pipeline.Pipeline) []status.SourceHealth {
	health := p.Health()
	out := make([]status.SourceHealth, 0, len(health))
	for _, name := range sortedKeys(health) {
		h := health[name]
		s := status.SourceHealth{Name: name, Mode: h.Mode, Why: h.Why, LastScan: h.LastScan.Ended}
		if h.Lost != nil {
			s.Lost = h.Lost.Error()
		}
		out = append(out, s)
	}
	return out
}
