package ledger

import "time"

// Document is one sidecar file: a whole JSON, or a manifest of many rows.
type Document struct {
	ID, Ver            int64
	Source, Path       string // the path is relative to the source, raw bytes
	State              DocumentState
	Look               Look
	DueAt              time.Time // next look while settling
	Reason, ReasonText string
	Rows               int    // rows that lookups can find
	SHA256             string // lower-case hex, "" before indexed
	// Place is where the reading of a list that only grows ended, in the
	// reader's own words; "" for every other document.
	Place              string
	FirstSeen, Updated time.Time
}

// IndexRow is one row of a document on its way into the index. A row with a
// Reason is a bad row: lookups find the reason instead of content.
type IndexRow struct {
	Sidecar, Key       string // a row without key is kept but never found
	Row                int    // from 1
	Content            map[string]any
	Reason, ReasonText string
}

// DocumentRow is a row that a lookup found.
type DocumentRow struct {
	DocumentID, RowID  int64
	DocumentVer        int64
	Path               string   // of its document, relative to the source, raw bytes
	Identity           Identity // of its document's file
	Row                int      // from 1
	SHA256             string   // of its document, lower-case hex
	Content            map[string]any
	Digest             int64  // of what it says; 0: not known
	Reason, ReasonText string // set: the row or its document is bad
}
