package ledger

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// large fills a ledger with n recordings of one destination; share of 100 are
// still planned, the others accepted.
func large(b *testing.B, n, share int) *Ledger {
	b.Helper()
	l, _ := openTest(b)
	const statement = `WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?)
		INSERT INTO recordings (source, path, state, dev, ino, size, mtime_ns, ctime_ns, quiet_since, looks, sha256, call_id, first_seen, updated)
		SELECT 's', CAST('2026/11/20/recording-' || n || '.wav' AS BLOB), 'ready', 1, n, 1000, 0, 0, 0, 2, randomblob(32), 'call-' || n, n, n FROM i`
	const deliveries = `INSERT INTO deliveries (recording_id, source, destination, idem_key, state, next_attempt, accepted_at, created, updated)
		SELECT id, source, 'alpha', hex(randomblob(13)), CASE WHEN id % 100 < ? THEN 'planned' ELSE 'accepted' END, id, id, id, id FROM recordings`
	check(b, l.w.write(b.Context(), "fill", func(x *tx) error {
		if err := x.exec(statement, n); err != nil {
			return err
		}
		if err := x.exec(deliveries, share); err != nil {
			return err
		}
		return x.exec("INSERT INTO vendor_ids SELECT id, 'mining_id', 'mining-' || id FROM deliveries WHERE state = 'accepted'")
	}))
	return l
}

func BenchmarkClaim(b *testing.B) {
	for _, share := range []int{1, 100} {
		b.Run(fmt.Sprintf("1M_rows_%d_percent_planned", share), func(b *testing.B) {
			l := large(b, 1_000_000, share)
			ctx := b.Context()
			b.Run("due", func(b *testing.B) {
				for b.Loop() {
					if got, err := l.DueDeliveries(ctx, "alpha", "s", epoch, 16); err != nil || len(got) != 16 {
						b.Fatal(len(got), err)
					}
				}
			})
			b.Run("next", func(b *testing.B) {
				for b.Loop() {
					if _, ok, err := l.NextDelivery(ctx, "alpha"); err != nil || !ok {
						b.Fatal(ok, err)
					}
				}
			})
			b.Run("status", func(b *testing.B) {
				for b.Loop() {
					if _, err := l.Reader().Status(ctx); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("show", func(b *testing.B) {
				for b.Loop() {
					if _, err := l.Reader().Show(ctx, "mining-777777"); err != nil && share == 1 {
						b.Fatal(err)
					}
				}
			})
			b.Run("list_last_page", func(b *testing.B) {
				for b.Loop() {
					if got := listed(b, l.Reader(), Filter{Limit: 500, Since: time.UnixMilli(999_000)}); len(got) != 500 {
						b.Fatal(len(got))
					}
				}
			})
			b.Run("rescan_512_known_files", func(b *testing.B) {
				paths := make([]string, 512)
				for i := range paths {
					paths[i] = fmt.Sprintf("2026/11/20/recording-%d.wav", i*1000+1)
				}
				for b.Loop() {
					if got, err := l.RecordingsAt(ctx, "s", paths); err != nil || len(got) != 512 {
						b.Fatal(len(got), err)
					}
				}
			})
		})
	}
}

// BenchmarkWay takes recordings from sight to acceptance with 16 workers: 8
// transactions each.
func BenchmarkWay(b *testing.B) {
	l, _ := openTest(b)
	ctx := b.Context()
	jobs := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range jobs {
				_, ds := planned(b, l, fmt.Sprintf("%d.wav", i), fmt.Sprint(i), "", "alpha")
				d := ds[0]
				for _, to := range []State{Declaring, Declared, Sending, Committing, Accepted} {
					ver, err := l.Move(ctx, d.ID, d.Ver, Step{From: d.State, To: to})
					if err != nil {
						b.Error(err)
						return
					}
					d.Ver, d.State = ver, to
				}
			}
		})
	}
	i := 0
	for b.Loop() {
		jobs <- i
		i++
	}
	close(jobs)
	wg.Wait()
	b.ReportMetric(float64(l.w.commits.Load())/float64(i), "commits/op")
}

// BenchmarkSee remembers files in batches of 512.
func BenchmarkSee(b *testing.B) {
	l, _ := openTest(b)
	n := 0
	for b.Loop() {
		seen := make([]Seen, 512)
		for i := range seen {
			seen[i] = Seen{Source: "s", Path: fmt.Sprintf("2026/11/20/recording-%d.wav", n), Look: lookOf(uint64(n)), Due: epoch.Add(time.Hour)}
			n++
		}
		check(b, l.SeeRecordings(b.Context(), seen))
	}
}

// BenchmarkLookup finds a document's row by its key, with a commit in between
// as in a busy ledger: readers forget their pages after each.
func BenchmarkLookup(b *testing.B) {
	l, _ := openTest(b)
	ctx := b.Context()
	check(b, l.SeeDocuments(ctx, []Seen{{Source: "s", Path: "list.csv", Look: lookOf(1)}}))
	known, err := l.DocumentsAt(ctx, "s", []string{"list.csv"})
	check(b, err)
	ix := l.IndexDocument(known["list.csv"].ID, known["list.csv"].Ver)
	rows := make([]IndexRow, 10_000)
	for i := range rows {
		rows[i] = IndexRow{Sidecar: "m", Key: fmt.Sprintf("call%06d", i), Row: i + 1, Content: map[string]any{"agent_name": "Dana Reyes"}}
	}
	check(b, ix.Add(ctx, rows))
	_, err = ix.Finish(ctx, sumOf("list"))
	check(b, err)
	for _, busy := range []bool{false, true} {
		b.Run(fmt.Sprintf("commits_between_%v", busy), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if busy {
					check(b, l.SeeRecordings(ctx, []Seen{{Source: "s", Path: fmt.Sprintf("%d-%d.wav", b.N, i), Look: lookOf(uint64(i))}}))
				}
				if got, err := l.Lookup(ctx, "s", "m", rows[i%len(rows)].Key, 2); err != nil || len(got) != 1 {
					b.Fatal(got, err)
				}
			}
		})
	}
}
