package sandbox

import (
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
)

// viewPrefix is where the test view lives, outside every vendor's surface.
const viewPrefix = "/_sandbox/"

// newView serves the lists (one JSON object per line), the summary and the
// fault switches of a fake vendor.
func newView(b *bench, lists map[string]iter.Seq[any], summary func() any) http.Handler {
	mux := http.NewServeMux()
	for name, list := range lists {
		mux.HandleFunc("GET "+viewPrefix+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			enc := json.NewEncoder(w)
			for v := range list {
				if enc.Encode(v) != nil {
					return // the reader is gone
				}
			}
		})
	}
	mux.HandleFunc("GET "+viewPrefix+"summary", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, summary())
	})
	mux.HandleFunc("GET "+viewPrefix+"faults", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, b.faults.states())
	})
	mux.HandleFunc("PUT "+viewPrefix+"faults", func(w http.ResponseWriter, r *http.Request) {
		faults, err := ReadFaults(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			err = b.faults.set(faults)
		}
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		b.log.Info("faults set", "count", len(faults))
		writeJSON(w, http.StatusOK, b.faults.states())
	})
	mux.HandleFunc("DELETE "+viewPrefix+"faults", func(w http.ResponseWriter, _ *http.Request) {
		b.faults.set(nil) // the empty list is always good
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// ReadFaults reads a JSON array of faults and nothing else. Unknown fields are
// an error: a mistyped switch must not silently do nothing.
func ReadFaults(r io.Reader) ([]Fault, error) {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	var faults []Fault
	if err := dec.Decode(&faults); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("text after the array of faults")
	}
	return faults, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(encode(v), '\n'))
}

// anySeq turns a snapshot function into a list of the view.
func anySeq[T any](snapshot func() []T) iter.Seq[any] {
	return func(yield func(any) bool) {
		for _, v := range snapshot() {
			if !yield(v) {
				return
			}
		}
	}
}
