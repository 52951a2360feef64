package status

import (
	"context"
	"net/http"
	"regexp"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ingestd/internal/ledger"
)

// maxReasons bounds the series of ingestd_needs_person.
const maxReasons = 100

// reasonCode is what a stable code looks like. Anything else would be text,
// which has no place in a label.
var reasonCode = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// collector reads the ledger's counters at every scrape. Its labels are names
// of the configuration, states and reason codes: their number does not grow
// with the calls.
type collector struct {
	s *server

	build, up, recordings, deliveries, oldest, person, progress *prometheus.Desc
	sourceUp, sourceMode, sourceScan                            *prometheus.Desc
	trouble, free, wal, checked, unprocessed, orphans           *prometheus.Desc
}

// metrics answers scrapes from a registry of its own.
func metrics(s *server) http.Handler {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("ingestd_"+name, help, labels, nil)
	}
	c := &collector{
		s:           s,
		build:       desc("build_info", "Always 1; the labels tell what is running.", "version", "goversion"),
		up:          desc("ledger_up", "Whether the ledger could be read for this scrape; if not, what comes from it is missing."),
		recordings:  desc("recordings", "Recordings by source and state.", "source", "state"),
		deliveries:  desc("deliveries", "Deliveries by destination and state.", "destination", "state"),
		oldest:      desc("oldest_pending_age_seconds", "Age of the oldest recording that can still move by itself, since first seen; 0: none."),
		person:      desc("needs_person", "Deliveries and recordings that a person must decide about, by reason code.", "reason"),
		progress:    desc("last_progress_timestamp_seconds", "Unix time of the last sign of progress."),
		sourceUp:    desc("source_up", "Whether the directory of a source can be read.", "source"),
		sourceMode:  desc("source_mode", "1 for the way a source is watched now.", "source", "mode"),
		sourceScan:  desc("source_last_scan_timestamp_seconds", "Unix time at which the last full scan of a source ended.", "source"),
		trouble:     desc("ledger_trouble", "1 for the reason why nothing new is begun.", "code"),
		free:        desc("ledger_free_bytes", "Bytes free on the ledger's file system."),
		wal:         desc("ledger_wal_bytes", "Bytes of the ledger's -wal file; large: a reader keeps a transaction open."),
		checked:     desc("ledger_checked_timestamp_seconds", "Unix time of the last integrity check of the ledger that found it sound."),
		unprocessed: desc("processing_failed", "Deliveries that the vendor took and could not process, by destination.", "destination"),
		orphans:     desc("orphan_declares_total", "Step-1 requests whose answer was lost, by destination; each may count towards the vendor's quota.", "destination"),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2})
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.build, c.up, c.recordings, c.deliveries, c.oldest, c.person, c.progress, c.sourceUp, c.sourceMode, c.sourceScan, c.trouble, c.free, c.wal, c.checked, c.unprocessed, c.orphans} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.build, 1, c.s.Version, runtime.Version())
	if c.s.LastBeat != nil {
		gauge(c.progress, seconds(c.s.LastBeat()))
	}
	for _, h := range c.s.Health() {
		gauge(c.sourceUp, number(h.Lost == ""), h.Name)
		for _, mode := range []string{"events", "poll"} {
			gauge(c.sourceMode, number(h.Mode == mode), h.Name, mode)
		}
		if !h.LastScan.IsZero() {
			gauge(c.sourceScan, seconds(h.LastScan), h.Name)
		}
	}
	if c.s.Ledger != nil {
		h := c.s.Ledger()
		for _, code := range []string{ledger.TroubleSpace, ledger.TroubleFull, ledger.TroubleLocked} {
			gauge(c.trouble, number(h.Trouble != nil && h.Trouble.Code == code), code)
		}
		gauge(c.free, float64(h.FreeBytes))
		gauge(c.wal, float64(h.WALBytes))
		gauge(c.checked, seconds(h.CheckedAt))
	}
	// A scrape hands no context on.
	ctx, cancel := context.WithTimeout(context.Background(), queryTime)
	defer cancel()
	status, err := c.s.Reader.Status(ctx)
	gauge(c.up, number(err == nil))
	if err != nil {
		return // the rest goes on: a scrape that fails hides what is well
	}
	for source, states := range status.Sources {
		for _, state := range recordingStates() {
			gauge(c.recordings, float64(states[state]), source, state)
		}
	}
	for destination, states := range status.Destinations {
		for _, state := range deliveryStates() {
			gauge(c.deliveries, float64(states[state]), destination, state)
		}
	}
	for destination, n := range status.ProcessingFailed {
		gauge(c.unprocessed, float64(n), destination)
	}
	for destination, n := range status.OrphanDeclares {
		ch <- prometheus.MustNewConstMetric(c.orphans, prometheus.CounterValue, float64(n), destination)
	}
	age := time.Duration(0)
	if status.OldestPendingAt != nil {
		age = max(0, c.s.Now().Sub(*status.OldestPendingAt))
	}
	gauge(c.oldest, age.Seconds())
	for reason, n := range byReason(status.NeedsPerson) {
		gauge(c.person, float64(n), reason)
	}
}

// byReason counts under "other" what is no code, and every code beyond the
// first hundred.
func byReason(counts map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for _, reason := range sortedKeys(counts) {
		label := reason
		if !reasonCode.MatchString(reason) || len(out) >= maxReasons {
			label = "other"
		}
		out[label] += counts[reason]
	}
	return out
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
