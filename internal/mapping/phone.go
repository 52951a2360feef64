package mapping

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// checkRegion accepts ISO 3166-1 codes that have a numbering plan.
func checkRegion(region string) error {
	if !phonenumbers.GetSupportedRegions()[region] {
		return fmt.Errorf("region %q is unknown; use a two-letter country code in capitals, like US", region)
	}
	return nil
}

// phone is phone(text[, region]): E.164, or absent.
func (d defaults) phone(args ...any) (any, error) {
	text, ok, err := argText(args[0])
	if err != nil || !ok {
		return nil, err
	}
	region := d.region
	if len(args) > 1 && args[1] != nil {
		if region, ok = args[1].(string); !ok {
			return nil, problemf(CodeValue, "phone() takes the region as a text")
		}
	}
	if number := e164(text, region); number != "" {
		return number, nil
	}
	return nil, nil
}

// e164 normalises a public number; anything else is "". A number counts as
// public when the plan of its country lists it, or when it has the length of
// a subscriber number there and at least 11 digits in all: plans change faster
// than programs, but extensions and short codes never get that long.
func e164(text, region string) string {
	text = userPart(strings.TrimSpace(text))
	if len(text) > 40 || strings.ContainsFunc(text, notDialled) {
		return ""
	}
	n, err := phonenumbers.Parse(text, region)
	if err != nil {
		return ""
	}
	number := phonenumbers.Format(n, phonenumbers.E164)
	if phonenumbers.IsValidNumber(n) ||
		phonenumbers.IsPossibleNumberWithReason(n) == phonenumbers.IS_POSSIBLE && len(number) > len("+")+10 {
		return number
	}
	return ""
}

// notDialled are letters and other signs: given any text, the library would
// pick the first number it finds in it, or dial the letters.
func notDialled(r rune) bool { return !strings.ContainsRune("+0123456789 ()-./\u00a0", r) }

// userPart takes the number or name out of a tel:, sip: or sips: URI and
// leaves every other text alone, e-mail addresses included.
func userPart(text string) string {
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok {
		return text
	}
	switch strings.ToLower(scheme) {
	case "tel", "sip", "sips":
	default:
		return text
	}
	user, _, _ := strings.Cut(rest, "@")
	user, _, _ = strings.Cut(user, ";")
	user, _, _ = strings.Cut(user, "?")
	if plain, err := url.PathUnescape(user); err == nil {
		user = plain
	}
	return user
}

// uriUser is uri_user(text).
func uriUser(text string) (any, error) { return userPart(strings.TrimSpace(text)), nil }
