package authenticx

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ingestd/internal/senders"
)

// Limits of one question. The window is about arrival at the vendor, whose
// clock may differ; it begins long before, because a person's retry forgets
// when the first attempt was. The call id alone is precise.
const (
	askedBefore = 7 * 24 * time.Hour
	askedAfter  = time.Hour
	askPageSize = 100
	askPages    = 50
)

// listed is one entry of GET /Metadata.
type listed struct {
	ID           string   `json:"id"`
	FileName     string   `json:"fileName"`     // as stored
	OrigFileName string   `json:"origFileName"` // as uploaded
	KiloBytes    *float64 `json:"fileSizeKiloBytes"`
}

// is reports whether the entry is the upload of that name. The stored name has
// an ending of its own, which stands in when the other is missing.
func (l listed) is(fileName string) bool {
	want := baseName(fileName)
	if l.OrigFileName != "" {
		return baseName(l.OrigFileName) == want
	}
	return strings.HasPrefix(baseName(l.FileName), want+".")
}

var errListing = errors.New("the vendor's list could not be read to its end")

// find asks GET /Metadata for our upload; nil means that the whole list does
// not have it. No media type is named: what the vendor makes of a chat archive
// or a film is not documented.
func (c *Client) find(ctx context.Context, fileName, clientCallID string, since time.Time) (*listed, error) {
	if clientCallID == "" {
		return nil, errors.New("no ClientCallId was sent")
	}
	q := url.Values{
		"ClientCallId": {clientCallID}, "PageSize": {strconv.Itoa(askPageSize)},
		"StartDate": {since.Add(-askedBefore).UTC().Format(time.RFC3339)},
		"EndDate":   {c.deps.Now().Add(askedAfter).UTC().Format(time.RFC3339)},
	}
	for range askPages {
		answer, err := c.get(ctx, c.base+"/Metadata?"+q.Encode())
		if err != nil {
			return nil, err
		}
		var page []listed
		if json.Unmarshal(answer.Body, &page) != nil || page == nil {
			return nil, errListing
		}
		for _, l := range page {
			if l.is(fileName) && guid.MatchString(l.ID) {
				return &l, nil
			}
		}
		if len(page) == 0 {
			return nil, nil
		}
		last := page[len(page)-1].ID
		if !guid.MatchString(last) || last == q.Get("LastId") {
			return nil, errListing
		}
		q.Set("LastId", last)
	}
	return nil, errListing
}

// Reconcile implements senders.Reconciler: it asks for the name and call id
// that were journalled before the upload. How soon an upload is listed is not
// documented; the pipeline lets "absent" stand before it believes it.
func (c *Client) Reconcile(ctx context.Context, a senders.Attempt) (senders.Verdict, error) {
	name := a.IDs[idFileName]
	if name == "" {
		return senders.Verdict{Text: "AuthenticX cannot be asked: the ledger has no file name of an earlier attempt"}, nil
	}
	there, err := c.find(ctx, name, a.IDs[idClientCallID], a.Began)
	var e *senders.Error
	switch {
	case errors.As(err, &e) && e.HTTPStatus != http.StatusForbidden && e.HTTPStatus != http.StatusNotFound:
		if e.Class == senders.Held {
			e.Class = senders.Refused // a redirect may go away: no reason to give up asking
		}
		return senders.Verdict{Text: "AuthenticX's list could not be read; the doubt stays"}, e
	case e != nil:
		// It concerns this route alone: uploads go on.
		return senders.Verdict{Text: "AuthenticX does not let this client read its list; ask for the right to read metadata"}, nil
	case err != nil:
		return senders.Verdict{Text: "AuthenticX could not be asked: " + err.Error()}, nil
	case there == nil:
		return senders.Verdict{Outcome: senders.Absent, Text: "AuthenticX does not list the recording"}, nil
	}
	return senders.Verdict{
		Outcome: senders.Present, IDs: map[string]string{idInteraction: there.ID},
		Text: "AuthenticX lists the recording, so it arrived",
	}, nil
}
