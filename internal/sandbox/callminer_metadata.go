package sandbox

import (
	"maps"
	"net/http"
	"slices"
)

// fixedKeys is the union of the guide's two lists of keys that no update can
// change; the lists contradict each other.
var fixedKeys = []string{
	"AudioSourceName", "ClientCaptureDate", "ClientId", "CorrelationId", "CreateDate", "IsSample",
	"MessageTotal", "ParentID", "RequestId", "SourceName", "TenantApiKey",
}

// updateMetadata is POST /api/session/metadata: new values for a published
// contact. A value that does not fit its column is dropped like an unknown key.
func (c *CallMiner) updateMetadata(x *exchange) {
	f, bad := readFields(x)
	var id, source string
	var items []item
	if bad == nil {
		items, bad = f.items()
	}
	if bad == nil {
		bad = f.required("SourceId", &source)
	}
	if bad == nil {
		bad = f.required("CorrelationId", &id)
	}
	if bad == nil {
		bad = c.updatable(id, source, items)
	}
	if bad != nil {
		x.refuse(bad.status, bad.text)
		return
	}
	if !x.meet(id) {
		return
	}
	if x.loses() {
		x.lose()
		return
	}
	c.update(id, items)
	c.identity.answer(x, http.StatusOK, struct {
		CorrelationID string `json:"CorrelationId"`
		MiningID      string `json:"MiningId"`
	}{id, c.o.ID("mining")})
}

// updatable checks keys, source and contact of an update.
func (c *CallMiner) updatable(id, source string, items []item) *refusal {
	for _, it := range items {
		if slices.Contains(fixedKeys, it.Key) {
			return badRequest("The value of %s cannot be updated.", it.Key)
		}
	}
	if !c.knowsSource(source) {
		return badRequest("SourceId names no configured ingestion source.")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.published[id] == nil && !c.o.Unknowns.UpdateWithoutContact {
		return &refusal{http.StatusNotFound, "There is no contact with this CorrelationId."}
	}
	return nil
}

// update changes the contact. Its map is replaced, never changed: copies of
// the contact that callers hold share it.
func (c *CallMiner) update(id string, items []item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	contact := c.published[id]
	if contact == nil {
		return
	}
	metadata, ignored := maps.Clone(contact.Metadata), slices.Clone(contact.Ignored)
	for _, it := range items {
		if col, ok := c.columns[it.Key]; ok && col.fits(it.Value) {
			metadata[it.Key] = it.Value
			continue
		}
		ignored = append(ignored, it.Key)
	}
	contact.Metadata, contact.Ignored = metadata, ignored
	c.log.Info("metadata updated", "correlation_id", id, "items", len(items))
}
