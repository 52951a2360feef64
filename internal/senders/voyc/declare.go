package voyc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"ingestd/internal/senders"
)

// declare is step 1. It puts what the ledger must hold before the first byte
// of media into ids. A lost or unclear answer may have made a conversation,
// and nobody can be asked: it is a doubt.
func (c *Client) declare(ctx context.Context, a senders.Attempt, d *declaration, j senders.Journal, ids map[string]string) (*target, error) {
	if err := j.Declaring(); err != nil {
		return nil, senders.NotJournalled(err, nil)
	}
	answer := c.api.JSON(ctx, http.MethodPost, c.config.uploadDataURL(), senders.Bearer(d.token), d.request.body)
	answer.Passed = true
	if answer.Status < 200 || answer.Status > 299 {
		return nil, c.declareFailed(answer, d.request)
	}
	t, err := c.readTarget(answer, a, ids)
	if err != nil {
		err.IDs = ids
		return nil, err
	}
	ids[idTarget] = t.store()
	return t, nil
}

// readTarget finds the target in a success answer. One that is not understood
// is held whatever on_doubt says: a conversation exists, and a second answer
// would be no better.
func (c *Client) readTarget(answer senders.Answer, a senders.Attempt, ids map[string]string) (*target, *senders.Error) {
	held := func(code, format string, args ...any) *senders.Error {
		return &senders.Error{Class: senders.Held, Code: code, Text: fmt.Sprintf(format, args...), HTTPStatus: answer.Status, Bytes: answer.Sent}
	}
	const after = "; nothing was uploaded and step 1 is not repeated by itself"
	if answer.BodyErr != nil {
		e := held("declare_in_doubt", "Voyc's answer to step 1 did not arrive whole%s", after)
		e.Err = answer.BodyErr
		return nil, e
	}
	root, err := parse(answer.Body)
	if err != nil {
		return nil, held("unknown_answer", "Voyc answered step 1 with %d bytes that are not JSON; a proxy or a login page may stand in between%s", len(answer.Body), after)
	}
	keepConversation(root, a, ids)
	t := findTarget(root)
	switch {
	case t == nil && hasCredentials(root):
		return nil, held("unknown_answer", "Voyc answered step 1 with temporary credentials for S3, which are not supported; ask Voyc for presigned uploads. The form of the answer: %s", root.shape())
	case t == nil:
		return nil, held("unknown_answer", "Voyc answered step 1 in a form that is not known%s. The form of the answer: %s", after, root.shape())
	case t.wrong(c.trusted, c.config.UploadHosts) != "":
		return nil, held("ssrf", "Voyc's answer names an upload address %s%s; ask Voyc where it stores recordings. The form of the answer: %s", t.wrong(c.trusted, c.config.UploadHosts), after, root.shape())
	case !c.given.First("target", t.place(fileName(a.Item))):
		return nil, held("foreign_id", "Voyc gave out the same place for two recordings, and one would replace the other%s", after)
	}
	// The end of its life is told by Voyc's clock; ours may differ.
	now := c.deps.Now()
	if theirs, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		t.Expires = t.Expires.Add(now.Sub(theirs))
	}
	if !t.lasts(now, a.File.Bytes) {
		return nil, held("target_too_short", "Voyc's upload target is good for %s, and this recording may need %s%s; ask Voyc for a longer life", max(t.Expires.Sub(now), 0).Round(time.Second), senders.Longest(a.File.Bytes).Round(time.Second), after)
	}
	return t, nil
}

var remoteID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// keepConversation notes what the answer calls the conversation: nothing
// depends on it, but a person may ask Voyc about it. The one that a target
// without audio belonged to is kept beside it.
func keepConversation(root *node, a senders.Attempt, ids map[string]string) {
	for _, o := range []*node{root, root.get("conversation"), root.get("data")} {
		for _, key := range []string{"conversation_id", "id", "uuid"} {
			if o == nil {
				continue
			}
			id, ok := o.get(key).scalar()
			if !ok || !remoteID.MatchString(id) {
				continue
			}
			ids[idConversation] = id
			if former := a.IDs[idConversation]; former != "" && former != id {
				ids[idOrphan] = former
			}
			return
		}
	}
}

func hasCredentials(root *node) bool {
	for _, o := range root.objects() {
		for _, pair := range [][2]string{{"AccessKeyId", "SecretAccessKey"}, {"access_key_id", "secret_access_key"}, {"access_key", "secret_key"}} {
			if o.get(pair[0]) != nil && o.get(pair[1]) != nil {
				return true
			}
		}
	}
	return false
}

// declareFailed classifies an answer to step 1 that is no success.
func (c *Client) declareFailed(a senders.Answer, r *request) *senders.Error {
	now := c.deps.Now()
	e := senders.Classify(a, now)
	switch {
	case e.Class == senders.InDoubt && c.config.OnDoubt == senders.OnDoubtResend:
		e.Class, e.Code = senders.Refused, senders.CodeOrphanDeclare
		e.Text = `whether Voyc made a conversation is unknown; on_doubt = "resend", so another is made and the first may stay without audio`
	case e.Class == senders.InDoubt:
		e.Text = "whether Voyc made a conversation is unknown and it cannot be asked; look there for the recording's ingestd_key, then `ingestd retry` makes a new one"
	case e.Class == senders.RateLimited:
		e.RetryAfter = max(e.RetryAfter, time.Second)
		c.deps.Lane.Pause(now.Add(e.RetryAfter), "rate_limited")
	case a.Status == http.StatusForbidden, a.Status == http.StatusUnauthorized:
		// Without or with wrong credentials the platform answers 403.
		e.Code, e.Text = "auth", "Voyc refused the token, or it may not upload to this organisation; check token, organisation_id and channel_id"
	case a.Status == http.StatusNotFound:
		e.Text = "Voyc does not know the address for conversations; check base_url and organisation_id"
	case a.Status == http.StatusBadRequest:
		if attr := refusedField(a.Body, r.data); attr != "" {
			e.Text = fmt.Sprintf("Voyc refused the value of %s; correct its mapping or the sidecar", attr)
		}
	}
	return e
}

// refusedField is the field that a validation error names, if it is one that
// was sent.
func refusedField(body []byte, sent map[string]any) string {
	var got struct{ Errors []struct{ Attr string } }
	if json.Unmarshal(body, &got) != nil {
		return ""
	}
	for _, e := range got.Errors {
		if _, ok := sent[e.Attr]; ok {
			return e.Attr
		}
	}
	return ""
}
