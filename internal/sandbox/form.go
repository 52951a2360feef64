package sandbox

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
)

// maxField bounds a form field that is not the recording.
const maxField = 1 << 20

// formBoundary checks the head of a multipart/form-data request and returns
// its boundary.
func (x *exchange) formBoundary() (string, *refusal) {
	h := x.r.Header
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case len(h.Values("Content-Type")) != 1 || err != nil || kind != "multipart/form-data" || params["boundary"] == "":
		return "", &refusal{http.StatusUnsupportedMediaType, "Content-Type must be multipart/form-data with a boundary."}
	case h.Get("Content-Length") == "": // the server takes it off a chunked request
		return "", &refusal{http.StatusLengthRequired, "Content-Length is required; chunked bodies are not taken."}
	}
	return params["boundary"], nil
}

// receiveForm streams a multipart body at the fault's pace and gives each part
// to take, in order. It returns errCut for a body that ended before its
// length, take's error if it had one, and another error for a form that is
// whole but broken. The whole body is always read: a vendor that answers
// early does so before it calls this.
func (x *exchange) receiveForm(boundary string, take func(*multipart.Part) error) error {
	r, w := io.Pipe()
	parsed := make(chan error, 1)
	go func() {
		err := readForm(multipart.NewReader(r, boundary), take)
		_, rest := io.Copy(io.Discard, r) // what follows the form still has to arrive
		parsed <- errors.Join(err, rest)
	}()
	err := x.receive(w)
	w.CloseWithError(err) // nil closes as io.EOF
	broken := <-parsed
	if err != nil {
		return err
	}
	return broken
}

func readForm(form *multipart.Reader, take func(*multipart.Part) error) error {
	for {
		part, err := form.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := take(part); err != nil {
			return err
		}
	}
}

// field reads a part that is a small text.
func field(part *multipart.Part) (string, error) {
	text, err := io.ReadAll(io.LimitReader(part, maxField+1))
	if err == nil && len(text) > maxField {
		err = errors.New("form field longer than 1 MiB")
	}
	return string(text), err
}
