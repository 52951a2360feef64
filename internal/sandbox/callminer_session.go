package sandbox

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SessionState says how far a media session came.
type SessionState string

const (
	// SessionOpen: no media byte has arrived.
	SessionOpen SessionState = "open"
	// SessionReceiving: media bytes are arriving.
	SessionReceiving SessionState = "receiving"
	// SessionIncomplete: the last body ended early.
	SessionIncomplete SessionState = "incomplete"
	// SessionLost: a fault threw the whole body away.
	SessionLost SessionState = "lost"
	// SessionRefused: the whole body was refused (recording too long, token
	// ended).
	SessionRefused SessionState = "refused"
	// SessionComplete: the media became one contact, or one per segment.
	SessionComplete SessionState = "complete"
	// SessionCorrupt: media was posted more than once, an error of the client.
	SessionCorrupt SessionState = "corrupt"
)

// Session is one opened media session.
type Session struct {
	SessionID         string       `json:"session_id"`
	CorrelationID     string       `json:"correlation_id"`
	State             SessionState `json:"state"`
	MediaType         string       `json:"media_type"`
	SourceID          string       `json:"source_id"`
	ClientCaptureDate string       `json:"client_capture_date"` // as it was sent
	TotalMediaLength  int64        `json:"total_media_length"`  // promised bytes
	Bytes             int64        `json:"bytes"`               // received, of all posts
	Posts             int          `json:"posts"`               // media requests that brought at least one byte
	Segments          int          `json:"segments,omitempty"`  // 0: not a segments session
	MiningID          string       `json:"mining_id,omitempty"`
	Errors            []string     `json:"errors,omitempty"` // what the client did wrong
	OpenedAt          time.Time    `json:"opened_at"`
}

// session is a Session with what its contacts will be made of.
type session struct {
	Session
	voicePrint string
	parts      []part // one, or one per segment
}

// part is one future contact of a session. Times are in tenths of a second.
type part struct {
	suffix     string // of the CorrelationId, "_1" for the first segment
	start, end int64
	items      []item
}

// mediaTypes are the values of MediaType and of the media's Content-Type.
var mediaTypes = []string{
	"audio/wav", "audio/mp3", "audio/ogg", "audio/vox", "audio/wma", "audio/pcm", "audio/m4a", "video/mp4",
}

// openSession is POST /api/session/metadatamedia.
func (c *CallMiner) openSession(x *exchange) {
	f, bad := readFields(x)
	if bad != nil {
		x.refuse(bad.status, bad.text)
		return
	}
	s, bad := c.readSession(f, mediaTypes)
	if bad == nil {
		var items []item
		if items, bad = f.items(); bad == nil {
			s.parts = []part{{items: items}}
		}
	}
	var additional []json.RawMessage
	if bad == nil && f.has("AdditionalMedia") &&
		(json.Unmarshal(f["AdditionalMedia"], &additional) != nil || len(additional) > 0) {
		bad = badRequest("The sandbox takes no AdditionalMedia.")
	}
	c.startSession(x, s, bad)
}

// openSegments is POST /api/session/metadatamedia/segments.
func (c *CallMiner) openSegments(x *exchange) {
	f, bad := readFields(x)
	if bad != nil {
		x.refuse(bad.status, bad.text)
		return
	}
	s, bad := c.readSession(f, mediaTypes[:6]) // neither audio/m4a nor video/mp4
	if bad == nil {
		s.parts, bad = readSegments(f)
		s.Segments = len(s.parts)
	}
	c.startSession(x, s, bad)
}

// readSession reads what both ways to open a session share. The session is
// never nil.
func (c *CallMiner) readSession(f fields, types []string) (*session, *refusal) {
	s := &session{}
	var decryptionKey string
	for _, bad := range []*refusal{
		f.length(&s.TotalMediaLength),
		f.required("MediaType", &s.MediaType),
		f.required("ClientCaptureDate", &s.ClientCaptureDate),
		f.required("SourceId", &s.SourceID),
		f.text("CorrelationId", &s.CorrelationID),
		f.text("VoicePrintIdentifier", &s.voicePrint),
		f.text("AudioDecryptionKey", &decryptionKey),
	} {
		if bad != nil {
			return s, bad
		}
	}
	if !slices.Contains(types, s.MediaType) {
		return s, &refusal{http.StatusUnsupportedMediaType, "MediaType is not one this route takes."}
	}
	if !isoTime(s.ClientCaptureDate) {
		return s, badRequest("ClientCaptureDate must be written as 2006-01-02T15:04:05.000Z.")
	}
	if !c.knowsSource(s.SourceID) && !c.o.Unknowns.SourceCheckedInMining {
		return s, badRequest("SourceId names no configured ingestion source.")
	}
	return s, nil
}

func (c *CallMiner) knowsSource(name string) bool {
	return len(c.o.Sources) == 0 || slices.Contains(c.o.Sources, name)
}

// readSegments reads SegmentData. Overlap and order are not documented and not
// checked; each segment becomes a contact, so each must keep the audio limit.
func readSegments(f fields) ([]part, *refusal) {
	var raw []fields
	if !f.has("SegmentData") || json.Unmarshal(f["SegmentData"], &raw) != nil || len(raw) == 0 {
		return nil, badRequest("SegmentData must be an array with at least one segment.")
	}
	parts := make([]part, len(raw))
	for i, r := range raw {
		p := part{suffix: "_" + strconv.Itoa(i+1)}
		var bad *refusal
		if p.start, bad = r.tenths("Start"); bad == nil {
			if p.end, bad = r.tenths("End"); bad == nil {
				p.items, bad = r.items()
			}
		}
		switch {
		case bad != nil:
			return nil, badRequest("SegmentData[%d]: %s", i, bad.text)
		case p.end <= p.start:
			return nil, badRequest("SegmentData[%d]: End must be after Start.", i)
		case p.end-p.start > int64(callMinerMaxAudio/(time.Second/10)):
			return nil, badRequest("SegmentData[%d] is longer than 1 hour 45 minutes.", i)
		}
		parts[i] = p
	}
	return parts, nil
}

// startSession opens the session unless the request or a fault is in the way.
func (c *CallMiner) startSession(x *exchange, s *session, bad *refusal) {
	if bad != nil {
		x.refuse(bad.status, bad.text)
		return
	}
	if !x.meet(s.CorrelationID) {
		return
	}
	if x.loses() {
		x.lose()
		return
	}
	if s.CorrelationID == "" {
		s.CorrelationID = c.o.ID("correlation")
	}
	s.SessionID, s.State, s.OpenedAt = c.o.ID("session"), SessionOpen, c.now()
	c.mu.Lock()
	other := c.latestSession()
	c.sessions = append(c.sessions, s)
	c.bySession[s.SessionID] = s
	c.mu.Unlock()
	x.line.SessionID, x.line.CorrelationID = s.SessionID, clip(s.CorrelationID, 256)
	c.log.Info("session opened", "session_id", s.SessionID, "correlation_id", s.CorrelationID)

	reply := struct {
		CorrelationID string `json:"CorrelationId"`
		SessionID     string `json:"SessionId"`
	}{s.CorrelationID, forgeID(x.fault.Kind, s.SessionID, other)}
	if x.fault.Kind == CorrelationOther {
		reply.CorrelationID = c.o.ID("correlation")
	}
	c.identity.answer(x, http.StatusOK, reply)
}

// latestSession is the id of the session opened last, or one that does not
// exist. The caller holds the lock.
func (c *CallMiner) latestSession() string {
	if n := len(c.sessions); n > 0 {
		return c.sessions[n-1].SessionID
	}
	return "00000000-0000-4000-8000-000000000000"
}

// forgeID returns the id that the fault wants instead of the true one.
func forgeID(k Kind, id, other string) string {
	switch k {
	case IDOther:
		return other
	case IDHuge:
		return strings.Repeat("a", 1<<20)
	case IDPath:
		return "../../../connect/token"
	case IDCRLF:
		return id + "\r\nX-Injected: 1"
	}
	return id
}
