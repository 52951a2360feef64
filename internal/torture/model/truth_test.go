package model

import (
	"database/sql"
	"encoding/hex"
	"os"
	"path/filepath"
)

// checkEffects compares what the vendors hold with the ledger: P3, I8.
func (w *world) checkEffects(db *sql.DB) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, v := range w.vendors {
		for key, all := range v.effects {
			if len(all) > 1 && v.shape.single() && !w.ordered(name, key) {
				w.violateLocked("P3: %s", v.held(key))
			}
			sum := all[0].sum
			if !w.whole[sum] {
				w.violateLocked("I8: %s holds content %.8s, which nobody dropped", name, sum)
			}
			var want []byte
			err := db.QueryRow("SELECT r.sha256 FROM deliveries AS d JOIN recordings AS r ON r.id = d.recording_id WHERE destination = ? AND idem_key = ? AND duplicate_of IS NULL", name, key).Scan(&want)
			if err != nil {
				w.violateLocked("I1: %s holds %.6s, of which the ledger knows nothing: %v", name, key, err)
			} else if hex.EncodeToString(want) != sum {
				w.violateLocked("I8: %s holds %.6s as %.8s, the ledger says %x", name, key, sum, want[:4])
			}
		}
	}
}

// checkFiles looks for every recording that the test put down and did not
// take away: it is in its place, unless every vendor has it (I7).
func (w *world) checkFiles() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, f := range w.files {
		b, err := os.ReadFile(w.at(path))
		if err == nil && sum(b) == f.sum {
			continue
		}
		delete(w.files, path)
		w.noteLocked("%s left the drop directory", path)
		if err == nil {
			w.violateLocked("I7: the content of %s changed and the test did not do it", path)
		}
		for name, v := range w.vendors {
			if !v.has(f.sum) {
				w.violateLocked("I7: %s (%.8s) left the drop directory and %s does not have it", path, f.sum, name)
			}
		}
		if w.set.After == "move" && !w.archived(f.sum) {
			w.violateLocked("I7: %s (%.8s) left the drop directory and is not in the archive", path, f.sum)
		}
	}
}

// checkMoved demands that a recording lies where its row says it was moved to.
func (w *world) checkMoved(db *sql.DB) {
	rows, err := db.Query("SELECT id, moved_to FROM recordings WHERE state = 'done' AND substr(moved_to, 1, 1) = '/'")
	if err != nil {
		w.violate("read moves: %v", err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var to []byte
		if err := rows.Scan(&id, &to); err != nil {
			w.violate("read moves: %v", err)
		}
		if _, err := os.Lstat(string(to)); err != nil {
			w.violate("recording %d is done and not where it was moved to", id)
		}
	}
	if err := rows.Err(); err != nil {
		w.violate("read moves: %v", err)
	}
}

func (v *vendor) has(sum string) bool {
	for _, all := range v.effects {
		for _, e := range all {
			if e.sum == sum {
				return true
			}
		}
	}
	return false
}

func (w *world) archived(want string) bool {
	found := false
	_ = filepath.WalkDir(filepath.Join(w.dir, "archive"), func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, err := os.ReadFile(name)
			found = found || err == nil && sum(b) == want
		}
		return nil
	})
	return found
}
