package call

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// BusinessKey names what the recorder says this recording is, and whether the
// export named it at all. Two files of one source with one named business key
// and different content are a conflict that a person must settle; files
// without one are told apart by their path.
func (r Record) BusinessKey(source, path string) (key string, named bool) {
	switch {
	case r.RecordingID != "" && r.Leg != "":
		return "recording:" + r.RecordingID + "/" + r.Leg, true // recorders give the legs of a call one id
	case r.RecordingID != "":
		return "recording:" + r.RecordingID, true
	case r.CallID != "":
		return "call:" + r.CallID + "/" + strconv.Itoa(r.SegmentIndex) + "/" + r.Leg, true
	default:
		return "path:" + source + "/" + path, false
	}
}

// NewDelivery derives the key of one identity at one destination: the first
// 26 characters of base32(SHA-256(destination || business key || content)),
// each part preceded by its length so that no two identities run together.
// It does not depend on the ledger, the attempt or the clock.
func NewDelivery(destination, businessKey string, content [sha256.Size]byte) Delivery {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(destination), []byte(businessKey), content[:]} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	sum := h.Sum(nil)
	key := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum)[:26]
	return DeliveryOf(strings.ToLower(key))
}

// DeliveryOf restores a Delivery from its stored key.
func DeliveryOf(idemKey string) Delivery {
	return Delivery{IdemKey: idemKey, UUID: uuid.NewSHA1(uuid.NameSpaceOID, []byte("ingestd:"+idemKey)).String()}
}
