package sandbox

import (
	"net/http"
	"time"
)

// media is POST /api/media/{sessionId}.
func (c *CallMiner) media(x *exchange, id string) {
	s, bad := c.mediaHead(x, id)
	if bad != nil {
		x.refuse(bad.status, bad.text)
		return
	}
	if !x.meet(s.CorrelationID) {
		return
	}
	in, err := c.newIntake(s)
	if err == nil {
		err = x.receive(in)
		err = in.close(err)
	}
	switch {
	case err == errCut:
		c.settle(s, SessionIncomplete, "")
		x.line.Note = errCut.Error()
		x.abandon()
	case err != nil:
		c.log.Error("body not kept", "session_id", s.SessionID, "error", err)
		c.settle(s, SessionLost, "")
		x.refuse(http.StatusInternalServerError, "The sandbox could not keep the body.")
		return
	}
	if bad := c.mediaWhole(x, s, in); bad != nil {
		c.settle(s, SessionRefused, bad.text)
		x.refuse(bad.status, bad.text)
		return
	}
	if x.loses() {
		c.settle(s, SessionLost, "")
		x.lose()
		return
	}
	other, mining := c.latestMining(), c.o.ID("mining")
	if x.fault.Kind == StatusLate {
		time.AfterFunc(time.Duration(x.fault.Delay), func() { c.accept(s, in, mining) })
		x.answerStatus()
		return
	}
	current := c.accept(s, in, mining)
	if x.fault.Kind == ShortLength {
		current -= min(current, max(1, x.fault.ShortBy))
	}
	c.identity.answer(x, http.StatusCreated, struct {
		CurrentMediaLength int64  `json:"CurrentMediaLength"`
		TotalMediaLength   int64  `json:"TotalMediaLength"`
		MiningID           string `json:"MiningId"`
	}{current, s.TotalMediaLength, forgeID(x.fault.Kind, mining, other)})
}

// mediaHead checks everything that is known before the body.
func (c *CallMiner) mediaHead(x *exchange, id string) (*session, *refusal) {
	c.mu.Lock()
	s := c.bySession[id]
	c.mu.Unlock()
	life := c.o.Unknowns.SessionLife
	if s == nil || life > 0 && c.bench.now().Sub(s.OpenedAt) >= life {
		return nil, &refusal{http.StatusNotFound, "There is no such session."}
	}
	x.line.SessionID, x.line.CorrelationID = s.SessionID, clip(s.CorrelationID, 256)
	h := x.r.Header
	switch {
	case len(h.Values("Content-Type")) != 1 || h.Get("Content-Type") != s.MediaType:
		return nil, &refusal{http.StatusUnsupportedMediaType, "Content-Type must be the MediaType of the session."}
	case h.Get("Content-Length") == "": // the server takes it off a chunked request
		return nil, &refusal{http.StatusLengthRequired, "Content-Length is required; chunked bodies are not taken."}
	case x.r.ContentLength != s.TotalMediaLength:
		return nil, badRequest("Content-Length differs from the session's TotalMediaLength.")
	}
	return s, nil
}

// mediaWhole checks what only the whole body shows.
func (c *CallMiner) mediaWhole(x *exchange, s *session, in *intake) *refusal {
	if c.o.Unknowns.TokenCheckedAtEnd && !c.identity.good(x.r) {
		return &refusal{http.StatusUnauthorized, "The access token expired during the upload."}
	}
	if s.Segments > 0 {
		return nil // splitting long calls is what segments are for
	}
	if d, known := in.wav.duration(in.bytes); known && s.MediaType == "audio/wav" && d > callMinerMaxAudio {
		return badRequest("The recording is longer than 1 hour 45 minutes.")
	}
	return nil
}

// intake takes the bytes of one media request and tells the session.
type intake struct {
	*body
	c   *CallMiner
	s   *session
	wav *wavMeter
}

func (c *CallMiner) newIntake(s *session) (*intake, error) {
	b, err := c.newBody()
	return &intake{body: b, c: c, s: s, wav: newWAVMeter()}, err
}

// Write takes the next bytes; the first ones tell the session.
func (in *intake) Write(p []byte) (int, error) {
	in.c.arrived(in.s, len(p), in.bytes == 0)
	in.wav.Write(p)
	return in.body.Write(p)
}
