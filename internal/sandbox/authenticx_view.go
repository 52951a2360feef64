package sandbox

import (
	"cmp"
	"iter"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// listing is one entry of GET /Metadata.
type listing struct {
	ID                string    `json:"id"`
	FileName          string    `json:"fileName"`
	OrigFileName      string    `json:"origFileName"`
	UploadedFileName  *string   `json:"uploadedFileName"`
	FileSizeKiloBytes int64     `json:"fileSizeKiloBytes"`
	MediaType         string    `json:"mediaType"`
	Status            string    `json:"status"`
	ArrivedOn         time.Time `json:"arrivedOn"`
	ClientCallID      *string   `json:"clientCallId"`
}

const (
	acxPage    = 10 // default and most of a page, as the vendor's other routes say
	acxMaxPage = 1000
	acxMaxIDs  = 100
)

// list is GET /Metadata: by time of arrival and call id, page by page.
func (c *AuthenticX) list(x *exchange) {
	q := x.r.URL.Query()
	var start, end time.Time
	size := acxPage
	var sizeErr error
	if text := q.Get("PageSize"); text != "" {
		size, sizeErr = strconv.Atoi(text)
	}
	ids := strings.Split(q.Get("ClientCallId"), ",")
	switch {
	case !acxDate(q.Get("StartDate"), &start) || !acxDate(q.Get("EndDate"), &end):
		x.rejectAs(http.StatusBadRequest, "a date is missing or unreadable", "text/plain; charset=utf-8", []byte("StartDate and EndDate are required."))
		return
	case end.Before(start):
		x.rejectAs(http.StatusBadRequest, "EndDate before StartDate", "text/plain; charset=utf-8", []byte("EndDate must be equal to or later than StartDate."))
		return
	case len(ids) > acxMaxIDs || sizeErr != nil || size < 1 || size > acxMaxPage:
		x.rejectAs(http.StatusBadRequest, "too many ids, or a bad PageSize", "text/plain; charset=utf-8", []byte("Invalid query."))
		return
	}
	if !x.meet("") {
		return
	}
	if x.loses() {
		x.lose()
		return
	}
	page := []listing{}
	after := q.Get("LastId") == ""
	for _, i := range c.Interactions() {
		mediaType := q.Get("MediaType")
		switch {
		case !after:
			after = i.ID == q.Get("LastId")
		case i.ReceivedAt.Before(start) || i.ReceivedAt.After(end),
			c.bench.now().Before(i.ReceivedAt.Add(c.o.AuthenticX.ListingDelay)),
			q.Get("ClientCallId") != "" && !slices.Contains(ids, i.ClientCallID),
			mediaType != "" && mediaType != i.UploadType:
		case len(page) < size:
			page = append(page, i.listing())
		}
	}
	c.identity.answer(x, http.StatusOK, page)
}

func (i *Interaction) listing() listing {
	l := listing{
		ID: i.ID, FileName: path.Base(i.FileName) + ".acxMedia", OrigFileName: i.FileName, FileSizeKiloBytes: (i.Bytes + 512) / 1024,
		MediaType: i.UploadType, Status: "ReadyToSample", ArrivedOn: i.ReceivedAt.UTC(),
	}
	if i.ClientCallID != "" {
		l.ClientCallID = &i.ClientCallID
	}
	return l
}

// AuthenticXSummary counts everything since the start.
type AuthenticXSummary struct {
	Interactions map[string]int64 `json:"interactions"` // by upload type
	Refused      int64            `json:"refused"`      // uploads under a name that was taken
	Counters
}

// Interactions returns all interactions in the order they arrived.
func (c *AuthenticX) Interactions() []Interaction {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Interaction, len(c.interactions))
	for n, i := range c.interactions {
		out[n] = *i
		out[n].Metadata = slices.Clone(i.Metadata)
	}
	return out
}

// Summary returns the counters.
func (c *AuthenticX) Summary() AuthenticXSummary {
	s := AuthenticXSummary{Interactions: map[string]int64{}, Counters: c.Counters()}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.interactions {
		s.Interactions[i.UploadType]++
	}
	s.Refused = c.refused
	return s
}

// Stored returns the interactions as every vendor's recordings are shown: each
// will be analysed, because a second one of a name is never taken.
func (c *AuthenticX) Stored() []Stored {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Stored, len(c.interactions))
	for n, i := range c.interactions {
		out[n] = i.stored()
	}
	return out
}

func (i *Interaction) stored() Stored {
	return Stored{Key: i.FileName, ID: i.ID, Effect: true, State: "stored", Bytes: i.Bytes, SHA256: i.SHA256, ReceivedAt: i.ReceivedAt}
}

// Settings are the lines of a destination that reaches this fake.
func (c *AuthenticX) Settings(base, secret string) []string {
	base += strings.TrimSuffix(c.o.BasePath, "/")
	return []string{
		`type = "authenticx"`,
		`base_url = "` + base + `"`,
		`token_url = "` + base + `/connect/token"`,
		`client_id = "` + cmp.Or(c.o.ClientID, "any") + `"`,
		`client_secret = "` + secret + `"`,
	}
}

// lists are the line-per-object lists of the view.
func (c *AuthenticX) lists() map[string]iter.Seq[any] {
	return map[string]iter.Seq[any]{
		"interactions": anySeq(c.Interactions),
		"requests":     anySeq(c.Requests),
	}
}
