package authenticx

import (
	"context"
	"errors"
	"fmt"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// Check asks for a token and for the organisation's hierarchies, and compares
// the fields that are constants. It sends nothing.
func (c *Client) Check(ctx context.Context) ([]senders.Finding, error) {
	if _, err := c.token.Get(ctx, 0); err != nil {
		findings, err := refusedFinding("credentials", err, "; a client of staging is not known in production, nor the other way round")
		for i := range findings {
			findings[i].Stop = true
		}
		return findings, err
	}
	findings := []senders.Finding{{OK: true, Text: "credentials: AuthenticX gave a token"}}
	known, err := c.fetchHierarchies(ctx)
	var e *senders.Error
	switch {
	case errors.As(err, &e) && e.HTTPStatus == 404:
		// The route's own word for an organisation without any.
		findings = append(findings, senders.Finding{OK: true, Text: "hierarchies: the organisation has none"})
		known = map[string]bool{}
	case err != nil:
		f, err := refusedFinding("hierarchies", err, "")
		return append(findings, f...), err
	default:
		findings = append(findings, senders.Finding{OK: true, Text: fmt.Sprintf("hierarchies: %d ids and codes are known", len(known))})
	}
	return append(findings, c.constants(known)...), nil
}

// refusedFinding tells a refusal, which is a result, from a check that could
// not be made.
func refusedFinding(what string, err error, hint string) ([]senders.Finding, error) {
	var e *senders.Error
	if errors.As(err, &e) && (e.Class == senders.Auth || e.Class == senders.Rejected || e.Class == senders.Held) {
		return []senders.Finding{{Text: what + ": " + e.Error() + hint}}, nil
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}

// constants looks at [destination.fields] for a call of which nothing is
// known: what has a value even then has it for every recording.
func (c *Client) constants(known map[string]bool) []senders.Finding {
	m, err := c.describe(call.Item{}, "wav")
	var e *senders.Error
	switch {
	case errors.As(err, &e) && e.Code == "bad_expression":
		return nil // an expression that needs a call
	case errors.As(err, &e):
		return []senders.Finding{{Text: "fields: " + e.Text}}
	}
	h := hierarchies{known: known}
	if (m.HierarchyID != "" || m.HierarchyCode != "") && h.missing(m) {
		return []senders.Finding{{Stop: true, Text: "fields: the organisation has no such HierarchyId or HierarchyCode; every upload would be refused"}}
	}
	return nil
}
