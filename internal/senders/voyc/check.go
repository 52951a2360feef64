package voyc

import (
	"context"
	"fmt"
	"net/http"

	"ingestd/internal/senders"
)

// Check asks for the address of step 1 with GET, which it does not take: a
// platform of this kind looks at the credentials first and refuses the method
// afterwards. The vendor documents no free request, so a 405 is good news
// that was inferred, and nothing here blocks anything.
func (c *Client) Check(ctx context.Context) ([]senders.Finding, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	if err := c.deps.Lane.Wait(ctx); err != nil {
		return nil, err
	}
	a := c.api.JSON(ctx, http.MethodGet, c.config.uploadDataURL(), senders.Bearer(token), nil)
	switch a.Status {
	case 0:
		return nil, fmt.Errorf("ask Voyc: %w", senders.Classify(a, c.deps.Now()))
	case http.StatusMethodNotAllowed:
		return []senders.Finding{{OK: true, Text: "credentials: Voyc knows the address and did not refuse the token"}}, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return []senders.Finding{{Stop: true, Text: "credentials: Voyc refused the token, or it may not use this organisation; check token and organisation_id"}}, nil
	case http.StatusNotFound:
		return []senders.Finding{{Stop: true, Text: "address: Voyc does not know it; check base_url and organisation_id"}}, nil
	}
	return []senders.Finding{{Text: fmt.Sprintf("credentials: Voyc answered HTTP %d, which says nothing about the token", a.Status)}}, nil
}
