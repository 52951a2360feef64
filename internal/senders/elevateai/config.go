package elevateai

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingestd/internal/senders"
)

// baseURL is the only address that the vendor documents.
const baseURL = "https://api.elevateai.com/v1"

// defaultRate is a decision of this project: the vendor documents a monthly
// quota of declares and no limit per minute.
var defaultRate = senders.Rate{Count: 600, Per: time.Minute}

// Config is the table of a destination with type = "elevateai".
type Config struct {
	senders.Common

	BaseURL      string         `toml:"base_url"`
	Token        senders.Secret `toml:"token"`
	LanguageTag  string         `toml:"language_tag"` // where the call names no language
	Vertical     string         `toml:"vertical"`
	SendMetadata bool           `toml:"send_metadata"` // only for accounts with Explore
	Confirm      bool           `toml:"confirm"`       // ask until the recording was processed
}

// DefaultConfig is what the table is decoded over.
func DefaultConfig() Config {
	return Config{
		Common: senders.DefaultCommon(defaultRate), BaseURL: baseURL,
		LanguageTag: "en-us", Vertical: "default",
	}
}

// Validate returns every defect; each text begins with the key.
func (c *Config) Validate() []error {
	errs := c.Common.Validate()
	if _, err := senders.CheckURL("base_url", c.BaseURL, c.AllowHTTP); err != nil {
		errs = append(errs, err)
	}
	if c.Token.IsZero() {
		errs = append(errs, fmt.Errorf("token: missing; a reference such as %q to the API token from the ElevateAI dashboard", "cred:elevateai"))
	}
	if c.LanguageTag == "" {
		errs = append(errs, errors.New(`language_tag: is empty; as in "en-us"`))
	}
	if c.Vertical == "" {
		errs = append(errs, errors.New(`vertical: is empty; as in "default"`))
	}
	for _, key := range slices.Sorted(maps.Keys(c.Fields)) {
		if why := c.refuses(key); why != "" {
			errs = append(errs, fmt.Errorf("fields.%s: %s", key, why))
		}
	}
	return errs
}

// refuses says why a key of [destination.fields] cannot be set; "" is fine.
func (c *Config) refuses(key string) string {
	if path, ok := strings.CutPrefix(key, metadataPrefix); ok {
		if !c.SendMetadata {
			return "is metadata, which is sent only with send_metadata = true (the account needs Explore)"
		}
		return refusesMetadata(path)
	}
	switch key {
	case "downloadUri", "downloadUrl":
		return "is never sent: ElevateAI would fetch and bill a declare whose answer was lost"
	case "type", "metadata":
		return "cannot be set here; it is decided by ingestd"
	}
	if !slices.Contains(declareFields(), key) {
		return "ElevateAI has no such field; known: " + strings.Join(declareFields(), ", ") + ", and " + metadataPrefix + "... with send_metadata"
	}
	return ""
}

// declareFields are the members of the declare that [destination.fields] may
// set.
func declareFields() []string {
	return []string{
		fieldLanguageTag, fieldVertical, fieldTranscriptionMode, fieldAIResults, fieldModel, fieldFilename, fieldExternal,
	}
}

// customSlots is how many numbered slots each group of metadata.custom has.
func customSlots() map[string]int {
	return map[string]int{"datetimes": 45, "texts": 165, "integers": 50, "decimals": 40}
}

var slotName = regexp.MustCompile(`^[a-z]+([1-9][0-9]{0,2})$`)

// refusesMetadata checks a path below metadata. The vendor drops an unknown
// key without a word, so what can be known is refused here.
func refusesMetadata(path string) string {
	elements := strings.Split(path, ".")
	if slices.Contains(elements, "") {
		return "is no path such as metadata.agent.id"
	}
	switch elements[0] {
	case "category", "direction", "recorded":
		if len(elements) > 1 {
			return "metadata." + elements[0] + " has nothing below it"
		}
	case "audio", "agent", "site", "customer":
		if len(elements) < 2 {
			return "names a group; write one value of it, as in metadata.agent.id"
		}
	case "custom":
		return refusesCustom(elements[1:])
	default:
		return "ElevateAI knows agent, audio, category, custom, customer, direction, recorded and site"
	}
	return ""
}

func refusesCustom(elements []string) string {
	if len(elements) != 2 {
		return "is no custom slot such as metadata.custom.texts.text1"
	}
	slots, known := customSlots()[elements[0]]
	m := slotName.FindStringSubmatch(elements[1])
	if !known || m == nil {
		return "is no custom slot such as metadata.custom.texts.text1; the groups are datetimes, decimals, integers and texts"
	}
	if n, err := strconv.Atoi(m[1]); err != nil || n > slots {
		return fmt.Sprintf("%s has slots 1 to %d", elements[0], slots)
	}
	return ""
}
