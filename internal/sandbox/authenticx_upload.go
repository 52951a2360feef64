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
	"slices"
	"strings"
	"time"
)

// Interaction is one upload that the vendor took.
type Interaction struct {
	ID           string          `json:"id"`
	FileName     string          `json:"file_name"`
	UploadType   string          `json:"upload_type"`
	ClientCallID string          `json:"client_call_id,omitempty"`
	Metadata     json.RawMessage `json:"metadata"` // as it was sent; do not change
	Bytes        int64           `json:"bytes"`    // of the file
	SHA256       string          `json:"sha256"`   // hex
	ReceivedAt   time.Time       `json:"received_at"`
	File         string          `json:"file,omitempty"` // with Options.KeepDir
}

// The sentences of a 400.
const (
	acxDuplicate = "An interaction with this file name already exists."
	acxExtension = "You must upload a file with one of the specified allowed extensions."
	acxNoField   = "You must upload metadata in the request form."
	acxUnparsed  = "Unable to properly parse metadata to chat or audio."
	acxBadData   = "You must upload valid data in your metadata request form payload."
	acxNoObject  = "Invalid metadata form object."
	acxBadName   = "You must upload a valid file name with a valid file extension."
	acxMismatch  = "File extension in metadata file name and upload file must match!"
	acxLocale    = "Unsupported locale id provided."
	acxHierarchy = "Invalid Hierarchy Id/Code!"
)

// acxForm is what one upload brought.
type acxForm struct {
	metadata  *string
	signedURL bool
	part      string // file name of the file part; "" without a file
	body      *body
	claimed   bool // it took its name before it was whole
}

// upload is POST /Media/Upload.
func (c *AuthenticX) upload(x *exchange) {
	boundary, bad := x.formBoundary()
	if bad != nil {
		x.refuse(bad.status, bad.text)
		return
	}
	if !x.meet("") {
		return
	}
	form, err := c.receive(x, boundary)
	switch {
	case err == errCut:
		x.line.Note = errCut.Error()
		x.abandon()
	case errors.Is(err, errNotKept):
		x.refuse(http.StatusInternalServerError, "The sandbox could not keep the body.")
		return
	case err != nil:
		x.line.Note = err.Error()
		c.sentence(x, "Failed to read the request form.")
		return
	case form.signedURL:
		c.sentence(x, "The sandbox does not fetch from a signedUrl.")
		return
	}
	i, sentence := c.judge(form)
	switch {
	case sentence != "":
		c.sentence(x, sentence)
		return
	case form.body.bytes > acxMaxBytes:
		x.rejectAs(http.StatusRequestEntityTooLarge, "above 2.5 GB", "", nil)
		return
	case !x.meetNamed(i.FileName):
		return
	case x.loses():
		x.lose()
		return
	}
	i.ID = c.o.ID("interaction")
	if x.fault.Kind == StatusLate {
		time.AfterFunc(time.Duration(x.fault.Delay), func() { c.store(i, form) })
		x.answerStatus()
		return
	}
	other := c.latest()
	if !c.store(i, form) {
		c.sentence(x, acxDuplicate)
		return
	}
	c.identity.answer(x, http.StatusOK, c.receipt(x.fault, i, other))
}

// receipt is the 200 in one of its two casings.
func (c *AuthenticX) receipt(f Fault, i *Interaction, other string) any {
	kb := (i.Bytes + 512) / 1024
	if f.Kind == ShortLength {
		kb -= min(kb, max(1, f.ShortBy))
	}
	id, name := forgeID(f.Kind, i.ID, other), "/extmedia/"+path.Base(i.FileName)+".acxMedia"
	if c.o.AuthenticX.CamelCase {
		return struct {
			ID   string `json:"id"`
			Name string `json:"fileName"`
			KB   int64  `json:"fileSizeKb"`
		}{id, name, kb}
	}
	return struct {
		ID   string `json:"Id"`
		Name string `json:"FileName"`
		KB   int64  `json:"FileSizeKb"`
	}{id, name, kb}
}

var errNotKept = errors.New("body not kept")

// receive reads the whole form, its parts in any order.
func (c *AuthenticX) receive(x *exchange, boundary string) (form acxForm, err error) {
	err = x.receiveForm(boundary, func(part *multipart.Part) (err error) {
		_, params, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		switch name, file := params["name"], params["filename"]; {
		case name == "file" && file != "" && form.body == nil:
			form.part = file
			if form.body, err = c.newBody(); err != nil {
				return fmt.Errorf("%w: %w", errNotKept, err)
			}
			_, err = io.Copy(form.body, part)
		case name == "metadata" && file == "" && form.metadata == nil:
			var text string
			text, err = field(part)
			form.metadata = &text
			form.claimed = c.o.AuthenticX.TakenAtStart && c.claim(text)
		case name == "signedUrl":
			form.signedURL = true
		}
		return err
	})
	if form.body != nil {
		err = form.body.close(err)
	}
	return form, err
}

// claim takes the name of an upload that has only begun.
func (c *AuthenticX) claim(metadata string) bool {
	m, sentence := readAcx(metadata)
	c.mu.Lock()
	defer c.mu.Unlock()
	if sentence != "" || c.taken[m.FileName] {
		return false
	}
	c.taken[m.FileName] = true
	return true
}

// judge checks a whole form in the order of the documents, or says which
// sentence it deserves.
func (c *AuthenticX) judge(form acxForm) (*Interaction, string) {
	if form.metadata == nil {
		return nil, acxNoField
	}
	m, sentence := readAcx(*form.metadata)
	if sentence != "" {
		return nil, sentence
	}
	extension := strings.ToLower(path.Ext(m.FileName))
	switch {
	case extension == "" || path.Base(m.FileName) == extension:
		return nil, acxBadName
	case form.body == nil || !slices.Contains(extensionsOf(m.UploadType), strings.ToLower(path.Ext(form.part))):
		return nil, acxExtension
	case path.Ext(m.FileName) != path.Ext(form.part), !c.o.AuthenticX.LooseNames && path.Base(m.FileName) != form.part:
		return nil, acxMismatch
	case m.LocaleID != 0 && m.LocaleID != acxEnglish && m.LocaleID != acxSpanish:
		return nil, acxLocale
	case m.HierarchyID+m.HierarchyCode != "" && !knowsHierarchy(c.o.AuthenticX.Hierarchies, m.HierarchyID, m.HierarchyCode):
		return nil, acxHierarchy
	}
	return &Interaction{
		FileName: m.FileName, UploadType: m.UploadType, ClientCallID: m.ClientCallID, Metadata: json.RawMessage(*form.metadata),
		Bytes: form.body.bytes, SHA256: form.body.sha256(), File: form.body.path(),
	}, ""
}

func extensionsOf(uploadType string) []string {
	if uploadType == "Chat" {
		return []string{".tar", ".zip"}
	}
	return []string{".wav", ".mp3", ".mp4", ".ogg", ".opus", ".m4a"}
}

// store takes the file name and keeps the interaction. It reports false when
// the name is taken: the same name is refused for ever, whatever the bytes.
func (c *AuthenticX) store(i *Interaction, form acxForm) bool {
	c.mu.Lock()
	if c.taken[i.FileName] && !form.claimed {
		c.refused++
		c.mu.Unlock()
		return false
	}
	c.taken[i.FileName] = true
	i.ReceivedAt = c.now()
	c.interactions = append(c.interactions, i)
	c.mu.Unlock()
	c.log.Info("interaction stored", "id", i.ID, "file_name", i.FileName, "upload_type", i.UploadType, "bytes", i.Bytes)
	if c.o.OnStored != nil {
		c.o.OnStored(i.stored())
	}
	return true
}

// latest is the id of the newest interaction, or one that does not exist.
func (c *AuthenticX) latest() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.interactions); n > 0 {
		return c.interactions[n-1].ID
	}
	return "00000000-0000-4000-8000-000000000000"
}
