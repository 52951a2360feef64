package sandbox

import "time"

// ContactState says what became of accepted media.
type ContactState string

const (
	// Published: the contact can be analysed. The only good end.
	Published ContactState = "published"
	// FailedToPublish: its CorrelationId belonged to a published contact.
	FailedToPublish ContactState = "failed_to_publish"
	// Corrupt: its session got media more than once.
	Corrupt ContactState = "corrupt"
	// MiningFailed: a metadata value did not fit its column, or the ingestion
	// source was unknown.
	MiningFailed ContactState = "mining_failed"
)

// Contact is what accepted media became behind the API, which HTTP never says.
type Contact struct {
	CorrelationID     string            `json:"correlation_id"`
	SessionID         string            `json:"session_id"`
	MiningID          string            `json:"mining_id"`
	State             ContactState      `json:"state"`
	Reason            string            `json:"reason,omitempty"` // for every state but published
	Bytes             int64             `json:"bytes"`            // of all bodies of the session
	SHA256            string            `json:"sha256"`           // hex, of the body that completed the session
	MediaType         string            `json:"media_type"`
	SourceID          string            `json:"source_id"`
	ClientCaptureDate string            `json:"client_capture_date"` // as it was sent
	VoicePrint        string            `json:"voice_print,omitempty"`
	Metadata          map[string]string `json:"metadata"`                // known keys; do not change
	Ignored           []string          `json:"ignored,omitempty"`       // unknown keys, dropped without a word
	SegmentStart      float64           `json:"segment_start,omitempty"` // seconds
	SegmentEnd        float64           `json:"segment_end,omitempty"`   // seconds; 0: not a segment
	ReceivedAt        time.Time         `json:"received_at"`
	File              string            `json:"file,omitempty"` // with Options.KeepDir
}

// arrived counts n media bytes of a session. The first bytes of a request make
// it a post; a second post corrupts whatever the session is or will be.
func (c *CallMiner) arrived(s *session, n int, first bool) {
	c.mu.Lock()
	s.Bytes += int64(n)
	var hurt []Contact // told outside the lock
	if first {
		s.Posts++
		s.State = SessionReceiving
		if s.Posts > 1 {
			s.State = SessionCorrupt
			s.Errors = append(s.Errors, "media was posted again to the same session")
			c.secondPost++
			hurt = c.corrupt(s)
		}
	}
	c.mu.Unlock()
	for _, contact := range hurt {
		c.tell(contact)
	}
}

// corrupt marks the session's contacts and returns copies. The caller holds
// the lock.
func (c *CallMiner) corrupt(s *session) []Contact {
	var hurt []Contact
	for i := len(c.contacts) - 1; i >= 0 && s.MiningID != ""; i-- {
		if at := c.contacts[i]; at.SessionID == s.SessionID {
			at.State, at.Reason, at.Bytes = Corrupt, "media was posted again to the same session", s.Bytes
			hurt = append(hurt, *at)
		}
	}
	return hurt
}

// settle records the end of a request that stored nothing. A corrupt session
// stays corrupt, one without a byte stays open.
func (c *CallMiner) settle(s *session, state SessionState, fault string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fault != "" {
		s.Errors = append(s.Errors, fault)
	}
	if s.State == SessionReceiving {
		s.State = state
	}
	c.log.Info("media not stored", "session_id", s.SessionID, "correlation_id", s.CorrelationID,
		"state", string(s.State), "bytes", s.Bytes)
}

// accept turns a whole body into contacts: this is the vendor's mining and
// publishing, done at once. It returns the bytes the session now holds.
func (c *CallMiner) accept(s *session, in *intake, mining string) int64 {
	sum, now := in.sha256(), c.now()
	c.mu.Lock()
	if s.MiningID != "" { // it has its contacts: the bytes went to them
		c.corrupt(s)
		defer c.mu.Unlock()
		return s.Bytes
	}
	s.MiningID = mining
	if s.State == SessionReceiving {
		s.State = SessionComplete
	}
	made := make([]Contact, 0, len(s.parts))
	for _, p := range s.parts {
		known, ignored, misfit := c.sortItems(p.items)
		contact := &Contact{
			CorrelationID: s.CorrelationID + p.suffix, SessionID: s.SessionID, MiningID: mining,
			Bytes: s.Bytes, SHA256: sum, MediaType: s.MediaType, SourceID: s.SourceID,
			ClientCaptureDate: s.ClientCaptureDate, VoicePrint: s.voicePrint,
			Metadata: known, Ignored: ignored,
			SegmentStart: float64(p.start) / 10, SegmentEnd: float64(p.end) / 10,
			ReceivedAt: now,
		}
		contact.File = in.path()
		c.publish(contact, s.State == SessionCorrupt, misfit)
		c.contacts = append(c.contacts, contact)
		made = append(made, *contact)
	}
	bytes := s.Bytes
	c.mu.Unlock()
	for _, contact := range made {
		c.tell(contact)
	}
	return bytes
}

// publish decides the state of a new contact. The caller holds the lock.
func (c *CallMiner) publish(contact *Contact, corrupt bool, misfit string) {
	id := contact.CorrelationID
	switch {
	case c.published[id] != nil || c.burnt[id]:
		contact.State, contact.Reason = FailedToPublish, "the CorrelationId is already used"
	case !c.knowsSource(contact.SourceID):
		contact.State, contact.Reason = MiningFailed, "unknown ingestion source"
	case misfit != "":
		contact.State, contact.Reason = MiningFailed, "the value of "+misfit+" does not fit its column"
	case corrupt:
		contact.State, contact.Reason = Corrupt, "media was posted again to the same session"
		c.published[id] = contact
	default:
		contact.State = Published
		c.published[id] = contact
	}
	if contact.State == MiningFailed && c.o.Unknowns.FailedMiningBurnsID {
		c.burnt[id] = true
	}
}

// tell reports a contact to the log and to Options.OnStored.
func (c *CallMiner) tell(contact Contact) {
	c.log.Info("contact "+string(contact.State), "correlation_id", contact.CorrelationID,
		"session_id", contact.SessionID, "bytes", contact.Bytes, "media_type", contact.MediaType,
		"ignored_keys", len(contact.Ignored), "reason", contact.Reason)
	if c.o.OnStored != nil {
		c.o.OnStored(contact.stored())
	}
}

// latestMining is the mining id of the newest contact, or one that does not
// exist.
func (c *CallMiner) latestMining() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.contacts); n > 0 {
		return c.contacts[n-1].MiningID
	}
	return "00000000-0000-4000-8000-000000000000"
}
