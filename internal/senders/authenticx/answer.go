package authenticx

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"ingestd/internal/senders"
)

// interaction is what the vendor says about one upload, in either casing.
type interaction struct {
	ID         *string  `json:"Id"`
	FileName   *string  `json:"FileName"`
	FileSizeKB *float64 `json:"FileSizeKb"`
}

const nilGUID = "00000000-0000-0000-0000-000000000000"

// readReceipt checks the evidence in a 200: the id, and our own file name. The
// vendor appends ".acxMedia" to the name and may put a directory before it, so
// it is compared as a prefix. What FileSizeKb counts is not documented well
// enough to judge by; it stands in the history.
func (c *Client) readReceipt(a senders.Answer, r *request) (senders.Receipt, error) {
	var got interaction
	if a.BodyErr != nil || json.Unmarshal(a.Body, &got) != nil || got.ID == nil || got.FileName == nil {
		return senders.Receipt{}, c.failed(a)
	}
	switch {
	case !strings.HasPrefix(baseName(*got.FileName), path.Base(r.metadata.FileName)):
		return senders.Receipt{}, held(a, "foreign_id", "AuthenticX's answer names another upload; look the FileName up there")
	case !guid.MatchString(*got.ID) || *got.ID == nilGUID:
		return senders.Receipt{}, held(a, "bad_remote_id", "AuthenticX took the upload but its Id is empty or malformed; look the FileName up there")
	case !c.given.First("interaction", *got.ID):
		return senders.Receipt{}, held(a, "foreign_id", "AuthenticX answered with the Id of another upload; look the FileName up there")
	}
	ids := r.ids()
	ids[idInteraction] = *got.ID
	text := "AuthenticX stored the recording"
	if got.FileSizeKB != nil {
		text += fmt.Sprintf(" and counts %.0f KB of its %d bytes", *got.FileSizeKB, r.size)
	}
	return senders.Receipt{IDs: ids, HTTPStatus: a.Status, Text: text}, nil
}

// duplicateText begins the refusal of a FileName that is in use.
const duplicateText = "An interaction with this file name already exists"

// refusals are the other texts of a 400 (documentation, media upload error
// handling): plain English without codes, matched at their beginning.
func refusals() []struct{ begins, code, text string } {
	return []struct{ begins, code, text string }{
		{"You must upload a file with one of the specified allowed extensions", "unsupported_format", "AuthenticX refused the file's extension"},
		{"You must upload metadata in the request form", "bad_request", "AuthenticX found no metadata in the request; report this"},
		{"Unable to properly parse metadata", "bad_metadata", "AuthenticX could not read the metadata; compare `ingestd plan` with its documentation"},
		{"You must upload valid data in your metadata", "bad_metadata", "AuthenticX refused the metadata; compare `ingestd plan` with its documentation"},
		{"Invalid metadata form object", "bad_metadata", "AuthenticX refused the metadata as a whole; compare `ingestd plan` with its documentation"},
		{"You must upload a valid file name", "bad_file_name", "AuthenticX refused the file name; check file_name_prefix"},
		{"File extension in metadata file name and upload file must match", "bad_file_name", "AuthenticX found two different extensions; report this"},
		{"Unsupported locale id provided", "unsupported_language", "AuthenticX refused the LocaleId; it takes 1033 (English) and 2058 (Spanish)"},
		{"Invalid Hierarchy Id/Code", "unknown_hierarchy", "AuthenticX does not know the HierarchyId or HierarchyCode; correct it, or have it created there"},
	}
}

// readRefusal decides about a 400 by its text. Only the documented texts are
// believed: an unknown one is never guessed to be a duplicate, nor to be final.
func (c *Client) readRefusal(ctx context.Context, answer senders.Answer, a senders.Attempt, r *request) (senders.Receipt, error) {
	text := plainText(answer)
	if begins(text, duplicateText) {
		return c.duplicate(ctx, answer, a, r)
	}
	for _, known := range refusals() {
		if begins(text, known.begins) {
			e := refused(known.code, known.text, nil)
			e.HTTPStatus, e.Bytes = answer.Status, answer.Sent
			return senders.Receipt{}, e
		}
	}
	return senders.Receipt{}, held(answer, "unknown_refusal", "AuthenticX refused the upload with a text that its documentation does not have; ask its support with the FileName and the time, then `ingestd retry`")
}

// duplicate settles a FileName that is in use. When an earlier attempt of this
// delivery may have reached the vendor whole, it did: the name is made of the
// delivery's key. The id is looked up, and a list that cannot be had is no
// reason to doubt. A list that denies what the refusal says is: when the vendor
// takes a name is not documented, so an upload that it lost may have used its
// name up.
func (c *Client) duplicate(ctx context.Context, answer senders.Answer, a senders.Attempt, r *request) (senders.Receipt, error) {
	there, asked := c.find(ctx, r.metadata.FileName, r.metadata.ClientCallID, a.Began)
	found := asked == nil && there != nil
	if !a.Own {
		e := held(answer, "duplicate_foreign", "AuthenticX already holds this file name, and this ledger never sent it; a lost ledger or a second ingestd with this destination's name would do that: look at the interaction there")
		if found && there.KiloBytes != nil {
			e.Text += fmt.Sprintf(" (it counts %.0f KB, this recording has %d bytes)", *there.KiloBytes, r.size)
		}
		return senders.Receipt{}, e
	}
	if asked == nil && there == nil {
		return senders.Receipt{}, held(answer, "duplicate_unlisted", "AuthenticX refuses the file name as used but does not list the recording; it may be listed later: `ingestd retry` looks again, and if it is never listed, ask its support to free the name")
	}
	ids, text := r.ids(), "AuthenticX has it from an earlier attempt: it refused the same file name"
	if found {
		ids[idInteraction] = there.ID
	} else {
		text += "; its id could not be looked up"
	}
	return senders.Receipt{IDs: ids, HTTPStatus: answer.Status, Text: text, Duplicate: true}, nil
}

// plainText is the text of a refusal: bare, or a JSON string.
func plainText(a senders.Answer) string {
	body := bytes.TrimSpace(bytes.TrimPrefix(a.Body, []byte("\ufeff")))
	var quoted string
	if json.Unmarshal(body, &quoted) == nil {
		return strings.TrimSpace(quoted)
	}
	return string(body)
}

func begins(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}

func held(a senders.Answer, code, text string) *senders.Error {
	return &senders.Error{Class: senders.Held, Code: code, Text: text, HTTPStatus: a.Status, Bytes: a.Sent}
}

// baseName of a stored path, whichever slash the vendor writes.
func baseName(name string) string {
	return name[strings.LastIndexAny(name, `/\`)+1:]
}
