package sandbox

import (
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// upload is POST .../audio: a new process for every whole recording.
func (v *BehavioralSignals) upload(x *exchange, cid string) {
	boundary, bad := x.formBoundary()
	query := x.r.URL.Query()
	if bad == nil && v.legacy {
		bad = legacyQuery(query)
	}
	if bad != nil {
		x.vendorRefuses(bad)
		return
	}
	if !x.meet(query.Get("name")) {
		return
	}
	in := &behavioralForm{bench: v.bench, fields: map[string]string{}}
	err := x.receiveForm(boundary, in.take)
	if in.body != nil {
		err = in.body.close(err)
	}
	p := in.process(cid)
	if v.legacy {
		p.Name, p.Meta, p.Query = text(query.Get("name")), text(query.Get("meta")), flat(query)
	}
	if p.Name != nil {
		x.line.CorrelationID = clip(*p.Name, 256)
	}
	if err == nil && !v.legacy {
		if bad := in.v5Fields(); bad != nil {
			err = bad
		}
	}
	var refused *refusal
	switch {
	case errors.Is(err, errCut):
		x.line.Note = errCut.Error()
		x.abandon()
	case errors.As(err, &refused):
		x.vendorRefuses(refused)
		return
	case err != nil:
		x.vendorRefuses(badRequest("The form cannot be read: %v", err))
		return
	case in.body == nil || in.body.bytes == 0:
		x.vendorRefuses(badRequest("The form has no file, or an empty one."))
		return
	}
	if x.loses() {
		x.lose()
		return
	}
	p.PID = v.number()
	if x.fault.Kind == StatusLate {
		time.AfterFunc(time.Duration(x.fault.Delay), func() { v.insert(p) })
		x.answerStatus()
		return
	}
	v.insert(p)
	x.answer(http.StatusOK, v.receipt(x, p))
}

// behavioralForm takes the parts of an upload, in any order.
type behavioralForm struct {
	bench  *bench
	fields map[string]string
	file   string
	body   *body
}

func (in *behavioralForm) take(part *multipart.Part) error {
	name := part.FormName()
	switch {
	case name == "file" && in.body != nil:
		return badRequest("The form has two files.")
	case name == "file" && part.FileName() == "":
		return badRequest("The part file has no file name.")
	case name == "file":
		in.file = part.FileName()
		b, err := in.bench.newBody()
		if err != nil {
			return err
		}
		in.body = b
		_, err = io.Copy(b, part)
		return err
	}
	value, err := field(part)
	if _, twice := in.fields[name]; err == nil && twice {
		err = badRequest("The form has the field %s twice.", name)
	}
	in.fields[name] = value
	return err
}

// v5Fields refuses what the SDK says the server would.
func (in *behavioralForm) v5Fields() *refusal {
	if meta := in.fields["meta"]; meta != "" && !json.Valid([]byte(meta)) {
		return badRequest("meta must be valid JSON.")
	}
	if e := in.fields["embeddings"]; e != "" && !strings.EqualFold(e, "true") && !strings.EqualFold(e, "false") {
		return badRequest("embeddings must be true or false.")
	}
	return nil
}

func (in *behavioralForm) process(cid string) *Process {
	p := &Process{CID: cid, Name: in.text("name"), Meta: in.text("meta"), FileName: in.file}
	if in.body != nil {
		p.Bytes, p.SHA256, p.File = in.body.bytes, in.body.sha256(), in.body.path()
	}
	return p
}

func (in *behavioralForm) text(name string) *string { return text(in.fields[name]) }

// text is null when it is not there.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func flat(query url.Values) map[string]string {
	out := map[string]string{}
	for name, values := range query {
		out[name] = strings.Join(values, ",")
	}
	return out
}

// legacyQuery refuses what the older API's page calls required, and values of
// another kind than its own clients send.
func legacyQuery(q url.Values) *refusal {
	for name, values := range q {
		if len(values) > 1 {
			return badRequest("%s is given twice.", name)
		}
	}
	if c := q.Get("channels"); c != "1" && c != "2" {
		return badRequest("channels must be 1 or 2.")
	}
	if d := q.Get("calldirection"); d != "1" && d != "2" {
		return badRequest("calldirection must be 1 or 2.")
	}
	if at := q.Get("calltime"); at != "" {
		if _, err := time.Parse("01/02/2006 15:04:05", at); err != nil {
			return badRequest("calltime must be MM/DD/YYYY HH:MM:SS.")
		}
	}
	if zone := q.Get("timezone"); zone != "" {
		if _, err := strconv.Atoi(zone); err != nil {
			return badRequest("timezone must be an integer.")
		}
	}
	for _, name := range []string{"meta", "tasks"} {
		if s := q.Get(name); s != "" && !json.Valid([]byte(s)) {
			return badRequest("%s must be JSON.", name)
		}
	}
	return nil
}

// receipt is the answer to an upload: the process, and in the older API the
// fields that were sent.
func (v *BehavioralSignals) receipt(x *exchange, p *Process) any {
	out := v.object(p, true)
	pid := "pid"
	if v.legacy {
		for name, value := range p.Query {
			out[name] = value
		}
		out["source"] = p.FileName
		if v.u.IDForPID {
			pid = "id"
			delete(out, "pid")
		}
	}
	out[pid] = v.forged(x.fault.Kind, p.PID)
	return out
}

// forged is the number that the fault wants instead of the true one.
func (v *BehavioralSignals) forged(k Kind, pid int64) any {
	switch k {
	case IDOther:
		return v.other(pid)
	case IDHuge, IDPath, IDCRLF:
		return forgeID(k, strconv.FormatInt(pid, 10), "")
	}
	return pid
}
