package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxJSON bounds the JSON body that the sandbox reads, which must be held
// whole. The vendor takes up to 1 GiB.
const maxJSON = 16 << 20

// refusal is a no with its status and the reason.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func badRequest(format string, args ...any) *refusal {
	return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// item is one metadata pair.
type item struct{ Key, Value string }

// fields are the members of a JSON object by their exact names: the guide
// writes them in one way, so another spelling counts as missing.
type fields map[string]json.RawMessage

// readFields reads the JSON object of a request. It ends the exchange itself
// when the client's body was cut.
func readFields(x *exchange) (fields, *refusal) {
	media, params, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	charset, has := params["charset"]
	if err != nil || media != "application/json" || has && !strings.EqualFold(charset, "utf-8") {
		return nil, &refusal{http.StatusUnsupportedMediaType, "Content-Type must be application/json; charset=utf-8."}
	}
	body, err := io.ReadAll(io.LimitReader(x.r.Body, maxJSON+1))
	x.line.Bytes = int64(len(body))
	if err != nil {
		x.line.Note = "body cut short"
		x.drop()
	}
	if len(body) > maxJSON {
		return nil, &refusal{http.StatusRequestEntityTooLarge, "The sandbox reads at most 16 MiB of JSON."}
	}
	var f fields
	if !utf8.Valid(body) || json.Unmarshal(body, &f) != nil || f == nil {
		return nil, badRequest("The body is not a JSON object in UTF-8.")
	}
	return f, nil
}

// has reports whether the member is there and not null.
func (f fields) has(name string) bool {
	raw, ok := f[name]
	return ok && string(raw) != "null"
}

// text reads an optional string.
func (f fields) text(name string, to *string) *refusal {
	if !f.has(name) {
		return nil
	}
	if json.Unmarshal(f[name], to) != nil {
		return badRequest("%s must be a string.", name)
	}
	return nil
}

// required reads a string that must be there and hold something.
func (f fields) required(name string, to *string) *refusal {
	if bad := f.text(name, to); bad != nil {
		return bad
	}
	if *to == "" {
		return badRequest("%s is required.", name)
	}
	return nil
}

// length reads TotalMediaLength: whole bytes, at least one, at most 1 GiB.
func (f fields) length(to *int64) *refusal {
	const name = "TotalMediaLength"
	if !f.has(name) {
		return badRequest("%s is required.", name)
	}
	n, err := strconv.ParseInt(string(f[name]), 10, 64)
	if err != nil || n < 1 {
		return badRequest("%s must be a whole number of bytes above zero.", name)
	}
	if n > callMinerMaxBytes {
		return badRequest("%s is above the limit of 1,073,741,824 bytes.", name)
	}
	*to = n
	return nil
}

// items reads the Metadata array: at least one pair, both halves strings.
func (f fields) items() ([]item, *refusal) {
	var raw []fields
	if !f.has("Metadata") || json.Unmarshal(f["Metadata"], &raw) != nil || len(raw) == 0 {
		return nil, badRequest("Metadata must be an array with at least one item.")
	}
	items := make([]item, len(raw))
	for i, r := range raw {
		if bad := r.required("Key", &items[i].Key); bad != nil {
			return nil, badRequest("Metadata[%d]: %s", i, bad.text)
		}
		if !r.has("Value") {
			return nil, badRequest("Metadata[%d]: Value is required.", i)
		}
		if bad := r.text("Value", &items[i].Value); bad != nil {
			return nil, badRequest("Metadata[%d]: %s", i, bad.text)
		}
	}
	return items, nil
}

// tenths reads a number of seconds with at most one decimal, as tenths.
func (f fields) tenths(name string) (int64, *refusal) {
	if !f.has(name) {
		return 0, badRequest("%s is required.", name)
	}
	whole, fraction, _ := strings.Cut(string(f[name]), ".")
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > 1 {
		return 0, badRequest("%s must have at most one decimal.", name)
	}
	if fraction == "" {
		fraction = "0"
	}
	n, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil || n < 0 {
		return 0, badRequest("%s must be a number of seconds.", name)
	}
	return n, nil
}
