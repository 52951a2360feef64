package callminer

import (
	"encoding/json"
	"errors"
	"regexp"

	"ingestd/internal/senders"
)

// remoteID is what an id of the vendor may look like. The guide calls them
// UUIDs and shows numbers, so they are opaque; but they go into URLs, the
// ledger and a terminal.
var remoteID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}$`)

// opaque takes an id given as text or as a whole number.
type opaque string

func (o *opaque) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err == nil {
		*o = opaque(s)
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return errors.New("an id is neither text nor a number")
	}
	*o = opaque(n)
	return nil
}

// readSession finds the session id in a 200. An answer that cannot be read
// costs one unused session; one that names something else than what was asked
// for means that the other side cannot be trusted with the recording.
func (c *Client) readSession(a senders.Answer, correlationID, previous string) (string, error) {
	var got struct {
		CorrelationID *string `json:"CorrelationId"`
		SessionID     *opaque `json:"SessionId"`
	}
	if a.BodyErr != nil || json.Unmarshal(a.Body, &got) != nil || got.SessionID == nil || got.CorrelationID == nil {
		return "", c.failed(a)
	}
	id := string(*got.SessionID)
	switch {
	case *got.CorrelationID != correlationID:
		return "", held(a, "foreign_id", "CallMiner answered with the CorrelationId of another contact; nothing was uploaded")
	case !remoteID.MatchString(id):
		return "", held(a, "bad_remote_id", "CallMiner's SessionId is empty or of a form that is not sent back; nothing was uploaded")
	case id == previous || !c.given.First("session", id):
		return "", held(a, "bad_remote_id", "CallMiner gave out a SessionId twice; nothing was uploaded, because two uploads to one session may run together")
	}
	return id, nil
}

// readReceipt checks the evidence in a 201. Anything but equal lengths and a
// mining id leaves the recording in doubt.
func (c *Client) readReceipt(a senders.Answer, size int64, ids map[string]string) (senders.Receipt, error) {
	var got struct {
		CurrentMediaLength, TotalMediaLength *int64
		MiningID                             *opaque `json:"MiningId"`
		CorrelationID                        *string `json:"CorrelationId"` // not documented here,
		SessionID                            *opaque `json:"SessionId"`     // but if named then ours
	}
	if a.BodyErr != nil || json.Unmarshal(a.Body, &got) != nil || got.MiningID == nil || got.CurrentMediaLength == nil || got.TotalMediaLength == nil {
		return senders.Receipt{}, c.failed(a)
	}
	miningID := string(*got.MiningID)
	switch {
	case got.CorrelationID != nil && *got.CorrelationID != ids["correlation_id"],
		got.SessionID != nil && string(*got.SessionID) != ids["session_id"]:
		return senders.Receipt{}, held(a, "foreign_id", "CallMiner's answer names another upload; look the CorrelationId up in Mining Summary")
	case *got.CurrentMediaLength != size || *got.TotalMediaLength != size:
		e := c.failed(a)
		e.Code, e.Text = "short_length", "CallMiner counted other bytes than were sent; whether the recording is whole there is unknown"
		return senders.Receipt{}, e
	case !remoteID.MatchString(miningID):
		return senders.Receipt{}, held(a, "bad_remote_id", "CallMiner took the bytes but its MiningId is empty or malformed; look the CorrelationId up in Mining Summary")
	case !c.given.First("mining", miningID):
		return senders.Receipt{}, held(a, "foreign_id", "CallMiner's answer carries the MiningId of another upload; look the CorrelationId up in Mining Summary")
	}
	receipt := map[string]string{"mining_id": miningID}
	for k, v := range ids {
		receipt[k] = v
	}
	return senders.Receipt{IDs: receipt, HTTPStatus: a.Status, Text: "CallMiner stored every byte and gave the recording to mining"}, nil
}

func held(a senders.Answer, code, text string) *senders.Error {
	return &senders.Error{Class: senders.Held, Code: code, Text: text, HTTPStatus: a.Status, Bytes: a.Sent}
}
