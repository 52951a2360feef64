package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"strings"
	"time"
)

// ElevateInteraction is one declared interaction.
type ElevateInteraction struct {
	ID                 string          `json:"id"`
	ExternalIdentifier string          `json:"external_identifier,omitempty"`
	OriginalFilename   string          `json:"original_filename,omitempty"`
	LanguageTag        string          `json:"language_tag"`
	Metadata           json.RawMessage `json:"metadata,omitempty"` // as it was sent; do not change
	DeclaredAt         time.Time       `json:"declared_at"`
	Uploads            int             `json:"uploads"` // that arrived whole and were taken
	UploadFailed       bool            `json:"upload_failed,omitempty"`
	Bytes              int64           `json:"bytes,omitempty"` // of the first upload
	SHA256             string          `json:"sha256,omitempty"`
	FileName           string          `json:"file_name,omitempty"`

	takenAt time.Time
	taking  bool // an upload is under way
	deleted bool
}

// elevateUpload is one file that was taken.
type elevateUpload struct {
	i    *ElevateInteraction
	name string
	body *body
	at   time.Time
}

var errNoFile = errors.New("not one file with an extension")

// upload is POST /interactions/{id}/upload.
func (c *ElevateAI) upload(x *exchange, id string) {
	i := c.known(id)
	if i == nil {
		c.no(x, http.StatusNotFound, "There is no such interaction.")
		return
	}
	x.line.SessionID, x.line.CorrelationID = i.ID, clip(i.ExternalIdentifier, 256)
	boundary, bad := x.formBoundary()
	if bad != nil {
		c.no(x, bad.status, bad.text)
		return
	}
	if most := c.o.ElevateAI.MaxBytes; most > 0 && x.r.ContentLength > most {
		c.no(x, http.StatusRequestEntityTooLarge, "The file is too large.")
		return
	}
	if !c.take(i) {
		c.no(x, http.StatusConflict, "The interaction has an upload already.")
		return
	}
	late := false
	defer func() {
		if !late {
			c.let(i)
		}
	}()
	if !x.meet(i.ExternalIdentifier) {
		return
	}
	up, err := c.receive(x, i, boundary)
	switch {
	case err == errCut:
		x.line.Note = errCut.Error()
		c.cut(i)
		x.abandon()
	case errors.Is(err, errNotKept):
		c.no(x, http.StatusInternalServerError, "The sandbox could not keep the body.")
		return
	case err != nil:
		c.no(x, http.StatusBadRequest, "The form must have exactly one file, with an extension in its name.")
		return
	case x.loses():
		c.let(i) // as in cut
		x.lose()
		return
	case x.fault.Kind == StatusLate:
		late = true
		time.AfterFunc(time.Duration(x.fault.Delay), func() { c.store(up); c.let(i) })
		x.answerStatus()
		return
	}
	other := c.latest()
	c.store(up)
	status := http.StatusCreated
	if c.o.ElevateAI.Uploaded200 {
		status = http.StatusOK
	}
	switch x.fault.Kind {
	case "", Slow, Empty:
		x.delay()
		x.write(status, "", nil)
	default:
		x.answer(status, map[string]string{"interactionIdentifier": forgeID(x.fault.Kind, i.ID, other)})
	}
}

// take begins an upload; false when the interaction's state is against it.
func (c *ElevateAI) take(i *ElevateInteraction) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	second := c.o.ElevateAI.SecondUpload
	if i.taking || i.UploadFailed || i.Uploads > 0 && (second == "" || second == SecondConflict) {
		return false
	}
	i.taking = true
	return true
}

func (c *ElevateAI) let(i *ElevateInteraction) {
	c.mu.Lock()
	i.taking = false
	c.mu.Unlock()
}

// cut is what an upload that ended early leaves behind.
func (c *ElevateAI) cut(i *ElevateInteraction) {
	c.mu.Lock()
	i.UploadFailed = c.o.ElevateAI.CutFails && i.Uploads == 0
	i.taking = false // before the client can see the end of its connection
	c.mu.Unlock()
}

// receive reads a form of exactly one file, whose name has an extension. What
// the part is called is not looked at: the vendor's own SDKs disagree on it.
func (c *ElevateAI) receive(x *exchange, i *ElevateInteraction, boundary string) (*elevateUpload, error) {
	up := &elevateUpload{i: i}
	err := x.receiveForm(boundary, func(part *multipart.Part) (err error) {
		_, params, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if up.body != nil || len(path.Ext(params["filename"])) < 2 {
			return errNoFile
		}
		up.name = params["filename"]
		if up.body, err = c.newBody(); err != nil {
			return fmt.Errorf("%w: %w", errNotKept, err)
		}
		_, err = io.Copy(up.body, part)
		return err
	})
	if up.body == nil {
		if err == nil {
			err = errNoFile
		}
		return nil, err
	}
	return up, up.body.close(err)
}

// store takes a whole file in.
func (c *ElevateAI) store(up *elevateUpload) {
	i := up.i
	c.mu.Lock()
	up.at = c.now()
	if i.Uploads > 0 && c.o.ElevateAI.SecondUpload == SecondIgnored {
		c.mu.Unlock()
		return
	}
	if i.Uploads++; i.Uploads == 1 {
		i.takenAt, i.Bytes, i.SHA256, i.FileName = up.at, up.body.bytes, up.body.sha256(), up.name
	}
	c.uploads = append(c.uploads, up)
	stored := c.stored(up)
	c.mu.Unlock()
	c.log.Info("recording taken in", "id", i.ID, "external_identifier", i.ExternalIdentifier, "bytes", stored.Bytes)
	if c.o.OnStored != nil {
		c.o.OnStored(stored)
	}
}

// latest is the interaction of the newest upload, or one that does not exist.
func (c *ElevateAI) latest() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.uploads); n > 0 {
		return c.uploads[n-1].i.ID
	}
	return "00000000-0000-4000-8000-000000000000"
}

// status is GET /interactions/{id}/status.
func (c *ElevateAI) status(x *exchange, id string) {
	i := c.known(id)
	c.mu.Lock()
	now, key := c.now(), strings.ToLower(id)
	if last, asked := c.asked[key]; asked && now.Sub(last) < elevatePoll {
		c.fastPolls++
	}
	c.asked[key] = now
	c.mu.Unlock()
	switch {
	case i == nil:
		c.no(x, http.StatusNotFound, "There is no such interaction.")
		return
	case !x.meet(i.ExternalIdentifier):
		return
	case x.loses():
		x.lose()
		return
	}
	x.line.SessionID = i.ID
	c.mu.Lock()
	answer := c.describe(i, now)
	c.mu.Unlock()
	x.answer(http.StatusOK, answer)
}

// elevateStatus is the answer to a status question.
type elevateStatus struct {
	Identifier   string  `json:"identifier"`
	Status       string  `json:"status"`
	Declared     string  `json:"declared"`
	Uploaded     *string `json:"uploaded"`
	Downloaded   *string `json:"downloaded"`
	Processed    *string `json:"processed"`
	ErrorMessage *string `json:"errorMessage"`
}

// describe says where an interaction stands. The names between the documented
// ones are the sandbox's own, so that nobody can rely on them. The caller
// holds the lock.
func (c *ElevateAI) describe(i *ElevateInteraction, now time.Time) elevateStatus {
	s := elevateStatus{Identifier: i.ID, Status: "sandboxWaiting", Declared: c.stamp(i.DeclaredAt)}
	at := func(t time.Time) *string { text := c.stamp(t); return &text }
	uploaded, processed := i.takenAt.Add(c.o.ElevateAI.UploadedAfter), i.takenAt.Add(c.o.ElevateAI.ProcessedAfter)
	switch {
	case i.UploadFailed:
		s.Status, s.ErrorMessage = "fileUploadFailed", at(now)
		*s.ErrorMessage = "The upload ended early."
	case i.Uploads == 0:
	case now.Before(uploaded):
		s.Status = "sandboxTaking"
	case now.Before(processed):
		s.Status, s.Uploaded = "sandboxQueued", at(uploaded)
	case c.o.ElevateAI.ProcessingFails:
		s.Status, s.Uploaded, s.Processed, s.ErrorMessage = "processingFailed", at(uploaded), at(processed), at(now)
		*s.ErrorMessage = "The audio could not be processed."
	default:
		s.Status, s.Uploaded, s.Processed = "processed", at(uploaded), at(processed)
	}
	return s
}

// stamp prints a time with three to seven digits of a second, in turn.
func (c *ElevateAI) stamp(t time.Time) string {
	c.times++
	return t.UTC().Format("2006-01-02T15:04:05." + strings.Repeat("0", 3+c.times%5) + "Z")
}

// parameters is GET /interactions/{id}: what was declared, as far as the
// documents return it.
func (c *ElevateAI) parameters(x *exchange, id string) {
	i := c.known(id)
	if i == nil {
		c.no(x, http.StatusNotFound, "There is no such interaction.")
		return
	}
	x.reply(http.StatusOK, map[string]any{"identifier": i.ID, "type": "audio", "languageTag": i.LanguageTag, "vertical": "default"})
}

// remove is DELETE /interactions/{id}.
func (c *ElevateAI) remove(x *exchange, id string) {
	i := c.known(id)
	if i == nil {
		c.no(x, http.StatusNotFound, "There is no such interaction.")
		return
	}
	c.mu.Lock()
	i.deleted = true
	c.mu.Unlock()
	x.write(http.StatusOK, "", nil)
}
